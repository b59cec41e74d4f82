// @ts-check
/**
 * The first ticket, asked for while the rest of the page's modules are still on their way: on a slow line that is half
 * a second less until one is connected. Loaded by itself, `async`; a page that it was too early for asks as ever.
 */

import { fetchTicket } from "./wire.js";

const csrf = () => document.body?.dataset.csrf ?? "";

/** @type {Promise<string | null> | null} */
let first = csrf() ? fetchTicket(csrf()).catch(() => null) : null;

/**
 * A ticket for the next connection. Each is given out once.
 * @returns {Promise<string>}
 */
export async function nextTicket() {
  const early = first;
  first = null;
  return (await early) ?? fetchTicket(csrf());
}
