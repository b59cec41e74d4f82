// Types of the wire contract, version 1, for the modules' JSDoc. The contract itself is server/protocol/frames.py.
export interface Person { id: string; name: string; role?: string }
export interface FoundSpan { category: string; level: number; start: number; end: number; reason: string }
export interface Attention { level: number; findings?: FoundSpan[]; case?: string | null; complete?: boolean }
interface Whole {
  id: string; author: Person; body: string; at: number; edited?: boolean; edited_at?: number | null; reply_to?: string | null;
  attention?: Attention | null; client_id?: string | null;
}
export interface Shown extends Whole { state: "shown" }
export interface Held extends Whole { state: "held"; reason: string }
export interface Withheld { state: "withheld" }
export interface Removed { state: "removed"; by: string }
export interface Unreadable { state: "unreadable" }
export type View = Shown | Held | Withheld | Removed | Unreadable;

export interface MessageItem { kind: "message"; of: number; change: string; view: View }
export interface RoomItem { kind: "room"; id: string; name: string; room_kind: string; open?: boolean; purpose?: string }
export interface AccessItem { kind: "access"; account: string }
export interface HandlingState { state: string; at: number; by?: Person | null }
export interface HandlingItem { kind: "handling"; id: string; care: Care; message?: string | null; states?: HandlingState[] }
export interface CaseItem {
  kind: "case"; id: string; version: number; state: string; level: number; side: string; subject: Person; origin: string;
  opened_at: number; raised_at: number; categories?: string[]; feed?: string | null; room_name?: string | null;
  messages?: number; owner?: Person | null; due_at?: number | null; rung?: string | null;
}
export interface PageItem {
  kind: "page"; id: string; case: string; case_version: number; level: number; rung: string; at: number;
  late?: boolean; state?: string; owner?: Person | null;
}
export type Item = MessageItem | RoomItem | AccessItem | HandlingItem | CaseItem | PageItem;
export type Care = "none" | "notice" | "urgent";
export interface Placed { seq: number; item: Item }
export interface Position { epoch: number; seq: number }
export interface Limits { frame_bytes: number; body_chars: number; feeds: number; page: number; beat_ms: number }

export interface Welcome {
  t: "welcome"; re: string; server: string; minor: number; you: Person; features: string[]; now: number; limits: Limits;
}
export interface Joined {
  t: "joined"; feed: string; epoch: number; seq: number; recovered: boolean; re?: string | null; reason?: string | null;
  items?: Placed[]; more?: boolean; read?: number; unread?: number; room?: RoomItem | null;
}
export interface Left { t: "left"; re: string; feed: string }
export interface Ack {
  t: "ack"; re: string; feed: string; epoch: number; seq: number; message: string; at: number; state: string; care?: Care;
}
export interface Done { t: "done"; re: string; care?: Care; version?: number | null; ref?: string | null }
export interface Page { t: "page"; re: string; feed: string; items: Placed[]; more: boolean }
export interface CaseFact { at: number; what: string; by?: Person | null; detail?: string }
export interface Closing { outcome: string; note?: string; at?: number | null; by?: Person | null }
export interface Earlier { message: string; at: number; body?: string | null; findings?: FoundSpan[] }
export interface CasePage {
  t: "case_page"; re: string; case: CaseItem; items: Placed[]; history: CaseFact[]; allowed: string[];
  private_feed?: string | null; private?: Placed[]; report?: string; earlier?: Earlier[]; first_read?: CaseFact | null;
  closing?: Closing | null;
}
export interface FeedEvent { t: "event"; feed: string; epoch: number; seq: number; item: Item }
export interface BeatReply { t: "beat"; now: number; at: Record<string, Position> }
export interface Drain { t: "drain"; after_ms: number }
export interface ErrorReply {
  t: "error"; code: string; message: string; retry: "never" | "same" | "later"; request_id: string;
  re?: string | null; field?: string | null; retry_after_ms?: number | null;
}
export type Reply =
  Welcome | Joined | Left | Ack | Done | Page | CasePage | FeedEvent | BeatReply | Drain | ErrorReply;
export interface Command { t: string; client_id?: string; [field: string]: unknown }
