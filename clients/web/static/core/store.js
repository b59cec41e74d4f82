// @ts-check
/**
 * What a client knows, as pure functions: snapshot + events -> state. No DOM, no clock, no network.
 *
 * Laws, tested: applying an event twice changes nothing; snapshot + events equals a fresh snapshot; an unknown item kind
 * is passed over and the position still moves; a message of one's own is one row from "sending" to its last state.
 */

/** @typedef {import("./frames.js").View} View */
/** @typedef {import("./frames.js").Joined} Joined */
/** @typedef {import("./frames.js").FeedEvent} FeedEvent */
/** @typedef {import("./frames.js").Page} Page */
/** @typedef {import("./frames.js").Ack} Ack */
/** @typedef {import("./frames.js").RoomItem} RoomItem */
/** @typedef {import("./frames.js").CaseItem} CaseItem */
/** @typedef {import("./frames.js").HandlingItem} HandlingItem */
/** @typedef {import("./frames.js").PageItem} PageItem */
/** @typedef {import("./frames.js").Item} Item */

/**
 * One of one's own messages that the feed has not shown yet.
 * @typedef {{client_id: string, body: string, at: number, state: "sending" | "sent" | "held" | "failed",
 *   seq?: number, error?: string}} Pending
 */

/**
 * @typedef {object} RoomState
 * @property {string} feed
 * @property {number} epoch
 * @property {number} seq last applied
 * @property {Readonly<Record<number, View>>} views by place
 * @property {Readonly<Record<number, number>>} seenAt by place: the seq at which others could first read it
 * @property {boolean} more there is earlier history
 * @property {number} read where the reader stood when they came
 * @property {RoomItem | null} room
 * @property {boolean} gone the reader may not read this feed any more
 * @property {readonly Pending[]} pending
 */

/**
 * @param {string} feed
 * @returns {RoomState}
 */
export function emptyRoom(feed) {
  return { feed, epoch: 0, seq: 0, views: {}, seenAt: {}, more: false, read: 0, room: null, gone: false, pending: [] };
}

/**
 * @param {RoomState} state
 * @param {number} seq
 * @param {Item} item
 * @returns {RoomState}
 */
function put(state, seq, item) {
  if (item.kind === "message") {
    const { of, view } = item;
    const views = { ...state.views, [of]: view };
    let seenAt = state.seenAt;
    if (view.state === "shown" && !(of in seenAt)) seenAt = { ...seenAt, [of]: item.change === "release" ? seq : of };
    const mine = view.state === "shown" || view.state === "held" ? view.client_id : undefined;
    const pending = state.pending.filter((p) => p.client_id !== mine && p.seq !== of);
    return { ...state, views, seenAt, pending: pending.length === state.pending.length ? state.pending : pending };
  }
  if (item.kind === "room" && `room:${item.id}` === state.feed) return { ...state, room: item };
  return state;
}

/**
 * A snapshot replaces what was known (one's own unsent messages stay); a recovered join only confirms the position.
 * @param {RoomState} state
 * @param {Joined} joined
 * @returns {RoomState}
 */
export function applyJoined(state, joined) {
  const room = joined.room ?? state.room;
  if (joined.recovered) return { ...state, room, gone: false };
  const first = state.epoch === 0;
  /** @type {RoomState} */
  let next = {
    ...emptyRoom(state.feed),
    epoch: joined.epoch,
    seq: joined.seq,
    more: joined.more ?? false,
    read: first ? (joined.read ?? 0) : state.read,
    room,
    pending: state.pending,
  };
  for (const placed of joined.items ?? []) next = put(next, placed.seq, placed.item);
  return next;
}

/**
 * @param {RoomState} state
 * @param {FeedEvent} event
 * @param {string} me account id of the reader
 * @returns {RoomState}
 */
export function applyEvent(state, event, me) {
  if (event.epoch !== state.epoch || event.seq <= state.seq) return state;
  const next = { ...put(state, event.seq, event.item), seq: event.seq };
  if (event.item.kind === "access" && event.item.account === me) return { ...next, views: {}, seenAt: {}, gone: true };
  return next;
}

/**
 * Earlier history: fills places that are not known yet, never replaces newer knowledge.
 * @param {RoomState} state
 * @param {Page} page
 * @returns {RoomState}
 */
export function applyPage(state, page) {
  let next = { ...state, more: page.more };
  for (const placed of page.items) {
    if (placed.item.kind === "message" && placed.item.of in next.views) continue;
    next = put(next, placed.seq, placed.item);
  }
  return next;
}

/**
 * @param {RoomState} state
 * @param {{client_id: string, body: string, at: number}} message
 * @returns {RoomState}
 */
export function addPending(state, message) {
  const others = state.pending.filter((p) => p.client_id !== message.client_id);
  return { ...state, pending: [...others, { ...message, state: "sending" }] };
}

/**
 * The server's own word on a message: published or held.
 * @param {RoomState} state
 * @param {Ack} ack
 * @returns {RoomState}
 */
export function ackPending(state, ack) {
  if (ack.seq in state.views) return { ...state, pending: state.pending.filter((p) => p.client_id !== ack.re) };
  return change(state, ack.re, { state: ack.state === "held" ? "held" : "sent", seq: ack.seq, at: ack.at });
}

/**
 * @param {RoomState} state
 * @param {string} clientId
 * @param {string} error what to tell the author
 * @returns {RoomState}
 */
export function failPending(state, clientId, error) {
  return change(state, clientId, { state: "failed", error });
}

/**
 * @param {RoomState} state
 * @param {string} clientId
 * @returns {RoomState}
 */
export function dropPending(state, clientId) {
  return { ...state, pending: state.pending.filter((p) => p.client_id !== clientId) };
}

/**
 * @param {RoomState} state
 * @param {string} clientId
 * @param {Partial<Pending>} fields
 * @returns {RoomState}
 */
function change(state, clientId, fields) {
  return { ...state, pending: state.pending.map((p) => (p.client_id === clientId ? { ...p, ...fields } : p)) };
}

/**
 * @typedef {{key: string, kind: "divider"} | {key: string, kind: "pending", pending: Pending}
 *   | {key: string, kind: "view", place: number, view: View}} Row
 */

/**
 * What to draw, in order: messages by place, the unread divider, one's own unsent messages last.
 * @param {RoomState} state
 * @param {string} me
 * @returns {Row[]}
 */
export function rows(state, me) {
  /** @type {Row[]} */
  const out = [];
  let divided = false;
  const places = Object.keys(state.views).map(Number).sort((a, b) => a - b);
  for (const place of places) {
    const view = state.views[place];
    if (!divided && place > state.read && state.read > 0 && isUnread(state, place, me)) {
      divided = true;
      if (out.length) out.push({ key: "divider", kind: "divider" });
    }
    const own = (view.state === "shown" || view.state === "held") && view.author.id === me && view.client_id;
    out.push({ key: own ? `c:${own}` : `m:${place}`, kind: "view", place, view });
  }
  for (const pending of state.pending) out.push({ key: `c:${pending.client_id}`, kind: "pending", pending });
  return out;
}

/**
 * @param {RoomState} state
 * @param {number} place
 * @param {string} me
 */
function isUnread(state, place, me) {
  const view = state.views[place];
  return view.state === "shown" && view.author.id !== me && state.seenAt[place] > state.read;
}

/**
 * How many published messages of others the reader has not seen.
 * @param {RoomState} state
 * @param {string} me
 * @returns {number}
 */
export function unread(state, me) {
  return Object.keys(state.views).filter((place) => isUnread(state, Number(place), me)).length;
}

/**
 * @param {RoomState} state
 * @returns {number} the earliest place known, 0 where nothing is
 */
export function earliest(state) {
  const places = Object.keys(state.views).map(Number);
  return places.length ? Math.min(...places) : 0;
}

// --- a person's inbox and the staff queue ------------------------------------------------------------------------------

/**
 * @typedef {object} ItemsState
 * @property {Readonly<Record<string, number>>} epochs by feed
 * @property {Readonly<Record<string, number>>} seqs by feed
 * @property {Readonly<Record<string, CaseItem>>} cases open cases by id
 * @property {Readonly<Record<string, number>>} versions highest version seen of each case
 * @property {Readonly<Record<string, string>>} from the feed that each case came by
 * @property {Readonly<Record<string, HandlingItem>>} handling of open cases
 * @property {Readonly<Record<string, RoomItem>>} rooms
 * @property {Readonly<Record<string, PageItem>>} pages that ring
 */

/** @returns {ItemsState} */
export function emptyItems() {
  return { epochs: {}, seqs: {}, cases: {}, versions: {}, from: {}, handling: {}, rooms: {}, pages: {} };
}

/**
 * Whether an item takes out what it names: a closed case, for staff or its author, or a call that rings no more.
 * @param {Item} item
 */
export function isOver(item) {
  if (item.kind === "case") return item.state === "closed";
  if (item.kind === "handling") return item.states?.at(-1)?.state === "closed";
  return item.kind === "page" && (item.state ?? "ringing") !== "ringing";
}

/**
 * @template {CaseItem | HandlingItem | PageItem} I
 * @param {Readonly<Record<string, I>>} held
 * @param {I} item
 * @returns {Record<string, I>}
 */
function putOrDrop(held, item) {
  const next = { ...held, [item.id]: item };
  if (isOver(item)) delete next[item.id];
  return next;
}

/**
 * @param {ItemsState} state
 * @param {string} feed
 * @param {Item} item
 * @returns {ItemsState}
 */
function putItem(state, feed, item) {
  switch (item.kind) {
    case "case": {
      if (item.version < (state.versions[item.id] ?? 0)) return state;
      const cases = putOrDrop(state.cases, item);
      return {
        ...state, cases, versions: { ...state.versions, [item.id]: item.version }, from: { ...state.from, [item.id]: feed },
      };
    }
    case "handling":
      return { ...state, handling: putOrDrop(state.handling, item) };
    case "room":
      return { ...state, rooms: { ...state.rooms, [item.id]: item } };
    case "page":
      return { ...state, pages: putOrDrop(state.pages, item) };
    default:
      return state;
  }
}

/**
 * @param {ItemsState} state
 * @param {Joined} joined
 * @returns {ItemsState}
 */
export function itemsJoined(state, joined) {
  if (joined.recovered) return state;
  const { feed } = joined;
  const kept = Object.fromEntries(Object.entries(state.cases).filter(([id]) => state.from[id] !== feed));
  let next = { ...state, cases: kept };
  if (feed === "inbox") next = { ...next, handling: {}, rooms: {}, pages: {} };
  next = { ...next, epochs: { ...next.epochs, [feed]: joined.epoch }, seqs: { ...next.seqs, [feed]: joined.seq } };
  for (const placed of joined.items ?? []) next = putItem(next, feed, placed.item);
  return next;
}

/**
 * @param {ItemsState} state
 * @param {FeedEvent} event
 * @returns {ItemsState}
 */
export function itemsEvent(state, event) {
  const { feed, seq, epoch } = event;
  if (epoch !== state.epochs[feed] || seq <= state.seqs[feed]) return state;
  return { ...putItem(state, feed, event.item), seqs: { ...state.seqs, [feed]: seq } };
}

/**
 * The queue: most urgent first, then whatever has waited longest.
 * @param {ItemsState} state
 * @returns {CaseItem[]}
 */
export function queue(state) {
  return Object.values(state.cases).sort((a, b) => b.level - a.level || a.raised_at - b.raised_at || (a.id < b.id ? -1 : 1));
}

/**
 * @param {ItemsState} state
 * @returns {PageItem[]} what rings, newest first
 */
export function calls(state) {
  return Object.values(state.pages).sort((a, b) => b.at - a.at || (a.id < b.id ? -1 : 1));
}
