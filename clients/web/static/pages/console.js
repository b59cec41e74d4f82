// @ts-check
/** The moderator's console: the queue by level and age, one open case beside it, the keyboard. */

import { drawCase, gist } from "../core/case-panel.js";
import { el, patch } from "../core/keyed.js";
import { levelTag } from "../core/message-row.js";
import { me, onDuty, part } from "../core/on-duty.js";
import * as store from "../core/store.js";
import { age, clock, t } from "../core/texts.js";
import { Refusal } from "../core/wire.js";

/** @typedef {import("../core/frames.js").CaseItem} CaseItem */
/** @typedef {import("../core/frames.js").CasePage} CasePage */
/** @typedef {import("../core/case-panel.js").Asked} Asked */

const list = part("queue");
const panel = part("case-panel");
const body = part("case-body");
const KEYS = "evenkeel.keys";

/** @type {CasePage | null} */
let open = null;
let opening = "";
let selected = 0;

const duty = onDuty((before, event) => {
  if (event?.item.kind === "case" && !(event.item.id in before.versions)) {
    announcer.alert(t("console.new_case", { level: t(`level.${event.item.level}`), name: event.item.subject.name }));
  }
  draw();
  const current = open ? (duty.items.versions[open.case.id] ?? 0) : 0;
  if (event && open && current > open.case.version) void openCase(open.case.id, false);
});
const { announcer, wire } = duty;

function draw() {
  const cases = store.queue(duty.items);
  selected = Math.min(selected, Math.max(0, cases.length - 1));
  patch(list, cases, { key: (c) => c.id, stamp: (c) => `${JSON.stringify(c)}${open?.case.id === c.id}`, fill: fillCase });
  part("queue-count").textContent = String(cases.length);
  part("queue-empty").hidden = cases.length > 0;
  tick();
}

/**
 * @param {HTMLElement} node
 * @param {CaseItem} c
 */
function fillCase(node, c) {
  node.className = `ek-case ek-case--${Number(c.level)}`;
  const kinds = (c.categories ?? []).map((name) => t(`category.${name}`)).join(", ");
  const link = el("a", { class: "ek-case__link", attrs: { href: `/staff/cases/${encodeURIComponent(c.id)}` } }, [
    levelTag(c.level),
    el("span", { class: "ek-case__name", text: c.subject.name }),
    el("span", { class: "ek-case__gist", text: gist(c) }),
    el("span", { class: "ek-case__meta", text: [c.room_name, kinds].filter(Boolean).join(" · ") }),
    el("span", { class: "ek-case__meta", text: c.owner ? t("console.owner", { name: c.owner.name }) : t("console.nobody") }),
    el("span", { class: "ek-case__meta", attrs: { "data-since": String(c.raised_at), "data-due": c.due_at ? String(c.due_at) : "" } }),
  ]);
  if (open?.case.id === c.id) link.setAttribute("aria-current", "true");
  link.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    void openCase(c.id, true);
  });
  node.replaceChildren(link);
}

/** The timers that everybody sees: how long it has waited, and when the next person is called. */
function tick() {
  const now = wire.now();
  for (const node of list.querySelectorAll("[data-since]")) {
    const since = Number(node.getAttribute("data-since"));
    const due = Number(node.getAttribute("data-due"));
    const next = due ? (due > now ? t("console.due", { left: age(due - now) }) : t("console.overdue")) : "";
    const text = [clock(since, now), t("console.age", { age: age(now - since) }), next].filter(Boolean).join(" · ");
    if (node.textContent !== text) node.textContent = text;
    node.classList.toggle("ek-case__late", due > 0 && due <= now);
  }
}

/**
 * @param {string} id
 * @param {boolean} focus
 */
async function openCase(id, focus) {
  opening = id;
  try {
    const page = /** @type {CasePage} */ (await wire.send({ t: "open_case", case: id }));
    if (opening !== id) return;
    open = page;
    part("case-heading").textContent = page.case.subject.name;
    drawCase(body, page, { me, now: wire.now(), act: (asked) => void act(asked) });
    draw();
    if (focus) showPanel();
  } catch (why) {
    announcer.alert(why instanceof Refusal ? why.message : t("error.internal"));
  }
}

/** Go to the case that was opened: the page is scrolled only where the top of the case would be out of sight. */
function showPanel() {
  panel.focus({ preventScroll: true });
  const { top } = panel.getBoundingClientRect();
  if (top < 0 || top > innerHeight / 2) panel.scrollIntoView({ block: "start" });
}

/** @param {string} text */
function tell(text) {
  const line = body.querySelector(".ek-result");
  if (!line) return;
  line.textContent = text;
  // The forms are far below it.
  line.scrollIntoView({ block: "nearest" });
}

/** @param {Asked} asked */
async function act(asked) {
  if (!open) return;
  if (asked.act === "close" && !asked.outcome) return tell(t("console.choose_outcome"));
  if ((asked.act === "close" || asked.act === "reply") && !asked.body) return tell(t("console.choose_text"));
  const { id, version } = open.case;
  try {
    await wire.send({
      t: "act", case: id, version, act: asked.act, message: asked.message ?? null, outcome: asked.outcome ?? null, body: asked.body ?? "",
    });
    if (asked.act === "reply" || asked.act === "close") {
      for (const field of body.querySelectorAll(asked.act === "reply" ? "#case-reply" : "#case-note")) {
        if (field instanceof HTMLTextAreaElement) field.value = "";
      }
    }
    await openCase(id, false);
    tell(t("console.done"));
  } catch (why) {
    const conflict = why instanceof Refusal && (why.code === "case_changed" || why.code === "conflict");
    const text = conflict ? t("console.changed") : why instanceof Refusal ? why.message : t("error.internal");
    if (conflict) await openCase(id, false);
    tell(text);
  }
}

// --- the keyboard: single keys only where the reader has switched them on (WCAG 2.1.4) ---------------------------------

const keys = /** @type {HTMLInputElement} */ (part("keys"));
keys.checked = localStorage.getItem(KEYS) !== "off";
keys.addEventListener("change", () => localStorage.setItem(KEYS, keys.checked ? "on" : "off"));

/** @param {string} name */
function press(name) {
  const button = body.querySelector(`[data-act="${name}"]`);
  if (button instanceof HTMLElement) button.click();
}

document.addEventListener("keydown", (event) => {
  const at = event.target;
  if (!keys.checked || event.ctrlKey || event.metaKey || event.altKey) return;
  if (at instanceof HTMLElement && at.closest("input, textarea, select, [contenteditable]")) return;
  const links = /** @type {HTMLElement[]} */ (Array.from(list.querySelectorAll("a")));
  if (event.key === "j" || event.key === "k") {
    if (!links.length) return;
    const here = links.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    selected = here < 0 ? selected : Math.max(0, Math.min(links.length - 1, here + (event.key === "j" ? 1 : -1)));
    links[selected].focus();
  } else if (event.key === "c") press("claim");
  else if (event.key === "e") press("escalate");
  else if (event.key === "r") {
    const box = document.getElementById("case-reply");
    if (!box) return;
    event.preventDefault();
    box.focus();
  }
});

duty.start(tick);
