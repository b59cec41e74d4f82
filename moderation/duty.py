"""When a shift has begun, whom to ask before it, whom to tell, and what is handed over as it ends. Pure.

A shift on the rota begins when its person has answered that they can be reached, and not by the clock: until then they
are nobody's rung. What somebody holds when their shift ends is somebody else's only when a named person has accepted
it; what nobody accepts is called out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from moderation.rota import Shift
from moderation.rota_policy import ON_ROTA, RotaPolicy
from moderation.types import Level, Role


@dataclass(frozen=True, slots=True)
class Check:
    """The question whether somebody can be reached, about the shift that begins at `starts_at`.

    `answered_at` is None while it is not answered, `told_at` while nobody else was told.
    """

    account: str
    role: Role
    starts_at: datetime
    answered_at: datetime | None = None
    told_at: datetime | None = None

    def is_about(self, shift: Shift) -> bool:
        """Whether this is the shift's question, also where the rota has moved the shift's ends since."""
        same = (self.account, self.role) == (shift.account, shift.role)
        return same and shift.starts_at <= self.starts_at < shift.ends_at


@dataclass(frozen=True, slots=True)
class Held:
    """A case that somebody holds, as far as a hand-over may say it: nothing that anybody wrote.

    `opened_at`, `acted_at`: when the case was opened, and when its holder last did something about it (None: never).
    """

    case: str
    level: Level
    opened_at: datetime
    acted_at: datetime | None
    last_act: str


def begun(shifts: Iterable[Shift], checks: Sequence[Check]) -> tuple[Shift, ...]:
    """Those of these shifts whose person has answered."""
    answered = [check for check in checks if check.answered_at is not None]
    return tuple(shift for shift in shifts if any(check.is_about(shift) for check in answered))


def to_ask(shifts: Iterable[Shift], checks: Sequence[Check], policy: RotaPolicy, now: datetime) -> tuple[Shift, ...]:
    """The shifts whose person is to be asked now: they begin soon, or run, and nobody has asked yet.

    A role that no ladder calls by the rota is not asked: it has no shift to begin.
    """
    return tuple(
        shift
        for shift in shifts
        if shift.role in ON_ROTA
        and shift.starts_at - policy.ask_before <= now < shift.ends_at
        and not any(check.is_about(shift) for check in checks)
    )


def is_open(check: Check, shifts: Sequence[Shift], checks: Sequence[Check]) -> bool:
    """Whether a question still waits for its answer: one of these shifts is its own, and has not begun by another."""
    mine = [shift for shift in shifts if check.is_about(shift)]
    return check.answered_at is None and any(not begun([shift], checks) for shift in mine)


def to_tell(shifts: Sequence[Shift], checks: Sequence[Check], policy: RotaPolicy, now: datetime) -> tuple[Check, ...]:
    """The questions about these shifts that are not answered in time, and of which nobody has been told."""
    return tuple(
        check
        for check in checks
        if check.told_at is None
        and check.starts_at - policy.tell_before <= now
        and is_open(check, [shift for shift in shifts if now < shift.ends_at], checks)
    )


def ending(shifts: Iterable[Shift], policy: RotaPolicy, now: datetime) -> tuple[Shift, ...]:
    """The shifts that end so soon that what their people hold is to be offered to others."""
    return tuple(shift for shift in shifts if shift.starts_at <= now < shift.ends_at <= now + policy.offer_before)


def facts(held: Held, now: datetime) -> str:
    """What a machine can say of a case that is handed over: which, how urgent, how old, and the last act."""
    acted = "nothing done yet" if held.acted_at is None else f"last act: {held.last_act}, {ago(now - held.acted_at)}"
    return f"Case {held.case}, level {int(held.level)}, opened {ago(now - held.opened_at)}; {acted}."


def ago(past: timedelta) -> str:
    """A time gone by in words, in the largest whole unit up to days."""
    minutes = max(0, int(past.total_seconds()) // 60)
    for unit, size in (("day", 1440), ("hour", 60), ("minute", 1)):
        if minutes >= size:
            count = minutes // size
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "just now"
