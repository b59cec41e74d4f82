// @ts-check
/**
 * The box that a message is written in: drafts per room, the keys that send, the count of what is left.
 *
 * Drafts live in this tab's sessionStorage only: shared devices. A draft leaves it when the server has the message.
 */

import { t } from "./texts.js";

const PREFIX = "evenkeel.draft.";
/** The count is shown from here on; before that it would only worry. */
const SHOW_LEFT = 200;

/**
 * @param {string} feed
 * @returns {string}
 */
export function readDraft(feed) {
  try {
    return sessionStorage.getItem(PREFIX + feed) ?? "";
  } catch {
    return "";
  }
}

/**
 * @param {string} feed
 * @param {string} text
 */
export function writeDraft(feed, text) {
  try {
    if (text) sessionStorage.setItem(PREFIX + feed, text);
    else sessionStorage.removeItem(PREFIX + feed);
  } catch {
    // A browser that keeps no storage still sends messages.
  }
}

/** Forget everything that this tab kept. */
export function forgetAll() {
  try {
    sessionStorage.clear();
  } catch {
    // Nothing was kept.
  }
}

/**
 * How many characters the server counts: code points, not UTF-16 units.
 * @param {string} text
 */
export function lengthOf(text) {
  return Array.from(text).length;
}

/**
 * Wire a form up. Returns what puts text back into the box.
 * @param {object} options
 * @param {string} options.feed
 * @param {HTMLFormElement} options.form
 * @param {HTMLTextAreaElement} options.box
 * @param {HTMLElement} options.count
 * @param {() => number} options.limit characters
 * @param {(text: string) => void} options.onSend
 * @returns {{restore: (text: string) => void}}
 */
export function composer({ feed, form, box, count, limit, onSend }) {
  const kept = readDraft(feed);
  if (kept && !box.value) box.value = kept;
  const tell = () => {
    const left = limit() - lengthOf(box.value);
    count.textContent = left < 0 ? t("send.too_long", { n: -left }) : left <= SHOW_LEFT ? t("send.left", { n: left }) : "";
    box.setAttribute("aria-invalid", left < 0 ? "true" : "false");
  };
  const submit = () => {
    const text = box.value.trim();
    if (!text) {
      count.textContent = t("send.empty");
      box.focus();
      return;
    }
    if (lengthOf(text) > limit()) {
      tell();
      return;
    }
    onSend(text);
    box.value = "";
    writeDraft(feed, "");
    tell();
    box.focus();
  };
  box.addEventListener("input", () => {
    writeDraft(feed, box.value);
    tell();
  });
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.ctrlKey || event.altKey) return;
    event.preventDefault();
    submit();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  tell();
  return {
    restore(text) {
      box.value = box.value ? `${text}\n${box.value}` : text;
      writeDraft(feed, box.value);
      tell();
      box.focus();
    },
  };
}

// --- the outbox: what was sent but not answered survives a reload of the tab -------------------------------------------

const OUTBOX = "evenkeel.outbox.";

/** @typedef {{client_id: string, body: string, at: number}} Outgoing */

/**
 * @param {string} feed
 * @returns {Outgoing[]}
 */
export function readOutbox(feed) {
  try {
    const kept = JSON.parse(sessionStorage.getItem(OUTBOX + feed) ?? "[]");
    return Array.isArray(kept) ? kept : [];
  } catch {
    return [];
  }
}

/**
 * @param {string} feed
 * @param {readonly Outgoing[]} messages
 */
export function writeOutbox(feed, messages) {
  try {
    if (messages.length) sessionStorage.setItem(OUTBOX + feed, JSON.stringify(messages));
    else sessionStorage.removeItem(OUTBOX + feed);
  } catch {
    // Without storage the message lives in this page alone.
  }
}
