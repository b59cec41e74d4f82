"""The rota as its pages and the command line show it: who is on, who will be, where gaps are, how it falls on people.

For reading only. Names and times of staff, and nothing of any case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row

from moderation.duty import begun
from moderation.rota import Shift
from moderation.rota_calendar import calendar
from moderation.rota_cover import Rota
from moderation.rota_forecast import Burden, Gap, burdens, gaps, warning
from moderation.rota_policy import ON_ROTA
from moderation.rota_rows import Cover, Extra, Leave, Pattern, RotaRow
from moderation.shifts import ShiftPolicy
from moderation.types import Role
from server.actions.services import Services
from server.auth.permissions import require
from server.auth.requester import Requester
from server.clock import from_us
from server.store import duty
from server.store.rota import BACK, names_of, open_swaps, people, rota_of

# How far ahead shifts are listed, and over how long a time burdens are counted.
AHEAD: Final = timedelta(days=14)
BURDEN: Final = timedelta(days=28)
# So many lines at most are told to the command line.
MOST_LINES: Final = 150
# A calendar program looks seldom: it is given more.
CALENDAR: Final = timedelta(days=56)


@dataclass(frozen=True, slots=True)
class Warned:
    """A gap, and how many hours before it the warning is that has come; None: it is further off than any."""

    gap: Gap
    within_h: int | None


@dataclass(frozen=True, slots=True)
class Running:
    """A shift that holds the moment; `begun`: its person has answered."""

    shift: Shift
    begun: bool


@dataclass(frozen=True, slots=True)
class Overview:
    """The rota at a moment. `names` has everybody who is named in it, by account."""

    at: datetime
    running: tuple[Running, ...]
    coming: tuple[Shift, ...]
    gaps: tuple[Warned, ...]
    burdens: tuple[Burden, ...]
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can be on the rota."""

    account: str
    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Own:
    """What concerns one person: questions that wait for their answer, their shifts ahead, and swaps that are open."""

    questions: Sequence[Row[Any]]
    shifts: tuple[Shift, ...]
    swaps: Sequence[Row[Any]]
    others: tuple[Person, ...]
    theirs: tuple[Shift, ...]


@dataclass(frozen=True, slots=True)
class Book:
    """What those who write the rota see besides: rotations, the rows that can be taken back, and everybody."""

    patterns: Mapping[str, Pattern]
    rows: tuple[RotaRow, ...]
    people: tuple[Person, ...]
    names: Mapping[str, str]


async def overview(services: Services, requester: Requester | None, at: datetime | None = None) -> Overview:
    """The rota now, or as it was or will be at `at`. `requester` is None for the operator."""
    if requester is not None:
        require(requester, "route.rota")
    return await services.store.read(lambda conn: _overview(conn, services, at))


def _overview(conn: Connection, services: Services, at: datetime | None) -> Overview:
    now = from_us(services.store.db_now(conn))
    moment = at or now
    rota = rota_of(conn, min(moment, now) - BACK)
    coming = rota.stints(moment, moment + AHEAD, now)
    if at is None:
        shifts, checks = duty.running(conn, now)
        there = set(begun(shifts, checks))
    else:
        # Of another moment only the rota can be told: nobody has answered for the time to come.
        shifts = rota.shifts_at(moment, now)
        there = set()
    found = gaps(rota, services.rota, now) if at is None else ()
    load = burdens(rota.stints(now, now + BURDEN, now), ShiftPolicy.load())
    named = {one.account for one in (*shifts, *coming)} | {one.account for one in load}
    return Overview(
        moment,
        tuple(Running(one, one in there) for one in shifts),
        tuple(one for one in coming if one.starts_at > moment),
        tuple(_warned(services, gap, now) for gap in found),
        load,
        names_of(conn, sorted(named)),
    )


def _warned(services: Services, gap: Gap, now: datetime) -> Warned:
    before = warning(gap, services.rota, now)
    return Warned(gap, None if before is None else int(before / timedelta(hours=1)))


async def warnings(services: Services, requester: Requester) -> list[Warned]:
    """The gaps of which a warning has come, for the staff page; none for whoever does not see the rota."""
    require(requester, "route.rota")

    def read(conn: Connection) -> list[Warned]:
        now = from_us(services.store.db_now(conn))
        found = [_warned(services, gap, now) for gap in gaps(rota_of(conn, now - BACK), services.rota, now)]
        return [one for one in found if one.within_h is not None]

    return await services.store.read(read)


async def own(services: Services, requester: Requester) -> Own:
    """What concerns this person."""
    require(requester, "route.rota")

    def read(conn: Connection) -> Own:
        now = from_us(services.store.db_now(conn))
        stints = rota_of(conn, now - BACK).stints(now, now + BURDEN, now)
        same = [one for one in people(conn, [requester.role]) if one.id != requester.account]
        accounts = {one.id for one in same} if requester.role in ON_ROTA else set()
        return Own(
            duty.open_checks(conn, requester.account),
            tuple(one for one in stints if one.account == requester.account),
            open_swaps(conn, requester.account, now),
            tuple(Person(one.id, one.name, Role(one.role)) for one in same if one.id in accounts),
            tuple(one for one in stints if one.account in accounts and one.starts_at > now),
        )

    return await services.store.read(read)


async def book(services: Services, requester: Requester) -> Book:
    """What those who write the rota see."""
    require(requester, "route.rota_change")

    def read(conn: Connection) -> Book:
        now = from_us(services.store.db_now(conn))
        rota = rota_of(conn, now - BACK)
        rows = tuple(row for row in rota.standing(now) if isinstance(row, Extra | Cover | Leave) and row.ends_at > now)
        patterns = rota.patterns(now)
        everybody = tuple(Person(one.id, one.name, Role(one.role)) for one in people(conn, ON_ROTA))
        named = {account for pattern in patterns.values() for account in pattern.people}
        named |= {account for row in rows for account in _people_of(row)}
        return Book(patterns, rows, everybody, names_of(conn, sorted(named)))

    return await services.store.read(read)


def _people_of(row: RotaRow) -> tuple[str, ...]:
    return (row.out, row.into) if isinstance(row, Cover) else (getattr(row, "account", ""),)


@dataclass(frozen=True, slots=True)
class ShiftLine:
    """A shift as the command line tells it. `begun`: its person has answered."""

    name: str
    role: str
    starts_at: datetime
    ends_at: datetime
    begun: bool


@dataclass(frozen=True, slots=True)
class GapLine:
    """A gap as the command line tells it; `within_h` as `Warned`."""

    role: str
    starts_at: datetime
    ends_at: datetime
    lack: str
    needed: int
    there: int
    within_h: int | None


@dataclass(frozen=True, slots=True)
class ShownRota:
    """The rota at a moment, for the operator; of another moment than now, gaps are not told."""

    at: datetime
    running: tuple[ShiftLine, ...]
    coming: tuple[ShiftLine, ...]
    gaps: tuple[GapLine, ...]


async def show(services: Services, at: datetime | None) -> ShownRota:
    """The rota now, or as it was or will be at `at`, for the operator."""
    seen = await overview(services, None, at)

    def line(shift: Shift, *, is_begun: bool) -> ShiftLine:
        return ShiftLine(seen.names[shift.account], shift.role, shift.starts_at, shift.ends_at, is_begun)

    return ShownRota(
        seen.at,
        tuple(line(one.shift, is_begun=one.begun) for one in seen.running),
        tuple(line(one, is_begun=False) for one in seen.coming[:MOST_LINES]),
        tuple(
            GapLine(
                one.gap.role,
                one.gap.starts_at,
                one.gap.ends_at,
                one.gap.lack,
                one.gap.needed,
                one.gap.there,
                one.within_h,
            )
            for one in seen.gaps[:MOST_LINES]
        ),
    )


async def feed(services: Services, requester: Requester) -> str:
    """This person's shifts as a calendar (iCalendar), from a week ago on."""
    require(requester, "route.rota")

    def read(conn: Connection) -> str:
        now = from_us(services.store.db_now(conn))
        rota: Rota = rota_of(conn, now - BACK)
        stints = rota.stints(now - timedelta(days=7), now + CALENDAR, now)
        mine = [one for one in stints if one.account == requester.account]
        return calendar(mine, f"{requester.name}: on duty", now)

    return await services.store.read(read)
