// @ts-check
/** Ticks the list of what to watch from what the server has stored. */

import { t } from "../core/texts.js";

const EVERY_MS = 2_000;

async function look() {
  if (document.visibilityState === "visible") {
    try {
      const answer = await fetch("/demo/progress", { cache: "no-store" });
      /** @type {{seen: string[]}} */
      const { seen } = await answer.json();
      for (const line of document.querySelectorAll("[data-step]")) {
        const there = seen.includes(line.getAttribute("data-step") ?? "");
        line.classList.toggle("ek-watch__step--seen", there);
        const state = line.querySelector("[data-step-state]");
        const text = t(there ? "demo.seen" : "demo.not_seen");
        if (state && state.textContent !== text) state.textContent = text;
      }
    } catch {
      // The list stands as it is until the server answers again.
    }
  }
  setTimeout(look, EVERY_MS);
}

void look();

export {};
