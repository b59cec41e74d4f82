"""The small parts: buckets, the wheel, and what a feature lets through."""

from __future__ import annotations

import contextlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.actions.pace import MEMBER, STAFF, Bucket, Pace, Rate
from server.auth.requester import Requester, Role
from server.errors import TooFast
from server.live.shape import shape_reply
from server.live.wheel import Wheel
from server.protocol.frames import Attention, HandlingItem, Help, Joined, MessageItem, Person, Placed, Send, Shown

SAID = Send(client_id="send-0001", feed="room:R1", body="hello")


@given(st.lists(st.floats(0, 3), max_size=60))
def test_a_bucket_never_gives_more_than_its_rate(steps: list[float]) -> None:
    """Law: within any time t from the start at most burst + rate * t are let through; waiting as told is enough."""
    bucket, now = Bucket(Rate(3, 0.5), 0.0), 0.0
    for given_out, step in enumerate(steps, 1):
        now += step
        wait = bucket.take(now)
        if wait:
            assert bucket.take(now + wait + 1e-6) == 0
            now += wait + 1e-6
        assert given_out <= 3 + 0.5 * now + 1e-3


def test_families_are_limited_apart_and_staff_have_more() -> None:
    """Using up one family leaves the others; help has no family."""
    pace, robin = Pace(lambda: 0.0), Requester("A1", "Robin", Role.MEMBER, "S1")
    for _ in range(MEMBER["say"].burst):
        pace.check(robin, SAID)
    with pytest.raises(TooFast):
        pace.check(robin, SAID)
    pace.check_reading(robin)
    for _ in range(1_000):
        pace.check(robin, Help(client_id="help-0001"))
    assert all(STAFF[name].burst >= rate.burst for name, rate in MEMBER.items())


def test_processes_that_hear_each_other_allow_little_more_than_one() -> None:
    """Who says something to three of them ten times a second, told of every two seconds, gets no third of it more."""
    now, said = 0.0, 0
    robin = Requester("A1", "Robin", Role.MEMBER, "S1")

    def process(told: Counter[str]) -> Pace:
        return Pace(lambda: now, tell=lambda allowance: told.update([allowance]))

    ears = [Counter[str]() for _ in range(3)]
    paces = [process(told) for told in ears]
    for step in range(600):
        now = step / 10
        for pace in paces:
            with contextlib.suppress(TooFast):
                pace.check(robin, SAID)
                said += 1
        if step % 20 == 0:
            for told, pace in zip(ears, paces, strict=True):
                for other in paces:
                    for allowance, times in told.items() if other is not pace else ():
                        other.heard(allowance, times)
                told.clear()
    alone = MEMBER["say"].burst + MEMBER["say"].per_s * 60
    assert alone * 0.5 < said < alone * 4 / 3, said
    paces[0].heard("tries:sign_in:all", 5)
    paces[0].heard("pace:nothing:A1", 5)
    paces[0].heard("pace", 5)


def test_the_pace_of_a_flood_of_accounts_takes_bounded_memory() -> None:
    """The longest unused bucket is forgotten first; who goes on talking is remembered."""
    pace, robin = Pace(lambda: 0.0, remembered=10), Requester("A1", "Robin", Role.MEMBER, "S1")
    for n in range(MEMBER["say"].burst):
        pace.check(robin, SAID)
        for k in range(9):
            pace.check(Requester(f"B{n}-{k}", "Wren", Role.MEMBER, "S2"), SAID)
    assert len(pace) == 10
    with pytest.raises(TooFast):
        pace.check(robin, SAID)


def test_who_becomes_staff_has_the_pace_of_staff() -> None:
    """A member's empty bucket holds nobody back who came to be on duty."""
    pace = Pace(lambda: 0.0)
    for _ in range(MEMBER["say"].burst):
        pace.check(Requester("A1", "Robin", Role.MEMBER, "S1"), SAID)
    pace.check(Requester("A1", "Robin", Role.MODERATOR, "S2"), SAID)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 30)), max_size=40))
def test_the_wheel_gives_out_everybody_in_time_and_never_early(plan: list[tuple[int, int]]) -> None:
    """Law: what is put in for a time comes out at the first look at or after it, not before."""
    wheel: Wheel[int] = Wheel(0.0)
    due: dict[int, int] = {}
    for who, (begin, delay) in enumerate(sorted(plan)):
        due[who] = begin + delay
    by_begin = sorted((begin, who) for who, (begin, _) in enumerate(sorted(plan)))
    for now in range(75):
        for begin, who in by_begin:
            if begin == now:
                wheel.put(who, due[who])
        for who in wheel.due(now):
            assert due.pop(who) <= now
        assert all(at > now or begin > now for begin, who in by_begin if (at := due.get(who)) is not None)
    assert due == {}


def test_the_wheel_takes_what_is_put_in_while_it_gives_out() -> None:
    """Something put in for the past during a look comes out at the next."""
    wheel: Wheel[str] = Wheel(0.0)
    wheel.put("a", 1.0)
    for who in wheel.due(1.0):
        assert who == "a"
        wheel.put("b", 0.5)
    assert list(wheel.due(2.0)) == ["b"]


def test_a_snapshot_holds_only_what_was_agreed() -> None:
    """Items of a feature that was not agreed are left out of `joined`, attention is taken off."""
    flagged = Shown(id="M1", author=Person(id="a", name="A"), body="b", at=1, attention=Attention(level=2))
    items = (
        Placed(seq=1, item=HandlingItem(id="H", care="none")),
        Placed(seq=2, item=MessageItem(of=2, change="new", view=flagged)),
    )
    joined = Joined(feed="inbox", epoch=1, seq=2, recovered=False, items=items)
    shaped = shape_reply(joined, frozenset())
    assert isinstance(shaped, Joined)
    assert [placed.seq for placed in shaped.items] == [2]
    assert shaped.items[0].item.view.attention is None  # type: ignore[union-attr]
    assert shape_reply(joined, frozenset({"handling", "console"})) == joined
