// @ts-check
/** On every page: the way out, and the design system's own behaviours on the pages that have any. */

import { quickExit } from "../core/quick-exit.js";

document.body.classList.add("js-enabled");
if ("noModule" in HTMLScriptElement.prototype) document.body.classList.add("nhsuk-frontend-supported");
quickExit();
// The skip link is a link, and works as one: for it alone a phone need not fetch the script.
if (document.querySelector("[data-module]:not(.nhsuk-skip-link)")) {
  try {
    const { initAll } = await import("../vendor/nhsuk-frontend.min.js");
    initAll();
  } catch {
    // Every page works without it.
  }
}

export {};
