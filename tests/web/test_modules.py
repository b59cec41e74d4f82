"""The browser's modules by their promises, run in a real browser: the reducer, the list, the composer, the wire."""

# The scripts for the browser keep one thought on a line.
# ruff: noqa: E501

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from playwright.async_api import Page

from server.protocol.frames import (
    AnyView,
    Attention,
    FoundSpan,
    Held,
    MessageItem,
    Person,
    Placed,
    Removed,
    Shown,
    Unreadable,
    Withheld,
)
from server.web import rows
from server.web.assets import Assets
from server.web.texts import Texts
from server.web.visit import STAFF_TEXTS, environment
from tests.properties.test_state_equals_events import RUNG, WHOLE, Step, played, shown_to
from tests.web.conftest import WEB, Site
from tests.web.corpus import CORPUS
from tests.web.modules import run


async def test_an_event_applied_twice_changes_nothing(page_of_nothing: Page) -> None:
    """Every event, replayed in full after itself, leaves the state as it was."""
    same = await run(
        page_of_nothing,
        """
        let s = store.applyJoined(store.emptyRoom('room:R'), joined(1, [{ seq: 1, item: shown(1, 'ann', 'a') }]));
        const events = [event(2, { kind: 'message', of: 2, change: 'new', view: { state: 'withheld' } }),
          event(3, shown(3, 'bob', 'b')), event(4, { ...shown(2, 'ann', 'now free'), change: 'release' }),
          event(5, { kind: 'message', of: 1, change: 'remove', view: { state: 'removed', by: 'author' } }),
          event(6, { kind: 'from_the_future', anything: 1 })];
        for (const e of events) s = store.applyEvent(s, e, 'me');
        const once = JSON.stringify(s);
        for (const e of events) s = store.applyEvent(s, e, 'me');
        return [once === JSON.stringify(s), s.seq, Object.keys(s.views).length];
        """,
    )
    assert same == [True, 6, 3]


@pytest.mark.parametrize("program", [WHOLE, RUNG, RUNG[:-1]], ids=["whole", "closed", "opened again"])
async def test_the_browser_holds_what_a_fresh_snapshot_has(page_of_nothing: Page, program: list[Step]) -> None:
    """Of the service's own events, for author, member, moderator and clinician: first snapshot + events == last one."""
    async with played(program) as course:
        await course.all_told()
        given = [
            {
                "me": reader.who.account,
                "feed": "inbox" if reader.feed.startswith("inbox:") else reader.feed,
                "first": msgspec.to_builtins(reader.snapshots[0]),
                "last": msgspec.to_builtins(reader.snapshots[-1]),
                "events": [
                    msgspec.to_builtins(shown_to(event, reader.audience, reader.who))
                    for event in course.scene.heard
                    if event.feed == reader.feed and event.seq > reader.snapshots[0].seq
                ],
            }
            for reader in course.readers
        ]
    seen = await run(
        page_of_nothing,
        """
        const held = (s) => s.views ? s.views : [store.queue(s), s.handling, s.rooms, store.calls(s)];
        return given.map(({ me, feed, first, last, events }) => {
          const isRoom = feed.startsWith('room:'), empty = isRoom ? store.emptyRoom(feed) : store.emptyItems();
          const join = (joined) => isRoom ? store.applyJoined(empty, joined) : store.itemsJoined(empty, { ...joined, feed });
          const end = events.reduce((s, e) => isRoom ? store.applyEvent(s, e, me) : store.itemsEvent(s, { ...e, feed }), join(first));
          return [feed, events.length, JSON.stringify(held(end)), JSON.stringify(held(join(last)))];
        });
        """,
        given,
    )
    assert len(seen) == len(given) == 13
    assert {feed for feed, events, _, _ in seen if events} >= {"inbox", "staff:moderation"}
    for feed, _, live, fresh in seen:
        assert json.loads(live) == json.loads(fresh), feed


async def test_snapshot_and_events_equal_a_fresh_snapshot(page_of_nothing: Page) -> None:
    """From every earlier position, catching up by events gives the same rows as a snapshot taken now."""
    same = await run(
        page_of_nothing,
        """
        const log = [shown(1, 'ann', 'a'), { kind: 'message', of: 2, change: 'new', view: { state: 'withheld' } },
          shown(3, 'bob', 'b'), { ...shown(2, 'ann', 'free'), change: 'release' },
          { ...shown(3, 'bob', 'b2', { edited: true }), change: 'edit' },
          { kind: 'message', of: 1, change: 'remove', view: { state: 'removed', by: 'moderator' } }];
        const snapshot = (n) => {
          const at = new Map();
          for (const item of log.slice(0, n)) at.set(item.of, item);
          return joined(n, [...at].sort((a, b) => a[0] - b[0]).map(([seq, item]) => ({ seq, item: { ...item, change: 'new' } })));
        };
        const draw = (s) => JSON.stringify(store.rows(s, 'me').map((r) => [r.key, r.view]));
        const fresh = draw(store.applyJoined(store.emptyRoom('room:R'), snapshot(log.length)));
        const out = [];
        for (let n = 0; n <= log.length; n += 1) {
          let s = store.applyJoined(store.emptyRoom('room:R'), snapshot(n));
          log.slice(n).forEach((item, i) => { s = store.applyEvent(s, event(n + i + 1, item), 'me'); });
          out.push(draw(s) === fresh);
        }
        return out;
        """,
    )
    assert same == [True] * 7


@pytest.mark.parametrize("first", ["ack", "event"])
async def test_one_s_own_message_is_one_row_from_first_to_last(page_of_nothing: Page, first: str) -> None:
    """Whichever comes first, acknowledgement or event, there is one row with one key, and its state is the server's."""
    seen = await run(
        page_of_nothing,
        """
        const states = [];
        const look = (s) => states.push(store.rows(s, 'me').map((r) => [r.key, r.kind === 'pending' ? r.pending.state : r.view.state]));
        let s = store.applyJoined(store.emptyRoom('room:R'), joined(0, []));
        s = store.addPending(s, { client_id: 'c-1', body: 'x', at: 1 }); look(s);
        const ack = (s) => store.ackPending(s, { t: 'ack', re: 'c-1', feed: 'room:R', epoch: 1, seq: 1, message: 'M1', at: 2, state: 'held' });
        const held = { kind: 'message', of: 1, change: 'new', view: { state: 'held', id: 'M1', author: { id: 'me', name: 'Me' }, body: 'x', at: 2, reason: 'safety', client_id: 'c-1' } };
        const steps = [ack, (s) => store.applyEvent(s, event(1, held), 'me')];
        if (given === 'event') steps.reverse();
        for (const step of steps) { s = step(s); look(s); }
        return states;
        """,
        first,
    )
    assert [[key for key, _ in rows] for rows in seen] == [["c:c-1"]] * 3
    assert [rows[0][1] for rows in seen] == ["sending", "held", "held"]


async def test_the_divider_stands_before_the_first_unread_of_others(page_of_nothing: Page) -> None:
    """One divider, after what was read; one's own and withheld messages are not counted."""
    seen = await run(
        page_of_nothing,
        """
        const items = [shown(1, 'ann', 'a'), shown(2, 'me', 'mine'), { kind: 'message', of: 3, change: 'new', view: { state: 'withheld' } },
          shown(4, 'bob', 'b'), shown(5, 'ann', 'c')].map((item) => ({ seq: item.of, item }));
        let s = store.applyJoined(store.emptyRoom('room:R'), joined(5, items, { read: 1 }));
        const before = [store.rows(s, 'me').map((r) => r.key), store.unread(s, 'me')];
        s = store.applyEvent(s, event(6, { ...shown(3, 'cat', 'late'), change: 'release' }), 'me');
        return [before, store.unread(s, 'me')];
        """,
    )
    assert seen == [[["m:1", "m:2", "m:3", "divider", "m:4", "m:5"], 2], 3]


async def test_losing_access_empties_the_room(page_of_nothing: Page) -> None:
    """After one's own access ends nothing of the room stays; somebody else's changes nothing."""
    seen = await run(
        page_of_nothing,
        """
        let s = store.applyJoined(store.emptyRoom('room:R'), joined(1, [{ seq: 1, item: shown(1, 'ann', 'a') }]));
        s = store.applyEvent(s, event(2, { kind: 'access', account: 'bob' }), 'me');
        const kept = Object.keys(s.views).length;
        s = store.applyEvent(s, event(3, { kind: 'access', account: 'me' }), 'me');
        return [kept, Object.keys(s.views).length, s.gone];
        """,
    )
    assert seen == [1, 0, True]


async def test_the_queue_is_urgent_first_then_oldest_and_never_goes_back(page_of_nothing: Page) -> None:
    """Cases stand by level and age; an older version of a case never replaces a newer one, and a closed one goes."""
    seen = await run(
        page_of_nothing,
        """
        const item = (id, level, raised_at, version = 1, state = 'open') =>
          ({ kind: 'case', id, level, raised_at, version, state, subject: { id: 'x', name: 'X' }, opened_at: 1, side: 'community', origin: 'message' });
        const on = (s, seq, item) => store.itemsEvent(s, { t: 'event', feed: 'staff:moderation', epoch: 1, seq, item });
        let s = store.itemsJoined(store.emptyItems(), { t: 'joined', feed: 'staff:moderation', epoch: 1, seq: 0, recovered: false,
          items: [item('a', 1, 10), item('b', 3, 30), item('c', 3, 20)].map((i) => ({ seq: 0, item: i })) });
        const first = store.queue(s).map((c) => c.id);
        s = on(s, 1, item('a', 2, 10, 5)); s = on(s, 2, item('a', 1, 10, 4)); s = on(s, 3, item('c', 3, 20, 2, 'closed'));
        return [first, store.queue(s).map((c) => [c.id, c.version])];
        """,
    )
    assert seen == [["c", "b", "a"], [["b", 1], ["a", 5]]]


async def test_rows_are_kept_while_their_key_stays(page_of_nothing: Page) -> None:
    """Patching moves and fills; the element that had the focus is the same element afterwards."""
    seen = await run(
        page_of_nothing,
        """
        const list = document.createElement('ol'); document.body.append(list);
        const how = { key: (r) => r.k, stamp: (r) => r.t, fill: (n, r) => n.replaceChildren(keyed.el('a', { text: r.t, attrs: { href: '#' } })) };
        keyed.patch(list, [{ k: '1', t: 'a' }, { k: '2', t: 'b' }], how);
        const second = list.children[1]; second.firstChild.focus();
        const { added } = keyed.patch(list, [{ k: '0', t: 'z' }, { k: '1', t: 'A' }, { k: '2', t: 'b' }, { k: '3', t: 'c' }], how);
        keyed.patch(list, [{ k: '2', t: 'b' }, { k: '0', t: 'z' }], how);
        const moved = document.activeElement === second.firstChild;
        keyed.patch(list, [{ k: '0', t: 'z' }, { k: '2', t: 'B' }], how);
        return [added, list.children[1] === second, moved, document.activeElement === second.firstChild, list.textContent];
        """,
    )
    assert seen == [["0", "3"], True, True, True, "zB"]


async def test_hostile_text_makes_no_element(page_of_nothing: Page) -> None:
    """Every string of the corpus, as body, name and finding, is drawn as that text and runs nothing."""
    seen = await run(
        page_of_nothing,
        """
        const list = document.createElement('ol'); document.body.append(list);
        const out = [];
        for (const text of given) {
          const node = document.createElement('li'); list.append(node);
          const attention = { level: 3, findings: [{ category: text, level: 3, start: 1, end: 3, reason: text }] };
          m.message_row.fillMessage(node, { state: 'held', id: text, author: { id: 'x', name: text }, body: text, at: 1, reason: text, attention },
            { me: 'me', now: 2, link: (id) => `/rooms/R/messages/${encodeURIComponent(id)}` });
          const strange = node.querySelectorAll('*:not(p):not(span):not(time):not(ul):not(li):not(a):not(mark)').length;
          const events = [...node.querySelectorAll('*')].some((e) => e.getAttributeNames().some((n) => n.startsWith('on')));
          out.push(node.querySelector('.ek-row__body').textContent === text && node.querySelector('.ek-row__name').textContent === text && !strange && !events);
        }
        await new Promise((done) => requestAnimationFrame(done));
        return [out.every(Boolean), out.length, window.__ran === undefined];
        """,
        list(CORPUS),
    )
    assert seen == [True, len(CORPUS), True]


DAY = 86_400_000
AT = 1_787_898_600_000
ANN, SAM = Person("ann", "Quiet Otter"), Person("sam", "Sam", "moderator")
FOUND = (
    FoundSpan("S", 3, 0, 9, "said outright"),
    FoundSpan("H", 2, 4, 14, "nearby <words>"),
    FoundSpan("", 1, 20, 22, "?"),
)
BODY = "\U0001f9d1\u200d\U0001f91d one two\n  three <b>four</b> & five"


def every_state() -> dict[str, AnyView]:
    """A message in every state in which somebody can be shown it."""
    plain: dict[str, Any] = {"id": "m1", "author": ANN, "body": BODY, "at": AT}
    edited = {"edited": True, "edited_at": AT + 60_000}
    noticed = Attention(3, FOUND, case="c1")
    return {
        "published": Shown(**plain),
        "one's own": Shown(**plain, client_id="test-00001"),
        "by staff": Shown(**plain | {"author": SAM}),
        "edited": Shown(**plain, **edited),
        "edited, time unknown": Shown(**plain, edited=True),
        "flagged": Shown(**plain, attention=noticed),
        "flagged and edited": Shown(**plain, **edited, attention=noticed),
        "not wholly checked": Shown(**plain, attention=Attention(2, complete=False)),
        "flagged, not wholly checked": Shown(**plain, attention=Attention(3, FOUND, complete=False)),
        "of the case, clean now": Shown(**plain, **edited, attention=Attention(3, case="c1")),
        "of the case, never flagged": Shown(**plain, attention=Attention(0, case="c1")),
        "held, for its author": Held(**plain, reason="safety", client_id="test-00001"),
        "held, for an unknown reason": Held(**plain, **edited, reason="unheard_of", client_id="test-00001"),
        "held, for staff": Held(**plain, reason="safety", attention=noticed),
        "held, unchecked, for staff": Held(**plain, reason="unchecked", attention=Attention(0, complete=False)),
        "withheld": Withheld(),
        "removed by its author": Removed(by="author"),
        "removed by a moderator": Removed(by="moderator"),
        "unreadable": Unreadable(),
    }


@pytest.mark.parametrize("me", ["ann", "other"])
async def test_a_message_looks_the_same_from_the_template_and_from_the_module(
    page_of_nothing: Page, site: Site, me: str
) -> None:
    """Every state of a message, drawn by the server and by the browser, is the same tree: elements, attributes, text."""
    texts = Texts.load(WEB / "texts.toml")
    views = every_state()
    items = [Placed(n, MessageItem(of=n, change="new", view=view)) for n, view in enumerate(views.values(), 1)]
    drawn = environment(site.settings, Assets.load(WEB / "built"), texts).from_string(
        '{% from "parts.jinja" import row %}{% for r in rows %}{{ row(r, t, "R") }}{% endfor %}'
    )
    given = {
        "html": drawn.render(rows=rows.rows(items, me, texts)),
        "views": [msgspec.to_builtins(view) for view in views.values()],
        "texts": texts.sections(*STAFF_TEXTS),
        "me": me,
        "now": AT + 2 * DAY,
    }
    seen = await run(
        page_of_nothing,
        """
        const texts = document.createElement('script'); texts.type = 'application/json'; texts.id = 'texts';
        texts.textContent = JSON.stringify(given.texts); document.body.append(texts);
        const tree = (node) => {
          const exact = node.classList.contains('ek-row__body'), flow = ['LI', 'UL'].includes(node.tagName) && !node.closest('.ek-findings li');
          const parts = [];
          node.normalize();
          for (const child of node.childNodes) {
            if (child.nodeType === Node.ELEMENT_NODE) parts.push(tree(child));
            else if (exact || child.data.trim()) parts.push(exact || node.closest('.ek-row__body') ? child.data : child.data.replace(/\\s+/g, ' '));
            else if (!flow) parts.push(' ');
          }
          if (!exact) for (const [at, trim] of [[0, 'trimStart'], [parts.length - 1, 'trimEnd']]) if (typeof parts[at] === 'string') parts[at] = parts[at][trim]();
          const attributes = node.getAttributeNames().filter((name) => name !== 'data-key').sort()
            .map((name) => [name, name === 'class' ? [...node.classList].sort().join(' ') : node.getAttribute(name)]);
          return [node.tagName, attributes, parts.filter((part) => part !== '')];
        };
        const list = document.createElement('ol'); document.body.append(list); list.innerHTML = given.html;
        const served = [...list.children];
        return given.views.map((view, i) => {
          const node = document.createElement('li');
          m.message_row.fillMessage(node, view, { me: given.me, now: given.now, link: (id) => `/rooms/R/messages/${id}?at=${i + 1}` });
          return [JSON.stringify(tree(served[i])), JSON.stringify(tree(node)), node.textContent];
        });
        """,
        given,
    )
    assert len(seen) == len(views)
    for name, (from_template, from_module, _) in zip(views, seen, strict=True):
        assert json.loads(from_template) == json.loads(from_module), name
    shown = dict(zip(views, (text for _, _, text in seen), strict=True))
    assert "Urgent Suicidal thoughts: said outright" in shown["held, for staff"]
    assert "edited 28 Aug, 07:31" in shown["edited"]


async def test_only_stored_facts_are_said(page_of_nothing: Page) -> None:
    """States are told with name and role, in order; one that this build does not know is passed over."""
    lines = await run(
        page_of_nothing,
        """
        const texts = document.createElement('script'); texts.type = 'application/json'; texts.id = 'texts';
        texts.textContent = JSON.stringify({ role: { moderator: 'Moderator' }, handling: { sent_to_team: 'Sent.', not_opened: 'Nobody has opened it yet.', next_called: 'Next called.',
          opened: '{name}, {role}, has opened it.', someone: 'Somebody', closed: 'Done.' } });
        document.body.append(texts);
        const by = { id: 's', name: 'Sam', role: 'moderator' };
        const item = (...states) => ({ kind: 'handling', id: 'c', care: 'urgent', states });
        const say = (...states) => support.handlingLines(item(...states)).map((l) => l.text);
        return [say({ state: 'sent_to_team', at: 1 }), say({ state: 'sent_to_team', at: 1 }, { state: 'opened', at: 2, by }, { state: 'unheard_of', at: 3 }),
          say({ state: 'sent_to_team', at: 1 }, { state: 'next_called', at: 2 }),
          say({ state: 'sent_to_team', at: 1 }, { state: 'opened', at: 2, by }, { state: 'next_called', at: 3 })];
        """,
    )
    assert lines == [
        ["Sent. Nobody has opened it yet."],
        ["Sent.", "Sam, moderator, has opened it."],
        ["Sent.", "Next called. Nobody has opened it yet."],
        ["Sent.", "Sam, moderator, has opened it.", "Next called."],
    ]


async def test_enter_sends_and_shift_enter_does_not(page_of_nothing: Page) -> None:
    """Enter sends what was written and empties box and draft; Shift+Enter writes a line; characters are code points."""
    await run(
        page_of_nothing,
        """
        document.body.replaceChildren();
        const form = document.createElement('form'), box = document.createElement('textarea'), count = document.createElement('p');
        form.append(box, count); document.body.append(form); window.sent = [];
        composer.composer({ feed: 'room:R', form, box, count, limit: () => 12, onSend: (t) => sent.push(t) });
        box.focus();
        """,
    )
    page = page_of_nothing
    await page.keyboard.type("one")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("two")
    assert await page.evaluate("sessionStorage.getItem('evenkeel.draft.room:R')") == "one\ntwo"
    await page.keyboard.press("Enter")
    assert await page.evaluate("[sent, document.querySelector('textarea').value, sessionStorage.length]") == [
        ["one\ntwo"],
        "",
        0,
    ]
    await page.keyboard.type("\U0001f331" * 13)
    await page.keyboard.press("Enter")
    assert await page.evaluate("sent.length") == 1
    await page.keyboard.press("Backspace")
    await page.keyboard.press("Enter")
    assert await page.evaluate("sent.length") == 2


async def test_a_time_of_another_day_says_which_day(page_of_nothing: Page) -> None:
    """Today's times are bare; last night's carry their day, by the calendar of London rather than by hours gone."""
    morning = 1_787_898_600_000  # 28 August 2026, 07:30 in London
    said = await run(
        page_of_nothing,
        "return given.map((at) => m.texts.clock(at, given[0]))",
        [morning, morning - 7 * 3_600_000, morning - 8 * 3_600_000],
    )
    assert said == ["07:30", "00:30", "27 Aug, 23:30"]
