// @ts-check
/**
 * The way out: forget what this tab kept and put a neutral page in the place of this one, so that "back" does not lead
 * here. Without this module the same control is an ordinary link to the same page.
 */

import { forgetAll } from "./composer.js";

/**
 * @param {(url: string) => void} [go]
 */
export function quickExit(go = (url) => location.replace(url)) {
  for (const link of document.querySelectorAll("a[data-quick-exit]")) {
    if (!(link instanceof HTMLAnchorElement)) continue;
    link.addEventListener("click", (event) => {
      event.preventDefault();
      forgetAll();
      document.title = " ";
      document.body.hidden = true;
      go(link.href);
    });
  }
  for (const form of document.querySelectorAll("form[data-sign-out]")) form.addEventListener("submit", () => forgetAll());
}
