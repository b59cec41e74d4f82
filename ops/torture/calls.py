"""The part of the judge that knows the table of times: was everybody called who should have been, when, and how often?

- rung: a call that the table asks for and nobody made in time.
- early: one that was made before its time.
- twice: one that had gone out and was made again though nothing was wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from moderation.ladders import LadderPolicy, Side
from moderation.types import Level
from ops.torture.history import LATE, Violation
from server.actions.rendering import PAGE_CHANNEL
from server.store.cases import ACKNOWLEDGED, CLAIM_FOR, MET, RUNNING
from server.store.schema import case_history, notice, obligation


@dataclass(frozen=True, slots=True)
class Duty:
    """An obligation: how long the ladder has been climbing for it since it last began. Times are the database's.

    `was_moved`: it was made due sooner than its ladder says, so that at `opened_at` nothing happened.
    """

    id: str
    side: str
    level: int
    state: str
    opened_at: datetime
    acknowledged_at: datetime | None
    was_moved: bool


@dataclass(frozen=True, slots=True)
class Planned:
    """A call that a rung asked for; `attempted_at`: when its last attempt was recorded."""

    id: str
    obligation: str
    cycle: int
    rung: int
    channel: str
    due_at: datetime
    attempted_at: datetime | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Duties:
    """What the database says of obligations and of the calls for them."""

    duties: tuple[Duty, ...]
    calls: tuple[Planned, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """A call by an outside channel, as that channel saw it: by which process, and whether it said that it went out."""

    call: str
    by: str
    began: datetime
    ended: datetime | None
    went_out: bool


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault that may make a call late or let it be made again; `who`: the process that it touched, "" for all."""

    kind: str
    who: str
    began: datetime
    ended: datetime


def read_duties(conn: Connection) -> Duties:
    """Every obligation, and every call that was planned for one."""
    moments = {(row.case, row.at) for row in conn.execute(select(case_history.c.case, case_history.c.at))}
    duties = tuple(
        Duty(
            row.id,
            row.side,
            row.level,
            row.state,
            row.opened_at,
            row.acknowledged_at,
            was_moved=(row.case, row.opened_at) not in moments,
        )
        for row in conn.execute(select(obligation))
    )
    calls = conn.execute(
        select(
            notice.c.id,
            notice.c.obligation,
            notice.c.cycle,
            notice.c.rung,
            notice.c.channel,
            notice.c.due_at,
            notice.c.attempted_at,
            notice.c.attempts,
        )
    )
    return Duties(duties, tuple(Planned(*row) for row in calls))


def judge_calls(
    found: Duties,
    made: Sequence[Made],
    troubles: Collection[Trouble],
    ladders: LadderPolicy,
    now: datetime,
    recovers: timedelta,
) -> list[Violation]:
    """What is wrong with the calls, by the table of times.

    Each rung whose time has come calls everybody on it, on each channel: not before its time, and within LATE of it, or
    of the end of whatever was wrong then and `recovers` after that. What has gone out is not made again, but where a
    fault came between it and its record. There must be somebody on every rung.
    """
    violations = _made_twice(made, troubles)
    # A page rings where it is recorded, in one unit: there is no second attempt.
    violations += [
        Violation("twice", f"page {call.id}")
        for call in found.calls
        if call.channel == PAGE_CHANNEL and call.attempts > 1
    ]
    began: dict[str, datetime] = {}
    for one in made:
        began[one.call] = min(one.began, began.get(one.call, one.began))
    for duty in found.duties:
        if duty.state == MET or (duty.state == ACKNOWLEDGED and duty.acknowledged_at is None):
            continue
        end = now if duty.state == RUNNING or duty.acknowledged_at is None else duty.acknowledged_at
        planned = [call for call in found.calls if call.obligation == duty.id and call.due_at >= duty.opened_at]
        for rung, step in enumerate(ladders.ladder_for(Side(duty.side), Level(duty.level)).rungs):
            fell = duty.opened_at + step.after
            calls = [call for call in planned if call.rung == rung]
            if duty.was_moved:
                fell = max([fell, *(call.due_at for call in calls)])
            by = _at_the_latest(fell, troubles, recovers)
            if not calls and by < end:
                violations.append(Violation("rung", f"{rung} of {duty.id}, due {fell.time()}, was never called"))
            first_cycle = min((call.cycle for call in calls), default=0)
            for call in calls:
                tried = began.get(call.id, call.attempted_at)
                falls = call.due_at if duty.was_moved else fell
                if tried is not None and tried < falls:
                    violations.append(Violation("early", f"{call.id}, {falls - tried} before its time"))
                elif by < end and call.cycle == first_cycle and (tried is None or tried > by):
                    violations.append(
                        Violation(
                            "rung", f"{rung} of {duty.id}, due {fell.time()}: {call.id} was not made by {by.time()}"
                        )
                    )
    return violations


def _made_twice(made: Sequence[Made], troubles: Collection[Trouble]) -> list[Violation]:
    violations = []
    last: dict[str, Made] = {}
    for call in sorted(made, key=lambda one: one.began):
        before, last[call.call] = last.get(call.call), call
        if before is None or before.ended is None or not before.went_out:
            continue
        to_record = before.ended + CLAIM_FOR
        if not any(
            trouble.who in ("", before.by) and trouble.began <= to_record and trouble.ended >= before.began
            for trouble in troubles
        ):
            violations.append(Violation("twice", f"{call.call} by {before.by} and {call.by}"))
    return violations


def _at_the_latest(fell: datetime, troubles: Collection[Trouble], recovers: timedelta) -> datetime:
    """The moment by which what fell due at `fell` has to be done, given what was wrong then."""
    by = fell + LATE
    for trouble in sorted(troubles, key=lambda one: one.began):
        over = trouble.ended + recovers
        if trouble.began <= by and over + LATE > by and over >= fell:
            by = over + LATE
    return by
