// @ts-check
/** How one message looks, for members and staff. The same markup as `templates/parts.jinja`, made of text nodes only. */

import { el } from "./keyed.js";
import { clock, maybe, t } from "./texts.js";

/** @typedef {import("./frames.js").View} View */
/** @typedef {import("./frames.js").FoundSpan} FoundSpan */

/**
 * The body with its findings marked. Offsets are code points of the body, half-open, and may overlap: the highest level
 * wins.
 * @param {string} body
 * @param {FoundSpan[]} found
 * @returns {Node[]}
 */
export function marked(body, found) {
  if (!found.length) return [document.createTextNode(body)];
  const chars = Array.from(body);
  const levels = new Array(chars.length).fill(0);
  for (const { start, end, level } of found) {
    for (let i = Math.max(0, start); i < Math.min(end, chars.length); i += 1) levels[i] = Math.max(levels[i], level);
  }
  /** @type {Node[]} */
  const out = [];
  for (let i = 0; i < chars.length; ) {
    let j = i;
    while (j < chars.length && levels[j] === levels[i]) j += 1;
    const text = chars.slice(i, j).join("");
    out.push(levels[i] ? el("mark", { class: `ek-mark ek-mark--${Number(levels[i])}`, text }) : document.createTextNode(text));
    i = j;
  }
  return out;
}

/**
 * @param {number} at
 * @param {number} now
 */
export function timeOf(at, now) {
  return el("time", { text: clock(at, now), attrs: { datetime: new Date(at).toISOString() } });
}

/**
 * @param {number} level
 */
export function levelTag(level) {
  return el("span", { class: `ek-level ek-level--${Number(level)}`, text: t(`level.${level}`) });
}

/**
 * Why something was noticed, one line each; nothing where nothing was found.
 * @param {FoundSpan[]} found
 * @returns {Node[]}
 */
export function findings(found) {
  if (!found.length) return [];
  const why = found.map((f) =>
    el("li", {}, [levelTag(f.level), document.createTextNode(` ${f.category ? `${t(`category.${f.category}`)}: ` : ""}${f.reason}`)]));
  return [el("ul", { class: "ek-findings" }, why)];
}

/**
 * What the reader is told of a held message: kind, and true.
 * @param {string} reason
 */
export function heldReason(reason) {
  return maybe(`held.${reason}`) ?? t("held.default");
}

/**
 * @param {HTMLElement} node
 * @param {View} view
 * @param {{me: string, now: number, link?: ((id: string) => string) | null, extra?: Node[]}} how `link`: the page of one message
 */
export function fillMessage(node, view, { me, now, link = null, extra = [] }) {
  node.className = `ek-row ek-row--${view.state}`;
  if (view.state !== "shown" && view.state !== "held") {
    const code = view.state === "removed" ? `view.removed_${view.by === "author" ? "author" : "moderator"}` : `view.${view.state}`;
    node.replaceChildren(el("p", { class: "ek-row__gone", text: t(code) }));
    return;
  }
  const mine = view.author.id === me;
  const role = view.author.role ?? "member";
  const staff = role !== "member";
  node.classList.toggle("ek-row--mine", mine);
  node.classList.toggle("ek-row--staff", staff);
  const who = el("p", { class: "ek-row__who" }, [el("span", { class: "ek-row__name", text: view.author.name })]);
  if (mine) who.append(" ", el("span", { class: "ek-row__tag", text: t("view.you") }));
  if (staff) who.append(" ", el("span", { class: "ek-row__tag ek-row__tag--staff", text: t(`role.${role}`) }));
  who.append(" ", el("time", { class: "ek-row__time", text: clock(view.at, now), attrs: { datetime: new Date(view.at).toISOString() } }));
  if (view.edited) {
    const edited = el("span", { class: "ek-row__edited", text: t("view.edited") });
    if (view.edited_at) edited.append(" ", timeOf(view.edited_at, now));
    who.append(" ", edited);
  }
  const found = view.attention?.findings ?? [];
  node.replaceChildren(
    who,
    el("p", { class: "ek-row__body" }, marked(view.body, found)),
  );
  if (view.state === "held") {
    const text = mine ? `${t("send.checking")} ${heldReason(view.reason)}` : t("view.held_staff");
    node.append(el("p", { class: "ek-row__state", text }));
  }
  node.append(...findings(found));
  if (view.attention && !found.length && view.attention.complete !== false) {
    const line = el("p", { class: "ek-row__state" }, view.attention.level ? [levelTag(view.attention.level)] : []);
    line.append(view.attention.level ? " " : "", t("console.of_case"));
    node.append(line);
  }
  if (view.attention && view.attention.complete === false) {
    node.append(el("p", { class: "ek-row__state", text: t("console.not_whole") }));
  }
  if (link) {
    const hidden = el("span", { class: "nhsuk-u-visually-hidden", text: ` ${t("view.options_for", { name: view.author.name })}` });
    const a = el("a", { class: "ek-row__more", text: t("view.options"), attrs: { href: link(view.id) } }, [hidden]);
    who.append(" ", a);
  }
  node.append(...extra);
}
