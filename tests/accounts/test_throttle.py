"""The throttle by itself: who waits, for how long, and what it remembers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.actions import limits
from server.actions.limits import LONGEST_WAIT, Limit, Limits, Throttle
from server.errors import TooMany

START = datetime(2026, 11, 2, 9, tzinfo=UTC)
FEW = Limits(Limit(2, timedelta(minutes=1)), Limit(3, timedelta(minutes=1)), Limit(5, timedelta(minutes=1)))


def attempt(throttle: Throttle, name: str, address: str, at: datetime) -> timedelta | None:
    """None if the attempt was let through, else how long it is to wait."""
    try:
        throttle.check("sign_in", FEW, name, address, at)
    except TooMany as error:
        return timedelta(milliseconds=error.retry_after_ms or 0)
    return None


def test_the_window_moves() -> None:
    """Attempts are counted over the last minute, not over a minute of the clock."""
    throttle = Throttle()
    for second in (0, 40):
        assert attempt(throttle, "amber", f"a{second}", START + timedelta(seconds=second)) is None
    assert attempt(throttle, "amber", "b", START + timedelta(seconds=59)) is not None
    assert attempt(throttle, "amber", "c", START + timedelta(seconds=60)) is None
    assert attempt(throttle, "amber", "d", START + timedelta(seconds=61)) is not None


@pytest.mark.parametrize("shared", ["name", "address", "nothing"])
def test_each_limit_holds_by_itself(shared: str) -> None:
    """One name from many addresses, many names from one address, and many of both are each slowed down."""
    throttle, through = Throttle(), 0
    for n in range(8):
        name = "amber" if shared == "name" else f"n{n}"
        address = "here" if shared == "address" else f"a{n}"
        through += attempt(throttle, name, address, START) is None
    assert through == {"name": 2, "address": 3, "nothing": 5}[shared]


def test_asking_during_the_wait_does_not_lengthen_it() -> None:
    """Somebody who keeps pressing the button waits no longer than was said."""
    throttle = Throttle()
    for n in range(2):
        attempt(throttle, "amber", f"a{n}", START)
    assert attempt(throttle, "amber", "home", START) == timedelta(seconds=1)
    for ms in (100, 500, 999):
        left = attempt(throttle, "amber", "home", START + timedelta(milliseconds=ms))
        assert left == timedelta(milliseconds=1000 - ms)
    assert attempt(throttle, "amber", "home", START + timedelta(seconds=1)) is None


@given(
    st.lists(
        st.tuples(st.sampled_from(["amber", "birch"]), st.sampled_from("abcd"), st.integers(0, 40_000)), max_size=60
    )
)
def test_whoever_waited_is_let_through(attempts: list[tuple[str, str, int]]) -> None:
    """Law: whatever was tried before, by anybody, a wait is at most 30 s and the attempt after it goes through."""
    throttle, now = Throttle(), START
    for name, address, pause_ms in attempts:
        now += timedelta(milliseconds=pause_ms)
        attempt(throttle, name, address, now)
    wait = attempt(throttle, "amber", "a", now)
    if wait is not None:
        assert timedelta(0) < wait <= LONGEST_WAIT
        for n in range(10):
            attempt(throttle, "amber", f"attacker {n}", now + wait)
        assert attempt(throttle, "amber", "a", now + wait) is None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and addresses without end do not fill the memory."""
    monkeypatch.setattr(limits, "REMEMBERED", 50)
    throttle = Throttle()
    for n in range(500):
        attempt(throttle, f"n{n}", f"a{n}", START)
    assert len(throttle._windows) <= 50
    assert len(throttle._waits) <= 50


def test_names_are_not_kept() -> None:
    """What somebody typed as a name can not be read in the throttle's memory."""
    throttle = Throttle()
    for n in range(4):
        attempt(throttle, "amberdiscloses", f"a{n}", START)
    assert "amberdiscloses" not in repr((throttle._windows, throttle._waits))


def test_processes_that_hear_each_other_count_together() -> None:
    """Guesses at one name by way of two processes are as many as by one; what is told names nobody."""
    told: list[str] = []
    one, two, deaf = Throttle(b"key", told.append), Throttle(b"key"), Throttle(b"key")
    for n in range(FEW.per_name.amount if FEW.per_name else 0):
        assert attempt(one, "amber", f"a{n}", START) is None
    for allowance in told:
        two.heard(allowance, 1, START)
    two.heard("pace:say:amber", 100, START)
    assert attempt(two, "amber", "b", START) is not None
    assert attempt(deaf, "amber", "b", START) is None
    assert not any("amber" in allowance or "a1" in allowance.split(":") for allowance in told)
    other_key = Throttle(b"another", told.append)
    mine = set(told)
    attempt(other_key, "amber", "a0", START)
    assert {allowance for allowance in told if "name" in allowance} - mine
