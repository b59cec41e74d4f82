// @ts-check
/** On every page: the way out, and the design system's own behaviours where its script is there. */

import { quickExit } from "../core/quick-exit.js";

document.body.classList.add("js-enabled");
if ("noModule" in HTMLScriptElement.prototype) document.body.classList.add("nhsuk-frontend-supported");
quickExit();
try {
  const { initAll } = await import("../vendor/nhsuk-frontend.min.js");
  initAll();
} catch {
  // Every page works without it.
}

export {};
