// @ts-check
/** What the pages of people on duty share: whose page it is, its connection, and what the feeds that it follows hold. */

import { Announcer } from "./announcer.js";
import { connectionBanner } from "./connection-banner.js";
import * as store from "./store.js";
import { fetchTicket, Wire } from "./wire.js";

/** @typedef {import("./frames.js").FeedEvent} FeedEvent */
/** @typedef {import("./store.js").ItemsState} ItemsState */

/** @param {string} name */
export const part = (name) => /** @type {HTMLElement} */ (document.querySelector(`[data-${name}]`));

const main = /** @type {HTMLElement} */ (document.getElementById("maincontent"));
export const me = main.dataset.me ?? "";
/** The queue that names what a call is about; "" where this role or page has none. */
const queue = main.dataset.queue ?? "";
const feeds = [...(main.dataset.feeds ?? "").split(" "), queue].filter(Boolean);

/**
 * Follow the page's feeds. `changed` is called after each snapshot (without an event) and after each event.
 * @param {(before: ItemsState, event: FeedEvent | null) => void} changed
 */
export function onDuty(changed) {
  const announcer = new Announcer();
  const duty = { announcer, items: store.emptyItems(), start };
  const wire = new Wire({
    ticket: () => fetchTicket(document.body.dataset.csrf ?? ""),
    client: "evenkeel-web/1",
    features: ["console"],
    onState: connectionBanner(part("connection"), (text) => announcer.alert(text)),
    onJoined: (joined) => {
      const before = duty.items;
      duty.items = store.itemsJoined(before, joined);
      changed(before, null);
    },
    onEvent: (event) => {
      const before = duty.items;
      duty.items = store.itemsEvent(before, event);
      changed(before, event);
    },
  });

  /** @param {() => void} tick once a second */
  function start(tick) {
    setInterval(tick, 1_000);
    for (const feed of feeds) wire.join(feed);
    wire.start();
  }

  return Object.assign(duty, { wire });
}
