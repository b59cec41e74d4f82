"""The judge of calls knows a rung that was left out, late or early, and a call made twice; and what excuses them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from moderation.ladders import LadderPolicy
from ops.torture.calls import Duties, Duty, Made, Planned, Trouble, judge_calls

BEGAN = datetime(2026, 11, 16, 12, tzinfo=UTC)
LADDERS = LadderPolicy.load()


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


class Story:
    """An urgent duty of half a minute ago: two rungs have been called on time, by page and by telephone."""

    def __init__(self) -> None:
        self.duty = Duty("O", "community", 3, "running", BEGAN, None, was_moved=False)
        self.calls = {
            "page-0": Planned("page-0", "O", 1, 0, "page", at(0), at(1), 1),
            "phone-0": Planned("phone-0", "O", 1, 0, "phone", at(0), at(2), 1),
            "page-1": Planned("page-1", "O", 2, 1, "page", at(15), at(16), 1),
            "phone-1": Planned("phone-1", "O", 2, 1, "phone", at(15), at(17), 1),
        }
        self.made = [Made("phone-0", "A", at(1), at(2), True), Made("phone-1", "A", at(16), at(17), True)]
        self.troubles: list[Trouble] = []
        self.now = at(30)

    def rules(self) -> set[str]:
        duties = Duties((self.duty,), tuple(self.calls.values()))
        found = judge_calls(duties, self.made, self.troubles, LADDERS, self.now, timedelta(seconds=20))
        return {violation.rule for violation in found}


def leave_a_rung_out(story: Story) -> None:
    del story.calls["page-1"], story.calls["phone-1"]


def call_late(story: Story) -> None:
    story.made[1] = Made("phone-1", "A", at(21), at(22), True)


def never_call(story: Story) -> None:
    story.calls["page-0"] = replace(story.calls["page-0"], attempted_at=None, attempts=0)


def call_early(story: Story) -> None:
    story.calls["page-1"] = replace(story.calls["page-1"], attempted_at=at(14))


def call_again(story: Story) -> None:
    story.made.append(Made("phone-1", "B", at(25), at(26), True))


def ring_again(story: Story) -> None:
    story.calls["page-0"] = replace(story.calls["page-0"], attempts=2)


FAULTS = [
    (leave_a_rung_out, "rung"),
    (call_late, "rung"),
    (never_call, "rung"),
    (call_early, "early"),
    (call_again, "twice"),
    (ring_again, "twice"),
]


def test_calls_in_time_are_not_faulted() -> None:
    """Where everybody was called in time and once the judge finds nothing."""
    assert Story().rules() == set()


@pytest.mark.parametrize(("fault", "rule"), FAULTS)
def test_every_broken_promise_is_known_by_its_rule(fault: Callable[[Story], None], rule: str) -> None:
    """Each way to fail the people on duty is found."""
    story = Story()
    fault(story)
    assert story.rules() == {rule}


@pytest.mark.parametrize("fault", [leave_a_rung_out, call_late, never_call, call_again])
def test_a_fault_at_the_time_excuses_what_it_may_have_caused(fault: Callable[[Story], None]) -> None:
    """While the process that calls is away, calls may come late, and one that was under way may be made again."""
    story = Story()
    fault(story)
    story.troubles.append(Trouble("crash", "A", at(2), at(25)))
    assert story.rules() == set()


def test_a_fault_elsewhere_excuses_no_second_call() -> None:
    """That another process was away is no reason to make a call again that had gone out."""
    story = Story()
    call_again(story)
    story.troubles.append(Trouble("crash", "B", at(2), at(25)))
    assert story.rules() == {"twice"}


def test_whoever_was_faster_than_the_next_rung_is_not_called_to_account() -> None:
    """A duty that somebody took in time needs no further rung."""
    story = Story()
    leave_a_rung_out(story)
    story.duty = replace(story.duty, state="acknowledged", acknowledged_at=at(10))
    assert story.rules() == set()
