// @ts-check
/** What the author of a worrying message sees: what truly happened so far, and urgent help beside it. */

import { el } from "./keyed.js";
import { clock, maybe, t } from "./texts.js";

/** @typedef {import("./frames.js").HandlingItem} HandlingItem */

/** @returns {HTMLElement} the crisis lines, in words */
export function crisisShort() {
  const lines = ["help.life", "help.nhs", "help.samaritans", "help.shout"].map((code) => el("li", { text: t(code) }));
  return el("div", { class: "ek-crisis-short" }, [el("p", { text: t("help.beside") }), el("ul", {}, lines)]);
}

/** States after which it is worth saying that nobody has opened it, as long as no named person stands in the list. */
const UNSEEN = ["sent_to_team", "next_called"];

/**
 * One line per stored fact; a state that this page does not know is passed over, never guessed.
 * @param {HandlingItem} item
 * @returns {{at: number, text: string}[]}
 */
export function handlingLines(item) {
  const lines = [];
  const states = item.states ?? [];
  const seen = states.some((s) => s.by);
  for (const { state, at, by } of states) {
    let text = maybe(`handling.${state}`);
    if (text === undefined) continue;
    text = text.replace("{name}", by?.name ?? t("handling.someone")).replace(", {role},", by?.role ? `, ${t(`role.${by.role}`).toLowerCase()},` : "");
    lines.push({ at, state, text });
  }
  const last = lines.at(-1);
  if (last && !seen && UNSEEN.includes(last.state)) last.text = `${last.text} ${t("handling.not_opened")}`;
  return lines;
}

/**
 * @param {HTMLElement} node
 * @param {HandlingItem} item
 * @param {number} now
 */
export function fillHandling(node, item, now) {
  node.className = "ek-handling";
  node.setAttribute("role", "group");
  node.setAttribute("aria-label", "What is happening with what you wrote");
  const lines = handlingLines(item).map(({ at, text }) =>
    el("li", {}, [el("time", { text: clock(at, now), attrs: { datetime: new Date(at).toISOString() } }), document.createTextNode(` ${text}`)]));
  node.replaceChildren(el("ol", { class: "ek-handling__states" }, lines), crisisShort());
}
