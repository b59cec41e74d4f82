"""The two nights of 2027 in which London sets its clocks, lived through faster than in life, with people on both sides.

The right time is reckoned by the rule itself (an hour ahead in summer), not by a table of zones.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

from clients.sdk import Client
from moderation.ladders import LadderPolicy, Side
from moderation.types import Level, Role, RoomKind
from ops.torture.clients import CLEAN, URGENT
from ops.torture.clocks.figures import ClockCampaign
from ops.torture.history import Violation
from ops.torture.service import asked
from ops.trial import PASSWORD
from server.actions.accounts import Origin, create_staff, register
from server.actions.operating import add_shift
from server.actions.reach import answer, look_ahead
from server.actions.rooms import belong, make_room
from server.actions.services import Services
from server.auth.requester import Requester
from server.clock import ClockMapping, real_us, to_us
from server.ids import new_id
from server.main import open_services, serve_edges
from server.settings import load_settings, make_key
from server.store.duty import open_checks
from server.store.migrate import TEST, prepare_database
from server.store.schema import notice, review_case
from server.supervisor.listener import bind

LONDON: Final = ZoneInfo("Europe/London")
NIGHTS: Final = {
    "spring": datetime(2027, 3, 28, 1, tzinfo=UTC),
    "autumn": datetime(2027, 10, 31, 1, tzinfo=UTC),
}
SPEED: Final = 5.0
BEFORE: Final = timedelta(seconds=20)
# Mapped: two seconds at the screen, on a busy machine.
LATE: Final = timedelta(seconds=2.0 * SPEED)
EVERY: Final = timedelta(seconds=10)
_TIMES: Final = re.compile(r'<time class="ek-row__time" datetime="([^"]+)">([^<]+)</time>')


async def run_nights(
    campaign: ClockCampaign, folder: Path, nights: Sequence[str] = tuple(NIGHTS), speed: float = SPEED
) -> None:
    """Live through the nights side by side, each on a database of its own."""
    await asyncio.gather(*(_night(campaign, folder / name, name, speed) for name in nights))


@dataclass(frozen=True)
class _House:
    """A service in the middle of a night. `first` has the shift until the change, `second` the one from it."""

    services: Services
    url: str
    room: str
    robin: str
    wren: str
    first: str
    second: str
    change: datetime

    async def until(self, moment: datetime) -> None:
        """Wait until the service's clock says so."""
        await asyncio.sleep(self.services.clock.real_seconds(moment - self.services.clock.now()))


async def _night(campaign: ClockCampaign, folder: Path, name: str, speed: float) -> None:
    """People talk for three minutes around the change, two of them in distress, one on each side of it."""
    async with _house(folder, NIGHTS[name], speed) as house:
        change = house.change
        async with Client(house.url, token=house.robin) as robin, Client(house.url, token=house.wren) as wren:
            before, after = await robin.join(house.room), await wren.join(house.room)
            await house.until(change - BEFORE)
            await before.send(URGENT)
            await house.until(change + timedelta(seconds=5))
            await after.send(URGENT)
            said = change + EVERY
            while said < change + timedelta(seconds=115):
                await house.until(said)
                await before.send(f"{CLEAN[0]}. {said:%M:%S}")
                said += EVERY
        _judge_ladders(campaign, name, await house.services.store.read(_ladders), house)
        await _judge_pages(campaign, house)


@contextlib.asynccontextmanager
async def _house(folder: Path, change: datetime, speed: float) -> AsyncIterator[_House]:
    await asyncio.to_thread(folder.mkdir)
    key = folder / "night.key"
    make_key(key)
    url = f"sqlite:///{folder / 'night.db'}"
    await prepare_database(url, TEST)
    listener = bind("127.0.0.1", 0)
    settings = load_settings(
        database_url=url, key_file=key, kind=TEST, port=listener.getsockname()[1],
        argon2_memory_kib=8, argon2_passes=1, screening_deadline_ms=1000,
    )  # fmt: skip
    async with open_services(settings) as services:
        stop = asyncio.Event()
        await services.store.set_clock(_mapped(change - timedelta(hours=1), 1.0))
        room = await make_room(services, RoomKind.COMMUNITY, "The porch", "Through the night")
        rules = settings.rules_version
        robin, wren = [
            await register(services, Origin(f"10.0.0.{n}"), name, PASSWORD, rules, new_id())
            for n, name in enumerate(("Robin", "Wren"))
        ]
        for who in (robin, wren):
            await belong(services, who.requester, room)
        staff = [
            (await create_staff(services, name, role, PASSWORD), name)
            for name, role in (
                ("Sam", Role.MODERATOR), ("Kit", Role.MODERATOR), ("Osei", Role.CLINICIAN), ("Lea", Role.CLINICAL_LEAD)
            )
        ]  # fmt: skip
        wall = change.astimezone(LONDON)
        # As a rota says it: from ten in the evening for as many hours as there are, and from the change on.
        evening = datetime(wall.year, wall.month, wall.day, 22, tzinfo=LONDON) - timedelta(days=1)
        hours = change - evening.astimezone(UTC)
        await add_shift(services, "operator", "Sam", evening, hours)
        await add_shift(services, "operator", "Kit", wall, timedelta(hours=8))
        for name in ("Osei", "Lea"):
            await add_shift(services, "operator", name, evening, timedelta(hours=12))
        serving = asyncio.create_task(serve_edges(services, listener, stop, drain_s=0.2))
        try:
            await services.store.set_clock(_mapped(change - BEFORE - timedelta(seconds=10 * speed / SPEED), speed))
            await _answer(services, staff[1][0], "Kit")
            yield _House(
                services, f"http://127.0.0.1:{settings.port}", room, robin.token, wren.token,
                staff[0][0], staff[1][0], change,
            )  # fmt: skip
        finally:
            stop.set()
            await serving
            listener.close()


async def _answer(services: Services, account: str, name: str) -> None:
    """Somebody says before their shift that they are there."""
    await look_ahead(services)
    (asked,) = await services.store.read(lambda conn: open_checks(conn, account))
    await answer(services, Requester(account, name, Role.MODERATOR, ""), new_id(), asked.id, new_id())


def _mapped(now: datetime, speed: float) -> ClockMapping:
    """A clock that says `now` now, and goes on at `speed`."""
    real = real_us()
    return ClockMapping(origin_us=real, offset_us=to_us(now) - real, speed=speed)


@dataclass(frozen=True, slots=True)
class _Call:
    subject: str
    audience: str
    recipient: str
    elapsed: timedelta


def _ladders(conn: Connection) -> list[_Call]:
    """Every call of the night: for whom, to whom, and how long after its duty began."""
    rows = conn.execute(
        select(
            review_case.c.subject, notice.c.audience, notice.c.recipient, notice.c.attempted_at, review_case.c.opened_at
        )
        .join(review_case, review_case.c.id == notice.c.case)
        .where(notice.c.attempted_at.is_not(None), notice.c.channel == "page")
        .order_by(notice.c.attempted_at)
    )
    return [_Call(row.subject, row.audience, row.recipient, row.attempted_at - row.opened_at) for row in rows]


def _judge_ladders(campaign: ClockCampaign, name: str, calls: Sequence[_Call], house: _House) -> None:
    """Each rung of the ladder that spans the change came when it should, to those who were on duty by then."""
    ladder = LadderPolicy.load().ladder_for(Side.COMMUNITY, Level.URGENT)
    campaign.nights[name] = len(calls)
    campaign.night_late_s[name] = 0.0
    spanning, later = [*dict.fromkeys(call.subject for call in calls), "", ""][:2]
    for rung in ladder.rungs:
        called = [call.elapsed for call in calls if call.subject == spanning and call.audience == rung.audience]
        late = min(called, default=timedelta.max) - rung.after
        if not timedelta(0) <= late <= LATE:
            campaign.violations.append(Violation("timer", f"{name}: {rung.audience} {late.total_seconds():.1f} s late"))
        else:
            campaign.night_late_s[name] = max(campaign.night_late_s[name], late.total_seconds())
    on_duty = {
        spanning: {house.first},
        later: {house.second},
    }
    for call in calls:
        if (
            call.audience in ("on_call_moderator", "moderators_on_shift")
            and call.recipient not in on_duty[call.subject]
        ):
            campaign.violations.append(Violation("shift", f"{name}: {call.audience} after {call.elapsed}"))


async def _judge_pages(campaign: ClockCampaign, house: _House) -> None:
    """The room's page shows what a clock on a wall in London showed."""
    page = f"/rooms/{house.room.partition(':')[2]}"
    status, html = await asyncio.to_thread(
        asked, house.url, page, within_s=10.0, headers={"cookie": f"evenkeel={house.robin}"}
    )
    shown = _TIMES.findall(html.decode())
    campaign.times_shown += len(shown)
    sides = set()
    for iso, clock in shown:
        at = datetime.fromisoformat(iso)
        # The rule itself, rather than a table of zones: an hour ahead in summer.
        is_summer = (at >= house.change) == (house.change.month == 3)
        wall = at + timedelta(hours=1 if is_summer else 0)
        sides.add(at >= house.change)
        if clock != f"{wall.day} {wall:%b, %H:%M}":
            campaign.violations.append(Violation("shown", f"{iso} as {clock}"))
    if status != 200 or sides != {False, True}:
        campaign.violations.append(Violation("shown", f"status {status}, {len(shown)} times, not on both sides"))
