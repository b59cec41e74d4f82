"""The browser's connection by its promises, run in a real browser: when it comes back, and what it sends again."""

# The scripts for the browser keep one thought on a line.
# ruff: noqa: E501

from __future__ import annotations

import pytest
from playwright.async_api import Page

from server.protocol.codes import CLOSES, close_advice
from tests.web.modules import run


@pytest.mark.parametrize(("lasted_ms", "away_at_least", "away_below"), [(31_000, 0, 250), (0, 350, 700)])
async def test_a_page_that_is_sent_away_goes_on_until_its_moment(
    page_of_nothing: Page, lasted_ms: int, away_at_least: int, away_below: int
) -> None:
    """`drain` gives a moment: until then the socket stays open. Then another is made, at once where this one has lasted:
    a server that is always about to restart must not be asked again and again without a pause."""
    seen = await run(
        page_of_nothing,
        """
        const made = [];
        class Line {
          static OPEN = 1;
          constructor() { this.readyState = 0; this.closedWith = null; this.at = performance.now(); made.push(this); }
          send() {}
          close(code) { this.closedWith ??= code ?? 0; this.closedAt ??= performance.now(); }
        }
        const real = [window.WebSocket, Date.now, Math.random];
        window.WebSocket = Line;
        Math.random = () => 0.99;
        try {
          const w = new wire.Wire({ ticket: async () => 't', client: 'test', url: 'ws://nowhere' });
          w.codec = null;
          w.start();
          const until = async (so) => { while (!so()) await new Promise((done) => setTimeout(done, 5)); };
          const says = (reply) => made[0].onmessage({ data: JSON.stringify(reply) });
          await until(() => made.length === 1);
          made[0].onopen();
          says({ t: 'welcome', limits: { beat_ms: 15000 }, now: Date.now() });
          const later = given;
          Date.now = () => real[1]() + later;
          const told = performance.now();
          says({ t: 'drain', after_ms: 300 });
          const before = made[0].closedWith;
          await until(() => made.length === 2);
          w.stop();
          return { before, code: made[0].closedWith, after: made[0].closedAt - told, away: made[1].at - made[0].closedAt };
        } finally { [window.WebSocket, Date.now, Math.random] = real; }
        """,
        lasted_ms,
    )
    assert seen["before"] is None
    assert seen["code"] == 1000
    assert seen["after"] >= 295
    assert away_at_least <= seen["away"] < away_below


async def test_the_waits_grow_until_a_connection_has_lasted(page_of_nothing: Page) -> None:
    """A server that greets and then closes is in trouble: waits grow as if it had not greeted, until one greeted
    connection lasts for 30 s."""
    seen = await run(
        page_of_nothing,
        """
        const made = [];
        class Line {
          static OPEN = 1;
          constructor() { this.readyState = 0; this.at = performance.now(); made.push(this); }
          send() {}
          close() {}
        }
        const real = [window.WebSocket, Date.now, Math.random];
        window.WebSocket = Line;
        Math.random = () => 0.99;
        let later = 0;
        Date.now = () => real[1]() + later;
        try {
          const w = new wire.Wire({ ticket: async () => 't', client: 'test', url: 'ws://nowhere' });
          w.codec = null;
          w.start();
          const until = async (so) => { while (!so()) await new Promise((done) => setTimeout(done, 5)); };
          const waits = [];
          for (const lasts of [0, 0, 31000]) {
            const n = made.length + (made.length === 0 ? 1 : 0);
            await until(() => made.length === n);
            const line = made[n - 1];
            line.onopen();
            line.onmessage({ data: JSON.stringify({ t: 'welcome', limits: { beat_ms: 15000 }, now: Date.now() }) });
            later += lasts;
            const closed = performance.now();
            line.onclose({ code: 1006 });
            await until(() => made.length === n + 1);
            waits.push(made[n].at - closed);
          }
          w.stop();
          return waits;
        } finally { [window.WebSocket, Date.now, Math.random] = real; }
        """,
    )
    first, second, third = seen
    assert 350 <= first < 700
    assert 750 <= second < 1_200
    assert 350 <= third < 700


async def test_close_codes_say_whether_to_come_back(page_of_nothing: Page) -> None:
    """The browser's table is the contract's: for every close code the same answer, also for one that neither knows."""
    codes = [*(int(code) for code in CLOSES), 1014, 4100, 4490, 4500]
    seen = await run(page_of_nothing, "return given.map((c) => wire.advice(c));", codes)
    for code, told in zip(codes, seen, strict=True):
        advice = close_advice(code)
        assert (told["again"], told["floor"], told.get("signIn", False)) == (
            advice.reconnect,
            advice.min_delay_ms,
            advice.sign_in,
        ), code


async def test_waiting_grows_with_each_failure_and_is_never_the_same_for_all(page_of_nothing: Page) -> None:
    """Full jitter: from nothing to a ceiling that doubles and stops at twenty seconds."""
    seen = await run(
        page_of_nothing, "return [0, 1, 5, 6, 50].map((n) => [wire.delayFor(n, 0), wire.delayFor(n, 0.999)]);"
    )
    assert [low for low, _ in seen] == [0] * 5
    assert [high for _, high in seen] == [399, 799, 12787, 19980, 19980]


SERVER = """
window.server = () => {
  const made = { sockets: [], said: [] };
  window.WebSocket = class {
    static OPEN = 1;
    constructor(url, protocols) {
      this.readyState = 0; this.protocol = 'evenkeel.v1.json'; this.offered = protocols; made.sockets.push(this);
      setTimeout(() => { this.readyState = 1; this.onopen?.(); }, 0);
    }
    send(text) { const f = JSON.parse(text); made.said.push(f); made.answer?.(f, (r) => this.onmessage?.({ data: JSON.stringify(r) })); }
    close(code = 1000) { this.drop(code); }
    drop(code) { if (this.readyState === 3) return; this.readyState = 3; this.onclose?.({ code }); }
  };
  made.welcome = (f) => ({ t: 'welcome', re: f.client_id, server: 's', minor: 0, you: { id: 'me', name: 'Me' }, features: [], now: Date.now(),
    limits: { frame_bytes: 1, body_chars: 4000, feeds: 64, page: 50, beat_ms: 15000 } });
  made.until = async (test) => { while (!test()) await new Promise((done) => setTimeout(done, 5)); };
  return made;
};
"""


async def test_a_gap_is_read_from_the_log_before_anything_further_is_shown(page_of_nothing: Page) -> None:
    """After a missing event the wire joins again from where it stands, and hands on each event once and in order."""
    await page_of_nothing.evaluate(SERVER)
    seen = await run(
        page_of_nothing,
        """
        const s = server(), got = [];
        s.answer = (f, reply) => {
          if (f.t === 'hello') reply(s.welcome(f));
          if (f.t !== 'join') return;
          if (!f.after) {
            reply({ ...joined(1, []), re: f.client_id });
            for (const n of [2, 2, 4, 5]) reply(event(n, shown(n, 'a', 'x')));
          } else {
            reply({ ...joined(5, [], { recovered: true }), re: f.client_id });
            for (const n of [3, 4, 5]) reply(event(n, shown(n, 'a', 'x')));
          }
        };
        const w = new wire.Wire({ url: 'ws://x', ticket: async () => 'T', client: 'test', onEvent: (e) => got.push(e.seq) });
        w.join('room:R'); w.start();
        await s.until(() => got.length >= 4);
        const joins = s.said.filter((f) => f.t === 'join').map((f) => f.after);
        w.stop();
        return [got, joins, s.said[0].ticket];
        """,
    )
    assert seen == [[2, 3, 4, 5], [None, {"epoch": 1, "seq": 2}], "T"]


async def test_what_was_not_answered_is_sent_again_with_the_same_id(page_of_nothing: Page) -> None:
    """A connection lost before the answer: resumed from the last position, the same command in the same order, one answer."""
    await page_of_nothing.evaluate(SERVER)
    seen = await run(
        page_of_nothing,
        """
        const s = server(); let answering = false;
        s.answer = (f, reply) => {
          if (f.t === 'hello') { reply(s.welcome(f)); for (const at of f.resume) reply({ ...joined(at.seq, [], { recovered: true }) }); }
          if (f.t === 'join') reply({ ...joined(7, []), re: f.client_id });
          if (f.t === 'send' && answering) reply({ t: 'ack', re: f.client_id, feed: f.feed, epoch: 1, seq: 8, message: 'M', at: 1, state: 'published' });
        };
        const w = new wire.Wire({ url: 'ws://x', ticket: async () => 'T', client: 'test' });
        w.join('room:R'); w.start();
        await s.until(() => w.at.get('room:R'));
        const answers = Promise.all(['one', 'two'].map((body) => w.send({ t: 'send', feed: 'room:R', body })));
        answering = true; s.sockets[0].drop(1006);
        const acks = await answers;
        const sent = s.said.filter((f) => f.t === 'send');
        const hello = s.said.filter((f) => f.t === 'hello')[1];
        w.stop();
        return [sent.map((f) => f.body), sent[0].client_id === sent[2].client_id, acks[1].re === sent[1].client_id, hello.resume];
        """,
    )
    assert seen == [["one", "two", "one", "two"], True, True, [{"feed": "room:R", "epoch": 1, "seq": 7}]]


async def test_a_refusal_reaches_whoever_asked_and_an_ended_session_is_not_tried_again(page_of_nothing: Page) -> None:
    """A command refused for good rejects with the server's words; after "session ended" nothing connects again."""
    await page_of_nothing.evaluate(SERVER)
    seen = await run(
        page_of_nothing,
        """
        const s = server(), states = [];
        s.answer = (f, reply) => {
          if (f.t === 'hello') reply(s.welcome(f));
          if (f.t === 'send') reply({ t: 'error', code: 'refused', message: 'Not here.', retry: 'never', request_id: 'R', re: f.client_id });
        };
        const w = new wire.Wire({ url: 'ws://x', ticket: async () => 'T', client: 'test', onState: (x) => states.push(x) });
        w.start();
        await s.until(() => w.state === 'live');
        const why = await w.send({ t: 'send', feed: 'room:R', body: 'x' }).catch((e) => [e.code, e.message]);
        s.sockets[0].drop(4401);
        dispatchEvent(new Event('online'));
        await new Promise((done) => setTimeout(done, 30));
        w.stop();
        return [why, states, s.sockets.length];
        """,
    )
    assert seen == [["refused", "Not here."], ["live", "signed_out", "refused"], 1]
