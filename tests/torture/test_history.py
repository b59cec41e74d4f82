"""The judge of every campaign knows each broken promise by its rule, and has nothing to say of an unbroken history."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from ops.torture.clients import Log, Told
from ops.torture.history import TOLD_S, Row, Stored, judge, judge_delays
from server.protocol.frames import Ack

ROOM, OTHER = "room:R", "room:S"


def ack(seq: int, named: str, feed: str = ROOM) -> Ack:
    return Ack(re=named, feed=feed, epoch=1, seq=seq, message=f"M{feed}{seq}", at=1000, state="shown", care="none")


def row(seq: int, named: str, author: str = "A", feed: str = ROOM, state: str = "shown", flagged: bool = False) -> Row:
    return Row(f"M{feed}{seq}", feed, seq, author, named, state, flagged)


class Story:
    """Two people in one room and one in another; everything went well, until a test changes it."""

    def __init__(self) -> None:
        self.a = Log("A", ROOM, sent={"1": "one", "2": "two"}, acks={"1": [ack(1, "1")], "2": [ack(2, "2")]})
        self.b = Log("B", ROOM)
        self.c = Log("C", OTHER, sent={"3": "three"}, acks={"3": [ack(1, "3", OTHER)]})
        for log in (self.a, self.b):
            log.told = [Told(1, "shown", "one", 0.0), Told(2, "shown", "two", 0.0)]
        self.c.told = [Told(1, "shown", "three", 0.0)]
        self.moderator = Log("S", "inbox", pages={"P"})
        self.stored = Stored(
            messages={("A", "1"): row(1, "1"), ("A", "2"): row(2, "2"), ("C", "3"): row(1, "3", "C", OTHER)},
            heads={ROOM: 2, OTHER: 1},
            logged={ROOM: [1, 2], OTHER: [1]},
            covered=frozenset(),
            unmade=(),
            uncalled=(),
            pages={"S": frozenset({"P"})},
        )

    def change(self, **values: object) -> None:
        self.stored = dataclasses.replace(self.stored, **values)  # type: ignore[arg-type]

    def put(self, **values: Row) -> None:
        """Replace stored messages of A, by client id."""
        replaced = {("A", named.removeprefix("n")): made for named, made in values.items()}
        self.change(messages={**self.stored.messages, **replaced})

    def rules(self) -> set[str]:
        found = judge([self.a, self.b, self.c], [self.moderator], self.stored)
        return {violation.rule for violation in found}


def lose(story: Story) -> None:
    story.change(messages={key: made for key, made in story.stored.messages.items() if key != ("A", "2")})


def store_at_two_places(story: Story) -> None:
    story.change(messages={**story.stored.messages, ("A", "9"): row(2, "9")})


def answer_differently(story: Story) -> None:
    story.a.acks["1"].append(later(story.a.acks["1"][0]))


def later(first: Ack) -> Ack:
    return Ack(
        re=first.re, feed=first.feed, epoch=1, seq=first.seq, message=first.message, at=2, state="shown", care="none"
    )


def swap_what_was_sent(story: Story) -> None:
    story.put(n1=row(2, "1"), n2=row(1, "2"))


def tell_backwards(story: Story) -> None:
    story.b.told.reverse()


def tell_twice(story: Story) -> None:
    story.b.told.append(story.b.told[-1])


def tell_not_all(story: Story) -> None:
    story.b.told.pop()


def tell_of_another_room(story: Story) -> None:
    story.c.told = [Told(1, "shown", "one", 0.0)]


def show_what_is_held(story: Story) -> None:
    story.put(n1=row(1, "1", state="held"))


def leave_a_hole(story: Story) -> None:
    story.change(logged={ROOM: [2], OTHER: [1]})


def forget_a_case(story: Story) -> None:
    story.put(n1=row(1, "1", flagged=True))


def answer_nobody(story: Story) -> None:
    story.a.acks.pop("2")


def give_up(story: Story) -> None:
    story.b.gave_up = True


def miss_a_page(story: Story) -> None:
    story.moderator.pages.clear()


def jump(story: Story) -> None:
    story.b.jumps.append("room:R 4 after 2")


def test_a_history_without_fault_is_not_faulted() -> None:
    """Where every promise was kept the judge finds nothing."""
    assert Story().rules() == set()


@pytest.mark.parametrize(
    ("fault", "rule"),
    [
        (lose, "lost"),
        (store_at_two_places, "doubled"),
        (answer_differently, "doubled"),
        (tell_twice, "doubled"),
        (swap_what_was_sent, "order"),
        (tell_backwards, "order"),
        (tell_not_all, "gap"),
        (leave_a_hole, "gap"),
        (jump, "gap"),
        (tell_of_another_room, "mixed"),
        (show_what_is_held, "leak"),
        (forget_a_case, "obligation"),
        (lambda story: story.change(untimed=("O",)), "timer"),
        (lambda story: story.change(unowned=("O",)), "owner"),
        (lambda story: story.change(unmade=("N",)), "due"),
        (lambda story: story.change(uncalled=("O",)), "call"),
        (miss_a_page, "page"),
        (answer_nobody, "unanswered"),
        (give_up, "gave_up"),
    ],
)
def test_each_broken_promise_is_found(fault: Callable[[Story], None], rule: str) -> None:
    """One thing that went wrong is found by the rule that is named for it."""
    story = Story()
    fault(story)
    assert rule in story.rules()


@pytest.mark.parametrize(
    ("steady_since", "told_at", "troubles", "is_late"),
    [
        (0.0, 10.0 + TOLD_S, (), False),
        (0.0, 10.1 + TOLD_S, (), True),
        (9.0, 10.1 + TOLD_S, (), True),
        (12.0, 10.1 + TOLD_S, (), False),
        (0.0, 10.1 + TOLD_S, ((9.0, 10.0),), False),
        (0.0, 10.1 + TOLD_S, ((1.0, 9.0),), True),
    ],
)
def test_who_was_there_is_told_in_time(
    steady_since: float, told_at: float, troubles: tuple[tuple[float, float], ...], is_late: bool
) -> None:
    """A message acknowledged at 10 s is told in time to whoever was there and read, unless a fault came between."""
    story = Story()
    story.a.answered = {"1": 10.0}
    story.b.told = [Told(1, "shown", "one", told_at)]
    story.b.steady = {1: steady_since}
    assert [found.rule for found in judge_delays([story.a, story.b], troubles)] == (["late"] if is_late else [])


def test_what_somebody_was_told_to_read_up_is_no_gap() -> None:
    """Places that an express resync replaced are not missed; one place beside them is."""
    story = Story()
    story.b.told = story.b.told[:1]
    story.b.skipped = [(2, 2)]
    assert story.rules() == set()
    story.b.told = []
    assert story.rules() == {"gap"}


def test_who_only_sends_is_judged_by_what_they_sent() -> None:
    """Somebody who reads nothing misses nothing, but what they sent must be stored, at its place and once."""
    story = Story()
    story.a.told = []
    assert judge([story.b, story.c], [story.moderator], story.stored, senders=[story.a]) == []
    lose(story)
    found = judge([story.b, story.c], [story.moderator], story.stored, senders=[story.a])
    assert "lost" in {violation.rule for violation in found}


def test_one_person_may_keep_a_log_for_each_room() -> None:
    """What somebody sent into another room is theirs too, and doubled in none."""
    story = Story()
    story.c.account = "A"
    story.put(n3=row(1, "3", "A", OTHER))
    story.change(messages={key: made for key, made in story.stored.messages.items() if key[0] == "A"})
    assert story.rules() == set()
