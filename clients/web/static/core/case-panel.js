// @ts-check
/** One open case: the conversation with what was found and why, and the acts that this reader may do now. */

import { el, patch } from "./keyed.js";
import { fillMessage, findings, levelTag, marked, timeOf } from "./message-row.js";
import { clock, section, t } from "./texts.js";

/** @typedef {import("./frames.js").CaseItem} CaseItem */
/** @typedef {import("./frames.js").CasePage} CasePage */
/** @typedef {import("./frames.js").Placed} Placed */

/** Acts on one message of the case, by its state; the rest are acts on the case. */
const ON_HELD = ["release_message", "remove_message"];
const ON_SHOWN = ["hold_message", "remove_message"];
const ON_MESSAGE = [...ON_HELD, ...ON_SHOWN];
const FIRST = ["claim", "acknowledge", "reopen"];
const WITH_FORM = ["reply", "close"];

/**
 * @typedef {{act: string, message?: string, outcome?: string, body?: string}} Asked
 */

/**
 * @param {string} text
 * @param {string} look
 * @param {() => void} press
 */
function button(text, look, press) {
  const node = el("button", { class: `nhsuk-button ${look}`, text, attrs: { type: "button" } });
  node.addEventListener("click", press);
  return node;
}

/**
 * @param {string} id
 * @param {string} label
 * @param {HTMLElement} field
 */
function field(id, label, field) {
  field.id = id;
  return el("div", { class: "nhsuk-form-group" }, [el("label", { class: "nhsuk-label", text: label, attrs: { for: id } }), field]);
}

/**
 * @param {Placed[]} items
 * @param {string} me
 * @param {number} now
 * @param {(id: string, held: boolean) => Node[]} acts
 */
function conversation(items, me, now, acts) {
  const list = el("ol", { class: "ek-rows" });
  const views = items.flatMap(({ item }) => (item.kind === "message" ? [item] : []));
  patch(list, views, {
    key: (m) => `m:${m.of}`,
    stamp: (m) => JSON.stringify(m),
    fill: (node, m) => {
      const whole = m.view.state === "shown" || m.view.state === "held" ? m.view : null;
      const extra = whole?.attention ? acts(whole.id, whole.state === "held") : [];
      fillMessage(node, m.view, { me, now, extra: extra.length ? [el("div", { class: "ek-row-acts" }, extra)] : [] });
    },
  });
  return list;
}

/**
 * Draw the case into `body`. The forms are left alone while what may be done with them stays the same, so that nobody
 * who is typing loses a letter, the focus, or (with single keys on) has a letter taken for a command.
 * @param {HTMLElement} body
 * @param {CasePage} page
 * @param {{me: string, now: number, act: (asked: Asked) => void}} how
 */
export function drawCase(body, page, { me, now, act }) {
  const { case: c, allowed } = page;
  const forms = WITH_FORM.filter((name) => allowed.includes(name));
  let [top, middle, bottom] = Array.from(body.children);
  if (body.dataset.case !== c.id || !bottom) {
    body.dataset.case = c.id;
    [top, middle, bottom] = [el("div"), el("div"), el("div")];
    body.replaceChildren(top, middle, bottom);
  }
  top.replaceChildren(...facts(page, me, now, act));
  if (middle.getAttribute("data-forms") !== forms.join(" ")) {
    middle.setAttribute("data-forms", forms.join(" "));
    middle.replaceChildren(...forms.map((name) => (name === "reply" ? replyForm(act) : closeForm(act))));
  }
  bottom.replaceChildren(
    el("h3", { class: "nhsuk-heading-s", text: "What has happened" }),
    el("ol", { class: "ek-history" }, page.history.map((h) =>
      el("li", {}, [
        el("time", { text: clock(h.at, now), attrs: { datetime: new Date(h.at).toISOString() } }),
        document.createTextNode(` ${t(`fact.${h.what}`)}${h.by ? `, ${h.by.name}` : ""}${h.detail ? `: ${factDetail(h)}` : ""}`),
      ]))),
  );
}

/**
 * Everything above the forms.
 * @param {CasePage} page
 * @param {string} me
 * @param {number} now
 * @param {(asked: Asked) => void} act
 * @returns {Node[]}
 */
function facts(page, me, now, act) {
  const { case: c, allowed } = page;
  const owner = c.owner ? t("console.owner", { name: c.owner.name }) : t("console.nobody");
  /** @type {Node[]} */
  const nodes = [el("p", {}, [
    levelTag(c.level),
    document.createTextNode(` ${t(`state.${c.state}`)} · ${owner} · ${c.room_name ?? ""} ${clock(c.opened_at, now)}`),
  ])];
  const line = el("p", { text: gist(c) });
  if (page.first_read) {
    line.append(` · ${t("console.first_read", { name: page.first_read.by?.name ?? "" })}, `, timeOf(page.first_read.at, now));
  }
  nodes.push(line);
  if (page.closing) nodes.push(closed(page.closing, now));
  // Acknowledging takes the case too: beside "take", it would be the same button twice.
  const toTake = allowed.includes("claim");
  const plain = allowed.filter((name) => !ON_MESSAGE.includes(name) && !WITH_FORM.includes(name) && !(toTake && name === "acknowledge"));
  nodes.push(el("div", { class: "ek-case-acts" }, plain.map((name, index) => {
    const look = index || !FIRST.includes(name) ? "nhsuk-button--secondary" : "";
    const node = button(t(`act.${name}`), look, () => act({ act: name }));
    node.dataset.act = name;
    return node;
  })));
  const hint = toTake ? `console.taking_${c.level}` : allowed.includes("acknowledge") ? "console.holding" : "";
  if (hint) nodes.push(el("p", { class: "nhsuk-hint ek-case-hint", text: t(hint) }));
  nodes.push(el("p", { class: "ek-result", attrs: { role: "status" } }));
  if (page.report) {
    nodes.push(el("h3", { class: "nhsuk-heading-s", text: "What the report says" }));
    nodes.push(el("p", { class: "ek-panel ek-row__body", text: page.report }));
  }
  nodes.push(el("h3", { class: "nhsuk-heading-s", text: "Conversation" }));
  nodes.push(window_(page.case.id, conversation(page.items, me, now, (id, held) =>
    (held ? ON_HELD : ON_SHOWN).filter((name) => allowed.includes(name)).map((name) =>
      button(t(`act.${name}`), "nhsuk-button--secondary ek-small", () => act({ act: name, message: id }))))));
  if (page.earlier?.length) {
    nodes.push(el("h3", { class: "nhsuk-heading-s", text: "Before an edit" }));
    nodes.push(el("ol", { class: "ek-rows" }, page.earlier.map((old) => before(old, now))));
  }
  if (page.private?.length) {
    nodes.push(el("h3", { class: "nhsuk-heading-s", text: "Private messages" }));
    nodes.push(conversation(page.private, me, now, () => []));
  }
  return nodes;
}

/**
 * What opened the case and how often something was noticed, in neutral words: never a word of theirs.
 * @param {CaseItem} c
 */
export function gist(c) {
  const opened = t(`gist.${c.origin}`);
  const times = c.messages ?? 0;
  return times < 2 ? opened : `${opened} · ${t("console.noticed", { n: times })}`;
}

/**
 * How it was closed; one that was opened again still says why.
 * @param {import("./frames.js").Closing} closing
 * @param {number} now
 */
function closed(closing, now) {
  const who = closing.at ? t("console.closed_by", { name: closing.by?.name ?? t("handling.someone") }) : t("console.closed_before");
  const line = el("p", {}, [el("strong", { text: who })]);
  if (closing.at) line.append(" ", timeOf(closing.at, now));
  line.append(`: ${t(`outcome.${closing.outcome}`)}`);
  return el("div", { class: "ek-panel" }, closing.note ? [line, el("p", { class: "ek-row__body", text: closing.note })] : [line]);
}

/**
 * What a message said before an edit, and why it was noticed.
 * @param {import("./frames.js").Earlier} old
 * @param {number} now
 */
function before(old, now) {
  const found = old.findings ?? [];
  const when = el("span", { class: "ek-row__time", text: `${t("console.until_edit")} ` }, [timeOf(old.at, now)]);
  const words = old.body
    ? el("p", { class: "ek-row__body" }, marked(old.body, found))
    : el("p", { class: "ek-row__gone", text: t("view.unreadable") });
  return el("li", { class: "ek-row ek-row--earlier" }, [el("p", { class: "ek-row__who" }, [when]), words, ...findings(found)]);
}

/** How far each case's conversation was scrolled, so that a redrawn one stays where its reader was. @type {Map<string, number>} */
const scrolled = new Map();

/**
 * A window onto a conversation that opens at what was noticed last, with the acts of the case still in sight.
 * @param {string} id
 * @param {HTMLElement} list
 */
function window_(id, list) {
  const frame = el("div", { class: "ek-case__talk", attrs: { tabindex: "0", role: "region", "aria-label": "Conversation" } }, [list]);
  requestAnimationFrame(() => {
    const noticed = [...list.querySelectorAll(".ek-row-acts, .ek-row--held")].at(-1)?.closest("li");
    const middle = noticed ? noticed.offsetTop - frame.offsetTop - (frame.clientHeight - noticed.clientHeight) / 2 : frame.scrollHeight;
    frame.scrollTop = scrolled.get(id) ?? middle;
    // A frame that was drawn anew meanwhile still reports once, from the top.
    frame.addEventListener("scroll", () => frame.isConnected && scrolled.set(id, frame.scrollTop), { passive: true });
  });
  return frame;
}

/** Where the detail of a line is a code, the section of the catalogue that knows it. @type {Record<string, string>} */
const DETAILS = { rung: "rung", nobody: "rung", close: "outcome", open: "origin", raise: "origin" };

/** @param {import("./frames.js").CaseFact} fact */
function factDetail(fact) {
  const known = DETAILS[fact.what];
  return known ? t(`${known}.${fact.detail}`) : fact.detail;
}

/** @param {(asked: Asked) => void} act */
function replyForm(act) {
  const box = /** @type {HTMLTextAreaElement} */ (el("textarea", { class: "nhsuk-textarea", attrs: { rows: "3" } }));
  const send = el("button", { class: "nhsuk-button", text: "Send", attrs: { type: "submit" } });
  const form = el("form", { class: "ek-form" }, [field("case-reply", t("act.reply"), box), send]);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act({ act: "reply", body: box.value.trim() });
  });
  return form;
}

/** @param {(asked: Asked) => void} act */
function closeForm(act) {
  const options = [el("option", { text: "Choose", attrs: { value: "" } }),
    ...section("outcome").map(([value, text]) => el("option", { text, attrs: { value } }))];
  const outcome = /** @type {HTMLSelectElement} */ (el("select", { class: "nhsuk-select" }, options));
  const note = /** @type {HTMLTextAreaElement} */ (el("textarea", { class: "nhsuk-textarea", attrs: { rows: "3" } }));
  const close = el("button", { class: "nhsuk-button nhsuk-button--secondary", text: t("act.close"), attrs: { type: "submit" } });
  const form = el("form", { class: "ek-form" }, [field("case-outcome", "What happened", outcome), field("case-note", "Note", note), close]);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act({ act: "close", outcome: outcome.value, body: note.value.trim() });
  });
  return form;
}
