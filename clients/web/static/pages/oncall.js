// @ts-check
/** The clinician on call: what rings, and the one button that answers it. Sound is a choice and has a visible twin. */

import { el, patch } from "../core/keyed.js";
import { levelTag } from "../core/message-row.js";
import { onDuty, part } from "../core/on-duty.js";
import * as store from "../core/store.js";
import { age, clock, t } from "../core/texts.js";
import { newClientId, Refusal } from "../core/wire.js";

/** @typedef {import("../core/frames.js").PageItem} PageItem */

const RING_MS = 2_000;

const sound = /** @type {HTMLInputElement} */ (part("sound"));

/** @type {AudioContext | null} */
let audio = null;
/** @type {Map<string, string>} what became of a press, by page */
const results = new Map();
/** @type {Map<string, PageItem>} calls that rang here and do no more: who took them is shown until the page is left */
const ended = new Map();

const duty = onDuty(({ pages }, event) => {
  const now = duty.items.pages;
  const item = event?.item;
  if (item?.kind === "page" && item.id in pages && !(item.id in now)) ended.set(item.id, item);
  draw();
  if (event && Object.keys(now).some((id) => !(id in pages))) {
    announcer.alert(t("oncall.ringing"));
    ring();
  }
});
const { announcer, wire } = duty;

function draw() {
  const calls = store.calls(duty.items);
  const over = [...ended.values()].filter((p) => !(p.id in duty.items.pages)).reverse();
  patch(part("pages"), [...calls, ...over], {
    key: (p) => p.id,
    stamp: (p) => JSON.stringify([p, about(p), results.get(p.id)]),
    fill: fillCall,
  });
  tick();
  const state = part("oncall-state");
  const loud = calls.length > 0;
  state.textContent = t(loud ? "oncall.ringing" : "oncall.quiet");
  state.dataset.ringing = loud ? "yes" : "no";
  document.title = loud ? `(${calls.length}) On call` : "On call";
}

/**
 * Whom the call is about and where they wrote, as far as this person's queue knows.
 * @param {PageItem} p
 */
function about(p) {
  const found = duty.items.cases[p.case];
  return found ? [found.subject.name, found.room_name].filter(Boolean).join(" · ") : "";
}

/**
 * @param {HTMLElement} node
 * @param {PageItem} p
 */
function fillCall(node, p) {
  const loud = (p.state ?? "ringing") === "ringing";
  node.className = `ek-page ek-page--${loud ? "ringing" : "quiet"}`;
  const asked = p.case === "";
  const head = el("p", { class: "ek-page__head" }, [
    ...(asked ? [] : [levelTag(p.level), document.createTextNode(" ")]),
    el("time", { text: clock(p.at, wire.now()), attrs: { datetime: new Date(p.at).toISOString() } }),
  ]);
  if (loud) head.append(" ", el("span", { class: "ek-page__waiting", attrs: { "data-since": String(p.at) } }));
  if (p.late) head.append(" ", el("strong", { class: "ek-page__late", text: t("oncall.late") }));
  const nodes = [head];
  const whom = about(p);
  if (whom) nodes.push(el("p", { class: "ek-page__about", text: whom }));
  const why = asked ? t("oncall.asked") : t("oncall.rung", { rung: t(`rung.${p.rung}`) });
  nodes.push(el("p", { class: "ek-page__rung", text: why }));
  const acts = el("div", { class: "ek-page__acts" });
  if (loud) {
    const button = el("button", { class: "nhsuk-button", text: t(asked ? "oncall.here" : "oncall.ack"), attrs: { type: "button" } });
    button.addEventListener("click", () => void (asked ? answer(p) : acknowledge(p)));
    acts.append(button);
  } else if (asked) {
    nodes.push(el("p", { text: t(p.owner ? "oncall.answered" : `state.${p.state}`) }));
  } else if (p.owner) {
    nodes.push(el("p", { text: t("oncall.taken", { name: p.owner.name }) }));
  } else {
    nodes.push(el("p", { text: t(`state.${p.state}`) }));
  }
  const result = results.get(p.id);
  if (result) nodes.push(el("p", { class: "ek-result", text: result, attrs: { role: "status" } }));
  const [text, href] = asked ? [t("oncall.rota"), "/staff/rota"] : [t("oncall.open"), `/staff/cases/${encodeURIComponent(p.case)}`];
  acts.append(el("a", { class: "ek-page__open", text, attrs: { href } }));
  node.replaceChildren(...nodes, acts);
}

/** How long each call has been ringing. */
function tick() {
  for (const node of part("pages").querySelectorAll("[data-since]")) {
    const text = t("oncall.waiting", { age: age(wire.now() - Number(node.getAttribute("data-since"))) });
    if (node.textContent !== text) node.textContent = text;
  }
}

/**
 * The question before a shift: this press begins it.
 * @param {PageItem} p
 */
async function answer(p) {
  const body = new URLSearchParams({ csrf: document.body.dataset.csrf ?? "", client_id: newClientId() });
  try {
    const said = await fetch(`/staff/rota/checks/${encodeURIComponent(p.id)}`, { method: "POST", body, redirect: "manual" });
    results.set(p.id, t(said.type === "opaqueredirect" ? "console.done" : "error.internal"));
  } catch {
    results.set(p.id, t("error.internal"));
  }
  draw();
}

/** @param {PageItem} p */
async function acknowledge(p) {
  try {
    await wire.send({ t: "act", case: p.case, version: p.case_version, act: "acknowledge", message: null, outcome: null, body: "" });
    results.set(p.id, t("console.done"));
  } catch (why) {
    results.set(p.id, why instanceof Refusal ? why.message : t("error.internal"));
  }
  draw();
}

/** Two short tones. Only after the person has switched sound on, which is also what lets a browser play it. */
function ring() {
  if (!audio || !sound.checked) return;
  for (const [index, hertz] of [660, 880].entries()) {
    const tone = audio.createOscillator();
    const level = audio.createGain();
    const from = audio.currentTime + index * 0.28;
    tone.frequency.value = hertz;
    level.gain.setValueAtTime(0.0001, from);
    level.gain.exponentialRampToValueAtTime(0.2, from + 0.03);
    level.gain.exponentialRampToValueAtTime(0.0001, from + 0.25);
    tone.connect(level).connect(audio.destination);
    tone.start(from);
    tone.stop(from + 0.26);
  }
}

sound.addEventListener("change", () => {
  if (sound.checked) audio ??= new AudioContext();
  part("sound-state").textContent = t(sound.checked ? "oncall.sound_on" : "oncall.sound_off");
  ring();
});
setInterval(() => {
  if (store.calls(duty.items).length) ring();
}, RING_MS);
duty.start(tick);
