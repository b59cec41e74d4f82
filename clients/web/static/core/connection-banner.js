// @ts-check
/** Says in words whether this page is connected. Silent while all is well. */

import { el } from "./keyed.js";
import { t } from "./texts.js";

/** @typedef {import("./wire.js").WireState} WireState */

/** A short break is not worth a warning; a longer one is said well before ten seconds have passed. */
const WARN_AFTER_MS = 1_000;
const BACK_MS = 3_000;

/**
 * @param {HTMLElement} banner
 * @param {(text: string) => void} alert
 * @returns {(state: WireState) => void}
 */
export function connectionBanner(banner, alert) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let warned = false;
  const show = (/** @type {string} */ text, /** @type {string} */ state, /** @type {boolean} */ signIn = false) => {
    banner.replaceChildren(el("span", { text }));
    if (signIn) banner.append(" ", el("a", { text: "Sign in", attrs: { href: "/sign-in" } }));
    banner.dataset.state = state;
    banner.hidden = false;
  };
  return (state) => {
    clearTimeout(timer);
    banner.dataset.wire = state;
    if (state === "live") {
      if (!warned) {
        banner.hidden = true;
        return;
      }
      warned = false;
      show(t("connection.back"), "live");
      timer = setTimeout(() => {
        banner.hidden = true;
      }, BACK_MS);
      return;
    }
    if (state === "connecting") return;
    const text = state === "lost" ? t(navigator.onLine ? "connection.lost" : "connection.offline") : t(`connection.${state}`);
    timer = setTimeout(() => {
      if (!warned) alert(text);
      warned = true;
      show(text, state, state === "signed_out");
    }, state === "lost" ? WARN_AFTER_MS : 0);
  };
}
