// @ts-check
/**
 * The connection: hello, resume, acknowledgements, heartbeat, and coming back.
 *
 * Decided here: when to connect again and after how long, what is sent again, and when a gap sends us back to the log.
 * Not decided here: what a frame means to a page (`store.js`).
 *
 * A command resolves with the server's own answer or rejects with its refusal; nothing is ever taken for sent because a
 * socket accepted it. Commands that were not answered are sent again after every reconnect, with the same client_id, in
 * the order in which they were made: the server does nothing twice.
 */

/** @typedef {import("./frames.js").Reply} Reply */
/** @typedef {import("./frames.js").Joined} Joined */
/** @typedef {import("./frames.js").FeedEvent} FeedEvent */
/** @typedef {import("./frames.js").ErrorReply} ErrorReply */
/** @typedef {import("./frames.js").Position} Position */
/** @typedef {import("./frames.js").Command} Command */
/** @typedef {import("./frames.js").Welcome} Welcome */
/** @typedef {{encode: (value: unknown) => Uint8Array, decode: (bytes: ArrayBuffer) => unknown}} Codec */
/** @typedef {"connecting" | "live" | "lost" | "signed_out" | "refused"} WireState */

export const MSGPACK = "evenkeel.v1.msgpack";
export const JSON_PROTOCOL = "evenkeel.v1.json";

/** A quiet connection is asked whether it still lives after this long, and given up after SILENT_MS. */
const PROBE_MS = 5_000;
const SILENT_MS = 8_500;
/** A join that was not answered is asked again after this long. */
const JOIN_MS = 5_000;
const CONNECT_MS = 8_000;
const FIRST_DELAY_MS = 400;
const MAX_DELAY_MS = 20_000;
/** A connection that lasted so long after `welcome` has proved that the server is well. */
const PROVEN_MS = 30_000;

/** The server refused what the client said. */
export class Refusal extends Error {
  /** @param {ErrorReply} reply */
  constructor(reply) {
    super(reply.message);
    this.code = reply.code;
    this.field = reply.field ?? null;
    this.requestId = reply.request_id;
  }
}

/** Signed out: no ticket to be had. */
export class SignedOut extends Error {}

/** What to do after each close code, and no sooner than when; the table is `server/protocol/codes.py`. */
const CLOSES = new Map([
  [1000, { again: false, floor: 0 }],
  [1002, { again: false, floor: 0 }],
  [1003, { again: false, floor: 0 }],
  [1007, { again: false, floor: 0 }],
  [1008, { again: false, floor: 0 }],
  [1009, { again: false, floor: 0 }],
  [1001, { again: true, floor: 0 }],
  [1006, { again: true, floor: 0 }],
  [1011, { again: true, floor: 1_000 }],
  [1012, { again: true, floor: 0 }],
  [1013, { again: true, floor: 5_000 }],
  [4001, { again: true, floor: 0 }],
  [4002, { again: true, floor: 0 }],
  [4003, { again: true, floor: 0 }],
  [4401, { again: false, floor: 0, signIn: true }],
  [4403, { again: false, floor: 0 }],
  [4408, { again: true, floor: 1_000 }],
  [4429, { again: true, floor: 30_000 }],
]);

/**
 * @param {number} code any close code, also one that this build does not know
 * @returns {{again: boolean, floor: number, signIn?: boolean}} floor in ms
 */
export function advice(code) {
  return CLOSES.get(code) ?? { again: !(code >= 4400 && code < 4500), floor: 1_000 };
}

/**
 * Full jitter: anything from nothing to the ceiling, which doubles with each failure.
 * @param {number} failures in a row
 * @param {number} random 0..1
 * @returns {number} ms
 */
export function delayFor(failures, random) {
  return Math.floor(random * Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(failures, 10)));
}

/** @returns {string} a fresh client_id; it begins with the time, so that the server's index grows at its end */
export function newClientId() {
  const bytes = crypto.getRandomValues(new Uint8Array(10));
  const random = Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
  return `w-${Date.now().toString(16).padStart(12, "0")}-${random}`;
}

/**
 * A one-time ticket for the socket, by the session's cookie.
 * @param {string} csrf
 * @returns {Promise<string>}
 */
export async function fetchTicket(csrf) {
  const answer = await fetch("/api/ticket", {
    method: "POST",
    headers: { "x-evenkeel-csrf": csrf, "content-type": "application/json" },
    body: "{}",
    cache: "no-store",
  });
  if (answer.status === 401 || answer.status === 403) throw new SignedOut();
  if (!answer.ok) throw new Error(`ticket ${answer.status}`);
  return (await answer.json()).ticket;
}

/** @returns {Promise<Codec | null>} */
async function loadMsgpack() {
  try {
    return /** @type {Codec} */ (await import("../vendor/msgpack.js"));
  } catch {
    return null;
  }
}

export class Wire {
  /**
   * @param {object} options
   * @param {() => Promise<string>} options.ticket
   * @param {string} options.client name and build of the page
   * @param {string[]} [options.features]
   * @param {string} [options.url]
   * @param {(state: WireState) => void} [options.onState]
   * @param {(welcome: Welcome) => void} [options.onWelcome]
   * @param {(joined: Joined) => void} [options.onJoined]
   * @param {(event: FeedEvent) => void} [options.onEvent]
   * @param {(feed: string, why: Refusal) => void} [options.onRefused] the feed is not open to us (any more)
   */
  constructor(options) {
    this.options = options;
    this.url = options.url ?? `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`;
    /** @type {WireState} */
    this.state = "connecting";
    /** @type {Map<string, Position | null>} followed feeds and where we stand; null: not joined yet */
    this.at = new Map();
    /** @type {Map<string, number>} feeds whose events wait for a join to be answered, and since when */
    this.joining = new Map();
    /** @type {Map<string, string>} client_id of a join -> its feed */
    this.joins = new Map();
    /** @type {Map<string, {frame: Command, resolve: (reply: Reply) => void, reject: (why: Error) => void}>} */
    this.waiting = new Map();
    /** @type {WebSocket | null} */
    this.socket = null;
    /** @type {Codec | null | undefined} */
    this.codec = undefined;
    this.failures = 0;
    this.welcomed = false;
    this.welcomedAt = 0;
    this.heard = 0;
    this.probed = 0;
    this.beatMs = 15_000;
    this.beatAt = 0;
    this.skewMs = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.again = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} until we move to another server, and when that is */
    this.moving = undefined;
    this.movesAt = 0;
    this.pulse = setInterval(() => this.#pulse(), 1_000);
    addEventListener("online", () => this.#comeBackNow());
    addEventListener("offline", () => this.#lose());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.#comeBackNow();
    });
  }

  /** Connect, and stay connected until `stop`. */
  start() {
    void this.#connect();
  }

  stop() {
    clearInterval(this.pulse);
    clearTimeout(this.again);
    clearTimeout(this.moving);
    this.#set("refused");
    this.socket?.close(1000);
  }

  /** @returns {number} the server's clock, as far as it is known */
  now() {
    return Date.now() + this.skewMs;
  }

  /**
   * Follow a feed from now on, over every reconnect.
   * @param {string} feed
   */
  join(feed) {
    if (!this.at.has(feed)) this.at.set(feed, null);
    if (this.welcomed) this.#join(feed);
  }

  /**
   * Say something and wait for the server's answer, however long and over however many connections that takes.
   * @param {Command} command
   * @returns {Promise<Reply>}
   */
  send(command) {
    const client_id = command.client_id ?? newClientId();
    const frame = { ...command, client_id };
    return new Promise((resolve, reject) => {
      this.waiting.set(client_id, { frame, resolve, reject });
      if (this.welcomed) this.#write(frame);
    });
  }

  /** @param {WireState} state */
  #set(state) {
    if (this.state === state) return;
    this.state = state;
    this.options.onState?.(state);
  }

  async #connect() {
    clearTimeout(this.again);
    if (this.socket || this.state === "refused" || this.state === "signed_out") return;
    /** @type {string} */
    let ticket;
    try {
      // Side by side: on a slow line each of them is most of a second.
      [this.codec, ticket] = await Promise.all([this.codec === undefined ? loadMsgpack() : this.codec, this.options.ticket()]);
    } catch (why) {
      if (why instanceof SignedOut) this.#set("signed_out");
      else this.#later(0);
      return;
    }
    if (this.socket) return;
    const socket = new WebSocket(this.url, this.codec ? [MSGPACK, JSON_PROTOCOL] : [JSON_PROTOCOL]);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    const giveUp = setTimeout(() => socket.close(), CONNECT_MS);
    socket.onopen = () => {
      this.heard = Date.now();
      const resume = [];
      for (const [feed, at] of this.at) if (at) resume.push({ feed, ...at });
      this.#write({
        t: "hello", client_id: newClientId(), client: this.options.client, features: this.options.features ?? [], resume, ticket,
      });
    };
    socket.onmessage = (message) => {
      if (this.socket !== socket) return;
      this.heard = Date.now();
      const reply = this.#read(message.data);
      if (reply?.t === "welcome") clearTimeout(giveUp);
      if (reply) this.#take(reply);
    };
    socket.onclose = (close) => {
      clearTimeout(giveUp);
      if (this.socket === socket) this.#closed(close.code);
    };
  }

  /** @param {number} code */
  #closed(code) {
    this.socket = null;
    if (this.#isProven()) this.failures = 0;
    this.welcomed = false;
    clearTimeout(this.moving);
    this.joining.clear();
    this.joins.clear();
    if (this.state === "refused") return;
    const what = advice(code);
    if (what.signIn) this.#set("signed_out");
    else if (!what.again) this.#set("refused");
    else this.#later(what.floor);
  }

  /** @param {number} floor ms */
  #later(floor) {
    this.#set("lost");
    clearTimeout(this.again);
    const delay = Math.max(this.movesAt - Date.now(), floor + delayFor(this.failures, Math.random()));
    this.failures += 1;
    this.again = setTimeout(() => void this.#connect(), delay);
  }

  /** The moment that a restarting server gave us has come. */
  #move() {
    this.movesAt = 0;
    const atOnce = this.#isProven();
    this.socket?.close(1000);
    this.#lose();
    if (atOnce) this.#comeBackNow();
  }

  #isProven() {
    return this.welcomed && Date.now() - this.welcomedAt >= PROVEN_MS;
  }

  #comeBackNow() {
    if (this.socket || this.state === "refused" || this.state === "signed_out") return;
    clearTimeout(this.again);
    void this.#connect();
  }

  /** Give up a socket that may still believe that it is open. */
  #lose() {
    const socket = this.socket;
    if (!socket) return;
    socket.onclose = null;
    socket.onmessage = null;
    socket.close();
    this.#closed(1006);
  }

  #pulse() {
    if (!this.welcomed) return;
    const now = Date.now();
    if (now - this.heard > SILENT_MS && this.probed > this.heard) {
      this.#lose();
      return;
    }
    for (const [feed, since] of this.joining) {
      if (now - since < JOIN_MS) continue;
      this.joining.delete(feed);
      this.#join(feed);
    }
    const quiet = document.visibilityState === "visible" && now - this.heard > PROBE_MS && this.probed <= this.heard;
    if (quiet || now - this.beatAt >= this.beatMs) {
      this.probed = now;
      this.#beat(now);
    }
  }

  /** @param {number} now */
  #beat(now) {
    this.beatAt = now;
    /** @type {Record<string, number>} */
    const at = {};
    for (const [feed, position] of this.at) if (position && !this.joining.has(feed)) at[feed] = position.seq;
    this.#write({ t: "beat", at });
  }

  /** @param {string} feed */
  #join(feed) {
    if (this.joining.has(feed)) return;
    const client_id = newClientId();
    this.joining.set(feed, Date.now());
    this.joins.set(client_id, feed);
    this.#write({ t: "join", client_id, feed, after: this.at.get(feed) ?? null });
  }

  /** @param {Command} frame */
  #write(frame) {
    const socket = this.socket;
    if (!socket || socket.readyState !== WebSocket.OPEN) return;
    if (socket.protocol === MSGPACK && this.codec) socket.send(/** @type {Uint8Array<ArrayBuffer>} */ (this.codec.encode(frame)));
    else socket.send(JSON.stringify(frame));
  }

  /**
   * @param {ArrayBuffer | string} data
   * @returns {Reply | null}
   */
  #read(data) {
    if (typeof data === "string") return JSON.parse(data);
    return this.codec ? /** @type {Reply} */ (this.codec.decode(data)) : null;
  }

  /** @param {Reply} reply */
  #take(reply) {
    switch (reply.t) {
      case "welcome":
        this.welcomed = true;
        this.welcomedAt = Date.now();
        this.beatMs = reply.limits.beat_ms;
        this.beatAt = Date.now();
        this.skewMs = reply.now - Date.now();
        this.#set("live");
        this.options.onWelcome?.(reply);
        for (const [feed, at] of this.at) {
          if (at) this.joining.set(feed, Date.now());
          else this.#join(feed);
        }
        for (const { frame } of this.waiting.values()) this.#write(frame);
        return;
      case "joined":
        this.joining.delete(reply.feed);
        if (reply.re) this.joins.delete(reply.re);
        if (!this.at.has(reply.feed)) return;
        if (!reply.recovered) this.at.set(reply.feed, { epoch: reply.epoch, seq: reply.seq });
        this.options.onJoined?.(reply);
        return;
      case "event":
        this.#event(reply);
        return;
      case "beat":
        this.skewMs = reply.now - Date.now();
        for (const [feed, there] of Object.entries(reply.at)) {
          const here = this.at.get(feed);
          if (here && here.epoch !== there.epoch) this.#join(feed);
        }
        return;
      case "drain":
        // Until then everything goes on: nobody is without a connection for longer than it takes to make another one.
        this.movesAt = Date.now() + reply.after_ms;
        clearTimeout(this.moving);
        this.moving = setTimeout(() => this.#move(), reply.after_ms);
        return;
      case "error":
        this.#error(reply);
        return;
      default:
        if ("re" in reply && reply.re) this.#answer(reply.re, reply);
    }
  }

  /** @param {FeedEvent} event */
  #event(event) {
    const at = this.at.get(event.feed);
    if (!at || this.joining.has(event.feed)) return;
    if (event.epoch === at.epoch && event.seq <= at.seq) return;
    if (event.epoch !== at.epoch || event.seq !== at.seq + 1) {
      this.#join(event.feed);
      return;
    }
    this.at.set(event.feed, { epoch: event.epoch, seq: event.seq });
    this.options.onEvent?.(event);
  }

  /**
   * @param {string} re
   * @param {Reply} reply
   */
  #answer(re, reply) {
    const waiter = this.waiting.get(re);
    if (!waiter) return;
    this.waiting.delete(re);
    waiter.resolve(reply);
  }

  /** @param {ErrorReply} reply */
  #error(reply) {
    const feed = reply.re ? this.joins.get(reply.re) : undefined;
    if (feed !== undefined && reply.retry === "never") {
      this.joins.delete(/** @type {string} */ (reply.re));
      this.joining.delete(feed);
      this.at.delete(feed);
      this.options.onRefused?.(feed, new Refusal(reply));
      return;
    }
    const waiter = reply.re ? this.waiting.get(reply.re) : undefined;
    if (!waiter || !reply.re) return;
    if (reply.retry === "never") {
      this.waiting.delete(reply.re);
      waiter.reject(new Refusal(reply));
      return;
    }
    const wait = reply.retry === "later" ? (reply.retry_after_ms ?? 2_000) : delayFor(2, Math.random());
    setTimeout(() => {
      if (this.welcomed && this.waiting.has(/** @type {string} */ (reply.re))) this.#write(waiter.frame);
    }, wait);
  }
}
