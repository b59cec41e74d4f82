"""When whom: the one table of times, and which rungs of a ladder are due.

The times live in `policies/ladders.toml` and nowhere else; other texts refer to it. `plan` is a pure function of the
ladder, the moment the obligation was opened, how far it has climbed, and now, so a job that runs late, twice or
after a crash fires what is due and no more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

from moderation.files import Header, PolicyFile
from moderation.types import Level

LADDERS = Path(__file__).parent / "policies" / "ladders.toml"


class Audience(StrEnum):
    """Whom a rung calls; the rota says who that is at a given moment."""

    ON_CALL_MODERATOR = "on_call_moderator"
    MODERATORS_ON_SHIFT = "moderators_on_shift"
    DUTY_CLINICIAN = "duty_clinician"
    CLINICAL_LEAD = "clinical_lead"
    FALLBACK = "fallback"
    TREATING_THERAPIST = "treating_therapist"
    FACILITATOR = "facilitator"


class Side(StrEnum):
    """The side of the wall on which a ladder starts; a case never spans the wall."""

    COMMUNITY = "community"
    GROUP = "group"
    CARE = "care"


_CALLED = (Level.GREY, Level.HIGH_NEED, Level.URGENT)


@dataclass(frozen=True, slots=True)
class Rung:
    """Call `audience` once `after` has passed since the obligation was opened."""

    after: timedelta
    audience: Audience


@dataclass(frozen=True, slots=True)
class Ladder:
    """Who is called, and when, until a named person takes the case.

    `acknowledge_for`: how long one acknowledgement keeps the ladder still. `hold_ceiling`: how long a held message
    may wait before it is escalated (never released by itself). `repeat_last`: how often the last rung is called again.
    """

    name: str
    level: Level
    rungs: tuple[Rung, ...]
    acknowledge_for: timedelta
    hold_ceiling: timedelta
    repeat_last: timedelta


@dataclass(frozen=True, slots=True)
class Step:
    """One rung that fires now. `empty`: nobody is there, so the next rung fired at once and the author can be told."""

    rung: int
    audience: Audience
    recipients: tuple[str, ...]
    empty: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send now, what to store (`next_rung`), and when to ask again (`next_due_at`, aware UTC)."""

    steps: tuple[Step, ...]
    next_rung: int
    next_due_at: datetime


@dataclass(frozen=True, slots=True)
class Waits:
    """The longest that an obligation of one level may wait: for its next call, or for whoever took it to close it.

    A due time that lies further ahead was written by a clock that has been set back since.
    """

    for_call: timedelta
    for_owner: timedelta


class LadderPolicy:
    """The table of times, loaded and checked.

    Attributes:
        waits: the longest waits of each level, whatever the side.
    """

    def __init__(self, header: Header, by_side: dict[tuple[Side, Level], Ladder], by_name: dict[str, Ladder]) -> None:
        self.version = header.label
        self.header = header
        self._by_side = by_side
        self._by_name = by_name
        self.waits = {level: _waits([one for one in by_name.values() if one.level is level]) for level in _CALLED}

    @classmethod
    def load(cls, path: Path = LADDERS) -> "LadderPolicy":
        """The policy in the file at `path`.

        Raises:
            PolicyError: with file and line: a field is missing or of the wrong kind, a side lacks a level, times run
                backwards, or a ladder does not end with the fallback list.
        """
        file = PolicyFile(path)
        header = file.header()
        by_side: dict[tuple[Side, Level], Ladder] = {}
        by_name: dict[str, Ladder] = {}
        for index, table in enumerate(file.data.get("ladder", [])):
            ladder = _ladder(file, index, table)
            if ladder.name in by_name:
                raise file.fault("ladder", index, f"the name {ladder.name!r} is used twice; rename one")
            by_name[ladder.name] = ladder
            if "side" in table:
                if table["side"] not in set(Side):
                    raise file.fault("ladder", index, f"side must be one of {', '.join(Side)}; correct it")
                key = (Side(table["side"]), ladder.level)
                if key in by_side:
                    raise file.fault("ladder", index, f"{key[0]} already has a ladder for level {key[1]:d}; remove one")
                by_side[key] = ladder
        for side in Side:
            for level in _CALLED:
                if (side, level) not in by_side:
                    raise file.fault("policy", 0, f"{side} has no ladder for level {level:d}; add a [[ladder]] for it")
        return cls(header, by_side, by_name)

    def ladder_for(self, side: Side, level: Level) -> Ladder:
        """The ladder of a finding on that side of the wall.

        Raises:
            ValueError: level NONE, for which nobody is called.
        """
        if level is Level.NONE:
            raise ValueError("a clean text has no ladder: open no obligation for level 0")
        return self._by_side[side, level]

    def named(self, name: str) -> Ladder:
        """The ladder of that name, such as `unread-community`.

        Raises:
            KeyError: there is none of that name.
        """
        return self._by_name[name]

    @property
    def names(self) -> tuple[str, ...]:
        """All ladders' names, in the order of the file."""
        return tuple(self._by_name)


def plan(
    ladder: Ladder,
    opened_at: datetime,
    next_rung: int,
    people: Callable[[Audience], tuple[str, ...]],
    now: datetime,
) -> Plan:
    """What an unacknowledged obligation must do now: every rung due by `now` fires, however late.

    A rung with nobody there is skipped at once: it is reported as an empty step and the next rung fires without
    waiting for its time. After the last rung, each further call fires the last rung again, every `repeat_last`,
    without end.

    Args:
        ladder: the times.
        opened_at: when the obligation began; aware UTC.
        next_rung: the `next_rung` of the plan before, 0 for a new obligation; `len(ladder.rungs)` means repeating.
        people: who an audience is now, as `rota.people_for` says.
        now: aware UTC. When repeating, the caller asks at `next_due_at`, not before.

    Raises:
        ValueError: the fallback list is empty, or `next_rung` is out of range.
    """
    count = len(ladder.rungs)
    if not 0 <= next_rung <= count:
        raise ValueError(f"next_rung {next_rung} is outside 0..{count}: the ladder was changed under the obligation")
    if next_rung == count:
        return Plan((_step(ladder, count - 1, people),), count, now + ladder.repeat_last)
    steps: list[Step] = []
    rung = next_rung
    skipped = False
    while rung < count and (skipped or opened_at + ladder.rungs[rung].after <= now):
        step = _step(ladder, rung, people)
        steps.append(step)
        skipped = step.empty
        rung += 1
    next_due_at = opened_at + ladder.rungs[rung].after if rung < count else now + ladder.repeat_last
    return Plan(tuple(steps), rung, next_due_at)


def _waits(ladders: Sequence[Ladder]) -> Waits:
    """The longest of the waits of these ladders, the wait before the first call among them."""
    waits = [ladder.repeat_last for ladder in ladders]
    for ladder in ladders:
        times = [timedelta(0), *(rung.after for rung in ladder.rungs)]
        waits += [later - earlier for earlier, later in pairwise(times)]
    return Waits(max(waits), max(ladder.acknowledge_for for ladder in ladders))


def _step(ladder: Ladder, rung: int, people: Callable[[Audience], tuple[str, ...]]) -> Step:
    audience = ladder.rungs[rung].audience
    recipients = people(audience)
    if not recipients and rung == len(ladder.rungs) - 1:
        raise ValueError("the fallback list is empty: name at least one person on it, for it is the last to be called")
    return Step(rung, audience, recipients, not recipients)


def _ladder(file: PolicyFile, index: int, table: dict[str, Any]) -> Ladder:
    """One checked ladder; raises PolicyError with its line."""

    def seconds(name: str, of: dict[str, Any], least: int) -> timedelta:
        value = of.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise file.fault("ladder", index, f"{name} must be a whole number of seconds, {least} or more; correct it")
        return timedelta(seconds=value)

    name, level = table.get("name"), table.get("level")
    if not isinstance(name, str) or not name:
        raise file.fault("ladder", index, "a ladder needs a name; add one")
    if level not in (1, 2, 3):
        raise file.fault("ladder", index, f"{name}: level must be 1, 2 or 3; correct it")
    rungs: list[Rung] = []
    for rung in table.get("rung", []):
        if rung.get("audience") not in set(Audience):
            raise file.fault("ladder", index, f"{name}: audience must be one of {', '.join(Audience)}; correct it")
        rungs.append(Rung(seconds("after_s", rung, 0), Audience(rung["audience"])))
    if not rungs or rungs[-1].audience is not Audience.FALLBACK:
        raise file.fault("ladder", index, f"{name}: the last rung must be the fallback list; add it")
    if any(later.after < earlier.after for earlier, later in pairwise(rungs)):
        raise file.fault("ladder", index, f"{name}: the rungs' times run backwards; put them in order")
    return Ladder(
        name,
        Level(level),
        tuple(rungs),
        seconds("acknowledge_for_s", table, 1),
        seconds("hold_ceiling_s", table, 1),
        seconds("repeat_last_s", table, 1),
    )
