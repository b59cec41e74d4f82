"""Statements run in a real browser with the page's modules in scope."""

# The scripts for the browser keep one thought on a line.
# ruff: noqa: E501

from __future__ import annotations

from typing import Any

from playwright.async_api import Page

LOAD = """
window.load = async () => {
  const base = document.querySelector('script[src*="/pages/every.js"]').src.replace('/pages/every.js', '');
  const names = ['store', 'keyed', 'composer', 'wire', 'support', 'message-row', 'announcer', 'texts'];
  const all = await Promise.all(names.map((name) => import(`${base}/core/${name}.js`)));
  return Object.fromEntries(names.map((name, i) => [name.replaceAll('-', '_'), all[i]]));
};
window.shown = (of, name, body, more = {}) => ({ kind: 'message', of, change: 'new',
  view: { state: 'shown', id: `M${of}`, author: { id: name, name }, body, at: of, ...more } });
window.event = (seq, item) => ({ t: 'event', feed: 'room:R', epoch: 1, seq, item });
window.joined = (seq, items, more = {}) => ({ t: 'joined', feed: 'room:R', epoch: 1, seq, recovered: false, items, ...more });
"""


async def run(page: Page, body: str, given: object = None) -> Any:
    """Run statements with the modules in scope, and return what they return."""
    await page.evaluate(LOAD)
    return await page.evaluate(
        "async (given) => { const m = await load(); const { store, keyed, composer, wire, support } = m; "
        + body
        + " }",
        given,
    )
