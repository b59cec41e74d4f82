"""Where a rota leaves a gap in the time to come, and how evenly it falls on those who serve."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from itertools import pairwise

from moderation.rota import Shift
from moderation.rota_cover import Place, Rota
from moderation.rota_policy import RotaPolicy
from moderation.shifts import ShiftPolicy
from moderation.types import Role
from moderation.wall import day_of, instant_of

_DAY = timedelta(days=1)
# Whoever works at least three hours of a night works at night: Working Time Regulations 1998 (SI 1998/1833), reg. 2(1).
_NIGHT_WORK = timedelta(hours=3)
_SATURDAY = 5


class Lack(StrEnum):
    """What a gap lacks: anybody, enough people, or the skill that a rotation asks for."""

    NOBODY = "nobody"
    TOO_FEW = "too_few"
    SKILL = "skill"


@dataclass(frozen=True, slots=True)
class Gap:
    """A time at which fewer people of a role are on the rota than must be, half-open, aware UTC.

    `there` counts those who have the skill that their place needs.
    """

    role: Role
    starts_at: datetime
    ends_at: datetime
    lack: Lack
    needed: int
    there: int


@dataclass(frozen=True, slots=True)
class Burden:
    """What one person serves within a time: `nights` of three hours' work or more, `weekends` of any."""

    account: str
    shifts: int
    hours: float
    nights: int
    weekends: int


def gaps(rota: Rota, policy: RotaPolicy, now: datetime) -> tuple[Gap, ...]:
    """Every gap from `now` on as far ahead as the policy looks, the first one first."""
    end = now + policy.ahead
    edges = [*rota.edges(now, end, now), end]
    found: list[Gap] = []
    open_: dict[Role, Gap] = {}
    for edge, until in pairwise(edges):
        places = rota.places(edge, now)
        for role in _roles(policy, places):
            lacking = _lack(role, policy, places)
            before = open_.pop(role, None)
            if lacking is None:
                continue
            gap = Gap(role, edge, until, *lacking)
            if before is not None and (before.lack, before.needed, before.there) == lacking and before.ends_at == edge:
                gap = Gap(role, before.starts_at, until, *lacking)
                found.remove(before)
            found.append(gap)
            open_[role] = gap
    return tuple(sorted(found, key=lambda gap: (gap.starts_at, gap.role)))


def warning(gap: Gap, policy: RotaPolicy, now: datetime) -> timedelta | None:
    """Which of the policy's warnings a gap calls for now: the shortest that has come, None while none has."""
    return min((before for before in policy.warn if gap.starts_at - now <= before), default=None)


def burdens(stints: Iterable[Shift], hours: ShiftPolicy) -> tuple[Burden, ...]:
    """What these stints come to for each person, by account: hours in UTC, nights and weekends as the wall shows."""
    by_person: dict[str, list[Shift]] = {}
    for stint in stints:
        by_person.setdefault(stint.account, []).append(stint)
    return tuple(
        Burden(
            account,
            len(theirs),
            sum((one.ends_at - one.starts_at).total_seconds() for one in theirs) / 3600,
            len(set().union(*(_nights(one, hours) for one in theirs))),
            len(set().union(*(_weekends(one) for one in theirs))),
        )
        for account, theirs in sorted(by_person.items())
    )


def _roles(policy: RotaPolicy, places: tuple[Place, ...]) -> list[Role]:
    asked = {_counted(place.role) for place in places if place.source}
    return sorted({*policy.need, *asked})


def _counted(role: Role) -> Role:
    """A moderator lead on duty is one of the moderators on duty."""
    return Role.MODERATOR if role is Role.MODERATOR_LEAD else role


def _lack(role: Role, policy: RotaPolicy, places: tuple[Place, ...]) -> tuple[Lack, int, int] | None:
    mine = [place for place in places if _counted(place.role) is role]
    needed = max(policy.need.get(role, 0), sum(1 for place in mine if place.source))
    there = {place.account for place in mine if place.account is not None}
    fit = {place.account for place in mine if place.account is not None and place.fit}
    if len(fit) >= needed:
        return None
    if not there:
        return Lack.NOBODY, needed, 0
    return (Lack.SKILL if len(there) >= needed else Lack.TOO_FEW), needed, len(fit)


def _days(stint: Shift) -> list[date]:
    """The days on which the stint's nights and days may have begun."""
    first, last = day_of(stint.starts_at) - _DAY, day_of(stint.ends_at)
    return [first + n * _DAY for n in range((last - first).days + 1)]


def _nights(stint: Shift, hours: ShiftPolicy) -> set[date]:
    return {
        day
        for day in _days(stint)
        for night in (hours.night_from(day),)
        if min(stint.ends_at, night.ends_at) - max(stint.starts_at, night.starts_at) >= _NIGHT_WORK
    }


def _weekends(stint: Shift) -> set[date]:
    """The Saturdays of the weekends of which the stint takes any part."""
    midnight = time(0)
    return {
        day - (day.weekday() - _SATURDAY) * _DAY
        for day in _days(stint)
        if day.weekday() >= _SATURDAY
        and stint.starts_at < instant_of(day + _DAY, midnight)
        and instant_of(day, midnight) < stint.ends_at
    }
