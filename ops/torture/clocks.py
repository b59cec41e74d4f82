"""`evenkeel torture clock`: clocks that jump under load, and the two nights in which wall clocks are set.

Jumps: three servers, PostgreSQL and Redis under people who talk, ladders running. The database's clock, by which
everything falls due, or that of one server jumps by an hour, a day, or five seconds back. Promised: no rung is fired
twice and no call made again, nobody waits longer than their ladder says because a clock was set back, no number that
counts time is below zero, and the order of every room is what it was.

Nights: one server on SQLite lives through 28 March and 31 October 2027 in London, faster than in life. Promised: a
ladder that spans the change calls after the seconds that have passed, shifts that were given in London's wall time
change at the right moment, and every page shows the right time.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select

from clients.sdk import Client
from moderation.ladders import LadderPolicy, Side
from moderation.types import Level, Role, RoomKind
from ops.doctor import look
from ops.setup.postgres import running_postgres
from ops.setup.redis import running_redis
from ops.torture.clients import CLEAN, URGENT
from ops.torture.cluster import Cluster
from ops.torture.history import Violation, outcome
from ops.torture.people import calls_made, times_called
from ops.torture.scaled import SERVERS, Scene
from ops.torture.service import asked, read_lines
from ops.torture.skew import SKEWS, Skew
from ops.trial import PASSWORD, make_trial
from server.actions.accounts import Origin, create_staff, register
from server.actions.operating import add_shift
from server.actions.rooms import enter_room, make_room
from server.actions.services import Services
from server.clock import ClockMapping, from_us, real_us, to_us
from server.ids import new_id
from server.main import open_services, serve_edges
from server.settings import load_settings, make_key, read_key
from server.store.cases import ACKNOWLEDGED, RUNNING
from server.store.migrate import TEST, prepare_database
from server.store.schema import lease, notice, obligation, review_case
from server.store.store import Store, open_store, read_mapping
from server.supervisor.listener import bind

JUMPS: Final = {
    "+1 h": timedelta(hours=1),
    "-1 h": timedelta(hours=-1),
    "+1 day": timedelta(days=1),
    "-1 day": timedelta(days=-1),
    "-5 s": timedelta(seconds=-5),
}
WHOSE: Final = ("database", "process")
KINDS: Final = tuple(f"{whose} {jump}" for jump in JUMPS for whose in WHOSE)
PER_ROOM: Final = 6
HELD_S: Final = (3.0, 6.0)
# After a jump, until servers have read the new mapping and looked once.
SEEN_S: Final = 4.0
# As for a holder of the lease that died: by then somebody calls, by the clock as it is now.
GOES_ON_S: Final = 10.0
# A call that was under way at the moment of a jump may be made again: what says who makes it is a time, too.
UNDER_WAY_S: Final = 2.0
# People stay signed in, whatever the clock says: sessions that end are another promise.
SIGNED_IN: Final = {"EVENKEEL_SESSION_IDLE_S": str(14 * 86_400)}
MAY_BE_NEGATIVE: Final = frozenset({"evenkeel_jobs_lease_left_seconds"})
# The longest wait between two calls for one urgent case, and how long whoever took it keeps it (ladders.toml).
URGENT_WAITS: Final = {RUNNING: timedelta(seconds=120), ACKNOWLEDGED: timedelta(seconds=600)}

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
_NUMBER: Final = re.compile(r"^(evenkeel_\w*seconds\w*)(?:\{[^}]*\})? (-?[0-9.e+-]+)$", re.MULTILINE)


@dataclass
class ClockCampaign:
    """What was done and what came of it.

    Attributes:
        backwards: stored moments of one case that stand before those that they follow, as a clock set back leaves them.
        night_late_s: by how much the latest rung of each night was late, in seconds of that night.
    """

    seed: int
    jumps: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    acknowledged: int = 0
    rungs: int = 0
    calls: Counter[int] = field(default_factory=Counter)
    backwards: int = 0
    numbers: int = 0
    nights: dict[str, int] = field(default_factory=dict)
    night_late_s: dict[str, float] = field(default_factory=dict)
    times_shown: int = 0
    duration_s: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """The campaign as plain values."""
        return {
            "campaign": "clock",
            "seed": self.seed,
            "faults": dict(self.jumps),
            "sent": self.sent,
            "acknowledged": self.acknowledged,
            "calls_planned": self.rungs,
            "calls": sum(self.calls.values()),
            "calls_made_again": sum(count for times, count in self.calls.items() if times > 1),
            "numbers_of_seconds_read": self.numbers,
            "moments_before_those_they_follow": self.backwards,
            "calls_in_the_night": self.nights,
            "latest_call_in_the_night_s": {name: round(late, 1) for name, late in self.night_late_s.items()},
            "times_shown": self.times_shown,
            "duration_s": round(self.duration_s, 1),
            **outcome(self.violations),
        }


async def run_clock(
    folder: Path,
    *,
    jumps: int,
    seed: int,
    kinds: Sequence[str] = KINDS,
    progress: Callable[[int, str], None] = lambda done, what: None,
) -> ClockCampaign:
    """Let clocks jump, each kind in turn, then live through both nights; judge each."""
    campaign = ClockCampaign(seed)
    began = time.monotonic()
    rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be kept secret
    plan = [kinds[n % len(kinds)] for n in range(jumps)]
    rng.shuffle(plan)
    await run_jumps(campaign, folder, plan, progress)
    await run_nights(campaign, folder)
    campaign.duration_s = time.monotonic() - began
    return campaign


# --- jumps ------------------------------------------------------------------------------------------------------------


async def run_jumps(
    campaign: ClockCampaign, folder: Path, plan: Sequence[str], progress: Callable[[int, str], None]
) -> None:
    """Carry out the jumps of `plan` under load, set every clock right again, and judge."""
    skews = folder / "skews"
    skews.mkdir()
    with running_postgres(own=True) as postgres, running_redis() as redis:
        trial = await make_trial(folder, postgres.create_database(), rooms=2, per_room=PER_ROOM, moderators=2)
        environ = {**trial.environ, **SIGNED_IN, "REDIS_URL": redis.url, SKEWS: str(skews)}
        store = await open_store(
            environ["DATABASE_URL"], read_key(Path(environ["EVENKEEL_KEY_FILE"])), kind=environ["EVENKEEL_KIND"]
        )
        try:
            async with (
                Cluster(SERVERS, environ, folder) as cluster,
                Scene(trial, cluster, postgres, redis, campaign.seed) as scene,
            ):
                moments: list[float] = []
                for done, kind in enumerate(plan, 1):
                    await _jump(campaign, scene, store, skews, kind, moments)
                    progress(done, kind)
                moments.append(time.time())
                await store.set_clock(ClockMapping())
                stored = await scene.settle()
                campaign.backwards = await look(scene.settings, _backwards)
                campaign.sent = sum(len(chatter.log.sent) for chatter in scene.chatters)
                campaign.acknowledged = sum(len(chatter.log.acks) for chatter in scene.chatters)
                campaign.violations += scene.judge(stored)
                await _judge_calls(campaign, scene, moments)
        finally:
            await store.close()


async def _jump(
    campaign: ClockCampaign, scene: Scene, store: Store, skews: Path, kind: str, moments: list[float]
) -> None:
    """One clock jumps; that of a process is set right again afterwards."""
    whose, _, step = kind.partition(" ")
    campaign.jumps[kind] += 1
    by = JUMPS[step]
    held_s = scene.rng.uniform(*HELD_S)
    # Somebody who says nothing more: a new message would begin their ladder anew, by the clock as it is then.
    await scene.chatters[PER_ROOM + 1].client.help()
    await asyncio.sleep(1.0)
    moments.append(time.time())
    if whose == "database":
        await store.fast_forward(by)
        await asyncio.sleep(SEEN_S)
        await _look_around(campaign, scene, kind)
        await asyncio.sleep(held_s)
        return
    skew = Skew(skews / f"server-{scene.rng.randrange(SERVERS)}")
    skew.microseconds = by // timedelta(microseconds=1)
    try:
        await asyncio.sleep(SEEN_S)
        await _look_around(campaign, scene, kind)
        await asyncio.sleep(held_s)
    finally:
        moments.append(time.time())
        skew.microseconds = 0
    await asyncio.sleep(1.0)


async def _look_around(campaign: ClockCampaign, scene: Scene, kind: str) -> None:
    """What must hold a few seconds after a jump: numbers that count time, and how long anybody is made to wait."""
    for url in scene.cluster.urls:
        status, page = await asyncio.to_thread(asked, url, "/metrics")
        found = _NUMBER.findall(page.decode())
        campaign.numbers += len(found)
        if status != 200 or not found:
            campaign.violations.append(Violation("numbers", f"{kind}: status {status}"))
        campaign.violations += [
            Violation("negative", f"{kind}: {name} {value}")
            for name, value in found
            if float(value) < 0 and name not in MAY_BE_NEGATIVE
        ]
    until = time.monotonic() + GOES_ON_S - SEEN_S
    waits = await look(scene.settings, _waits)
    while waits and time.monotonic() < until:
        await asyncio.sleep(0.2)
        waits = await look(scene.settings, _waits)
    campaign.violations += [Violation("stalled", f"{kind}: {duty} waits {wait_s:.0f} s") for duty, wait_s in waits]
    lease_s = await look(scene.settings, _lease_left_s)
    if not 0 < lease_s < 60:
        campaign.violations.append(Violation("lease", f"{kind}: {lease_s:.0f} s left"))


def _now(conn: Connection) -> datetime:
    """The database's clock of a campaign: the machine's own, mapped as the database says."""
    return from_us(read_mapping(conn).apply(real_us()))


def _waits(conn: Connection) -> list[tuple[str, float]]:
    """Urgent duties whose next call, or whose end of being taken, is further away than any ladder has it."""
    now = _now(conn)
    rows = conn.execute(
        select(obligation.c.id, obligation.c.state, obligation.c.due_at).where(
            obligation.c.state.in_(list(URGENT_WAITS)), obligation.c.level == int(Level.URGENT)
        )
    )
    return [
        (row.id, (row.due_at - now).total_seconds())
        for row in rows
        if row.due_at is not None and row.due_at - now > URGENT_WAITS[row.state] + timedelta(seconds=5)
    ]


def _lease_left_s(conn: Connection) -> float:
    until = conn.execute(select(func.max(lease.c.until)).where(lease.c.name == "jobs")).scalar_one()
    return 0.0 if until is None else float((until - _now(conn)).total_seconds())


def _backwards(conn: Connection) -> int:
    """How many stored moments of cases stand before those that they follow."""
    rows = conn.execute(select(review_case.c.opened_at, review_case.c.raised_at, review_case.c.claimed_at))
    return sum(
        earlier is not None and later is not None and later < earlier
        for row in rows
        for earlier, later in ((row.opened_at, row.raised_at), (row.raised_at, row.claimed_at))
    )


async def _judge_calls(campaign: ClockCampaign, scene: Scene, moments: Sequence[float]) -> None:
    """Each call is planned once for each rung and cycle, and made once but for the moment of a jump."""
    key = (notice.c.obligation, notice.c.cycle, notice.c.rung, notice.c.recipient, notice.c.channel)
    planned = await look(
        scene.settings, lambda conn: conn.execute(select(*key, func.count().label("times")).group_by(*key)).all()
    )
    campaign.rungs = len(planned)
    campaign.violations += [
        Violation("doubled", f"rung {row.rung} of {row.obligation}") for row in planned if row.times > 1
    ]
    made = calls_made(read_lines(scene.cluster.log))
    campaign.calls = times_called(made)
    for call, at in made.items():
        for first in at[:-1]:
            if not any(abs(first - jump) <= UNDER_WAY_S for jump in moments):
                campaign.violations.append(Violation("twice", call))


# --- nights -----------------------------------------------------------------------------------------------------------


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
            await enter_room(services, who.requester, room)
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
            yield _House(
                services, f"http://127.0.0.1:{settings.port}", room, robin.token, wren.token,
                staff[0][0], staff[1][0], change,
            )  # fmt: skip
        finally:
            stop.set()
            await serving
            listener.close()


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
