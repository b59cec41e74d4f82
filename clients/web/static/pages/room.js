// @ts-check
/** A member's room: the conversation as it happens, one's own messages in their true state, and help beside it. */

import { Announcer } from "../core/announcer.js";
import { composer, readOutbox, writeOutbox } from "../core/composer.js";
import { connectionBanner } from "../core/connection-banner.js";
import { nextTicket } from "../core/early.js";
import { el, patch } from "../core/keyed.js";
import { fillMessage } from "../core/message-row.js";
import * as store from "../core/store.js";
import { crisisShort, fillHandling, handlingLines } from "../core/support.js";
import { clock, t } from "../core/texts.js";
import { newClientId, Refusal, Wire } from "../core/wire.js";

/** @typedef {import("../core/frames.js").Ack} Ack */
/** @typedef {import("../core/frames.js").Page} Page */
/** @typedef {import("../core/store.js").Row} Row */
/** @typedef {import("../core/store.js").Pending} Pending */

/**
 * @template {HTMLElement} E
 * @param {string} name
 * @returns {E}
 */
const part = (name) => /** @type {E} */ (document.querySelector(`[data-${name}]`));

const main = /** @type {HTMLElement} */ (document.getElementById("maincontent"));
const feed = main.dataset.feed ?? "";
const roomId = main.dataset.room ?? "";
const me = main.dataset.me ?? "";
const myName = main.dataset.name ?? "";
const log = part("log");
const list = part("rows");
const pill = part("pill");
const voices = document.querySelectorAll('input[name="voice"]');
const announcer = new Announcer();
const banner = connectionBanner(part("connection"), (text) => announcer.alert(text));

let room = store.emptyRoom(feed);
let items = store.emptyItems();
let limits = { body_chars: 4_000, page: 50 };
let joinedOnce = false;
/** @type {Set<string>} what a screen reader has been told already */
const told = new Set();
let missed = 0;
let readSent = 0;

const wire = new Wire({
  ticket: nextTicket,
  client: "evenkeel-web/1",
  features: ["handling"],
  onState: banner,
  onWelcome: (welcome) => {
    limits = welcome.limits;
  },
  onJoined: (joined) => {
    if (joined.feed === feed) {
      room = store.applyJoined(room, joined);
      if (!joinedOnce) resend();
      joinedOnce = true;
      draw(false);
    } else {
      const known = new Set(Object.keys(items.rooms));
      items = store.itemsJoined(items, joined);
      drawInbox(known, false);
    }
  },
  onEvent: (event) => {
    if (event.feed === feed) {
      room = store.applyEvent(room, event, me);
      draw(true);
    } else {
      const known = new Set(Object.keys(items.rooms));
      const before = items.handling;
      items = store.itemsEvent(items, event);
      drawInbox(known, true);
      if (event.item.kind === "handling" && event.item.id in before && store.isOver(event.item)) finished();
    }
  },
  onRefused: (refused) => {
    if (refused === feed) {
      room = { ...room, gone: true };
      draw(false);
    }
  },
});

const box = composer({
  feed,
  form: part("composer"),
  box: part("body"),
  count: part("count"),
  limit: () => limits.body_chars,
  onSend: (body) => post({ client_id: newClientId(), body, at: wire.now() }),
});

/** @param {{client_id: string, body: string, at: number}} message */
function post(message) {
  room = store.addPending(room, message);
  keep();
  draw(false);
  toEnd();
  const before = current().length > 0;
  wire.send({ t: "send", client_id: message.client_id, feed, body: message.body, reply_to: null }).then(
    (reply) => {
      const ack = /** @type {Ack} */ (reply);
      room = store.ackPending(room, ack);
      keep();
      draw(false);
      care(ack, before);
    },
    (why) => {
      room = store.failPending(room, message.client_id, why instanceof Refusal ? why.message : "");
      keep();
      announcer.alert(t("send.failed"));
      draw(false);
    },
  );
}

/** What a reload of this tab found unanswered goes out again, with the same client_id. */
function resend() {
  const shown = new Set(Object.values(room.views).map((v) => (v.state === "shown" || v.state === "held" ? v.client_id : null)));
  for (const message of readOutbox(feed)) if (!shown.has(message.client_id)) post(message);
  keep();
}

function keep() {
  const open = room.pending.filter((p) => p.state === "sending" || p.state === "failed");
  writeOutbox(feed, open.map(({ client_id, body, at }) => ({ client_id, body, at })));
}

/**
 * Help at once, from the server's own word on the message; the event that tells more may come before or after it.
 * @param {Ack} ack
 * @param {boolean} before whether the team had something urgent from this person already
 */
function care(ack, before) {
  if (ack.state === "held") announcer.alert(t("send.checking"));
  if (!ack.care || ack.care === "none") return;
  const known = ack.care === "urgent" && current().length > 0;
  if (known && !before) return;
  const text = t(known ? "care.added" : `care.${ack.care}`);
  const panel = part("care");
  panel.dataset.care = ack.care;
  panel.className = "ek-handling";
  const line = el("p", {}, [el("strong", { text })]);
  panel.replaceChildren(line, ...(known ? [] : [crisisShort()]));
  panel.hidden = false;
  intoSight((known && part("handling").firstElementChild) || panel);
  announcer.alert(text);
}

/**
 * @param {HTMLElement} node
 * @param {Pending} pending
 */
function fillPending(node, pending) {
  node.className = `ek-row ek-row--mine ek-row--${pending.state}`;
  const who = el("p", { class: "ek-row__who" }, [
    el("span", { class: "ek-row__name", text: myName }), document.createTextNode(" "),
    el("span", { class: "ek-row__tag", text: t("view.you") }), document.createTextNode(" "),
    el("span", { class: "ek-row__time", text: clock(pending.at, wire.now()) }),
  ]);
  const state = { sending: "send.sending", sent: "send.sent", held: "send.checking", failed: "send.failed" }[pending.state];
  node.replaceChildren(
    who,
    el("p", { class: "ek-row__body", text: pending.body }),
    el("p", { class: "ek-row__state", text: pending.error ? `${t(state)} ${pending.error}` : t(state) }),
  );
  if (pending.state !== "failed") return;
  const retry = el("button", { class: "ek-linkish", text: t("send.retry"), attrs: { type: "button" } });
  retry.addEventListener("click", () => {
    room = store.dropPending(room, pending.client_id);
    post({ client_id: newClientId(), body: pending.body, at: wire.now() });
  });
  const back = el("button", { class: "ek-linkish", text: t("send.discard"), attrs: { type: "button" } });
  back.addEventListener("click", () => {
    room = store.dropPending(room, pending.client_id);
    keep();
    draw(false);
    box.restore(pending.body);
  });
  node.append(el("p", { class: "ek-row__again" }, [retry, back]));
}

/**
 * @param {boolean} live whether this came just now, rather than from history
 */
function draw(live) {
  const wasAtEnd = atEnd();
  const shown = store.rows(room, me);
  const day = Math.floor(wire.now() / 3_600_000);
  patch(list, shown, {
    key: (row) => row.key,
    stamp: (row) => `${day}${JSON.stringify(row)}`,
    fill: (node, row) => fill(node, row),
  });
  part("empty").hidden = shown.length > 0;
  part("earlier").hidden = !room.more;
  if (room.room) {
    part("room-name").textContent = room.room.name;
    part("room-purpose").textContent = room.room.purpose ?? "";
  }
  const open = !room.gone && (room.room ? room.room.open !== false : main.dataset.open === "yes");
  part("composer").hidden = !open;
  const closed = part("closed");
  closed.hidden = open;
  if (!open) closed.textContent = t(room.gone ? "room.gone" : "room.closed");
  announce(live, wasAtEnd);
  if (wasAtEnd) toEnd();
  else tellMissed();
  markRead();
}

/**
 * @param {HTMLElement} node
 * @param {Row} row
 */
function fill(node, row) {
  if (row.kind === "divider") {
    node.className = "ek-divider";
    node.textContent = t("room.divider");
  } else if (row.kind === "pending") {
    fillPending(node, row.pending);
  } else {
    const link = (/** @type {string} */ id) =>
      `/rooms/${encodeURIComponent(roomId)}/messages/${encodeURIComponent(id)}?at=${row.place}`;
    fillMessage(node, row.view, { me, now: wire.now(), link });
  }
}

/**
 * @param {boolean} live
 * @param {boolean} inSight the end of the log was in sight before
 */
function announce(live, inSight) {
  for (const [place, view] of Object.entries(room.views)) {
    if (view.state !== "shown" || told.has(place)) continue;
    told.add(place);
    if (!live || view.author.id === me) continue;
    announcer.message(view.author.name, view.body, (view.author.role ?? "member") !== "member");
    if (!inSight) missed += 1;
  }
}

function atEnd() {
  return log.scrollHeight - log.scrollTop - log.clientHeight < 60;
}

function toEnd() {
  log.scrollTop = log.scrollHeight;
  missed = 0;
  pill.hidden = true;
}

function tellMissed() {
  if (!missed) return;
  pill.textContent = missed === 1 ? t("room.new_one") : t("room.new_many", { n: missed });
  pill.hidden = false;
}

/** The reader's own, private place: moved on only while the page is looked at and the newest message is in sight. */
function markRead() {
  if (document.visibilityState !== "visible" || !atEnd() || room.seq <= Math.max(readSent, room.read)) return;
  readSent = room.seq;
  wire.send({ t: "read", feed, seq: room.seq }).catch(() => undefined);
}

/**
 * @param {Set<string>} known rooms before
 * @param {boolean} live
 */
function drawInbox(known, live) {
  const now = wire.now();
  const states = Object.values(items.handling)
    .filter((h) => h.care !== "none" && handlingLines(h).length)
    .sort((a, b) => lastAt(b) - lastAt(a))
    .slice(0, 2);
  const { added } = patch(part("handling"), states, {
    key: (h) => h.id, stamp: (h) => JSON.stringify(h), tag: "div", fill: (node, h) => fillHandling(node, h, now),
  });
  const panel = part("care");
  if (["urgent", "finished"].includes(panel.dataset.care ?? "") && current().length) panel.hidden = true;
  const appeared = part("handling").firstElementChild;
  if (live && added.length && appeared) intoSight(appeared);
  if (live && states.length) {
    const lines = handlingLines(states[0]);
    const text = lines[lines.length - 1].text;
    if (!told.has(`h:${text}`)) announcer.alert(text);
    told.add(`h:${text}`);
  }
  const privates = Object.values(items.rooms).filter((r) => r.room_kind === "support" && r.open !== false && r.id !== roomId);
  const links = part("private");
  patch(links, privates, {
    key: (r) => r.id,
    stamp: (r) => r.id,
    tag: "p",
    fill: (node, r) => node.replaceChildren(el("a", { text: t("room.private"), attrs: { href: `/rooms/${encodeURIComponent(r.id)}` } })),
  });
  links.hidden = privates.length === 0;
  if (live && privates.some((r) => !known.has(r.id))) announcer.alert(t("room.private"));
}

/** The team has finished with what this person wrote: said once, where its states stood. */
function finished() {
  const text = t("handling.closed");
  const panel = part("care");
  panel.dataset.care = "finished";
  panel.className = "ek-handling";
  panel.replaceChildren(el("p", { text }));
  panel.hidden = false;
  announcer.alert(text);
}

/**
 * Help that has just appeared is seen at once, also where the page was scrolled down to the composer; the message that
 * it belongs to stands below it. Once only: what is added later never moves the page under somebody who writes.
 * @param {Element} panel
 */
function intoSight(panel) {
  const { top, bottom } = panel.getBoundingClientRect();
  if (top < 0 || bottom > innerHeight) panel.scrollIntoView({ block: "start" });
}

/** What the team has from this person and has not finished with. */
function current() {
  return Object.values(items.handling).filter((h) => h.care === "urgent");
}

/** @param {import("../core/frames.js").HandlingItem} item */
function lastAt(item) {
  return Math.max(0, ...(item.states ?? []).map((s) => s.at));
}

part("earlier-link").addEventListener("click", async (event) => {
  event.preventDefault();
  const before = store.earliest(room);
  if (!before) return;
  const page = /** @type {Page} */ (await wire.send({ t: "history", feed, before, limit: limits.page }));
  const height = log.scrollHeight;
  room = store.applyPage(room, page);
  draw(false);
  log.scrollTop += log.scrollHeight - height;
});
pill.addEventListener("click", () => {
  toEnd();
  log.focus();
  markRead();
});
log.addEventListener("scroll", () => {
  if (!atEnd()) return;
  missed = 0;
  pill.hidden = true;
  markRead();
});
document.addEventListener("visibilitychange", markRead);
for (const voice of voices) {
  if (!(voice instanceof HTMLInputElement)) continue;
  voice.addEventListener("change", () => {
    announcer.voice = /** @type {import("../core/announcer.js").Voice} */ (voice.value);
  });
}

toEnd();
wire.join(feed);
wire.join("inbox");
wire.start();
