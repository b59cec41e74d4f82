// @ts-check
/**
 * What a screen reader is told. The log itself is not live: rows that are patched, replayed or backfilled would be read
 * again. One polite region speaks new messages (author and text, never the time), bursts as a number; one assertive
 * region is for what can not wait.
 */

import { el } from "./keyed.js";
import { t } from "./texts.js";

/** More than this many new messages within BURST_MS are said as a number. */
const BURST = 3;
const BURST_MS = 1_200;
const CLEAR_MS = 8_000;

/** @typedef {"all" | "team" | "off"} Voice */

export class Announcer {
  /** @param {Voice} [voice] */
  constructor(voice = "all") {
    this.voice = voice;
    this.polite = el("div", { class: "nhsuk-u-visually-hidden", attrs: { "aria-live": "polite", "data-announce": "polite" } });
    this.urgent = el("div", { class: "nhsuk-u-visually-hidden", attrs: { role: "alert", "data-announce": "urgent" } });
    document.body.append(this.polite, this.urgent);
    /** @type {string[]} */
    this.queue = [];
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
  }

  /**
   * A message of somebody else, just now published.
   * @param {string} name
   * @param {string} body
   * @param {boolean} team
   */
  message(name, body, team) {
    if (this.voice === "off" || (this.voice === "team" && !team)) return;
    this.queue.push(`${name}: ${body}`);
    this.timer ??= setTimeout(() => this.#flush(), BURST_MS);
  }

  /** @param {string} text */
  say(text) {
    this.#put(this.polite, text);
  }

  /**
   * For what may interrupt: connection lost, held, a private message from the team, a call.
   * @param {string} text
   */
  alert(text) {
    this.#put(this.urgent, text);
  }

  #flush() {
    this.timer = undefined;
    const lines = this.queue.splice(0);
    if (lines.length > BURST) this.say(t("room.new_many", { n: lines.length }));
    else for (const line of lines) this.say(line);
  }

  /**
   * @param {HTMLElement} region
   * @param {string} text
   */
  #put(region, text) {
    const line = el("p", { text });
    region.append(line);
    setTimeout(() => line.remove(), CLEAR_MS);
  }
}
