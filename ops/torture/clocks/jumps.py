"""Three servers under people who talk, ladders running, while clocks jump: the database's, or that of one process.

Looked at a few seconds after each jump: the numbers that count time, and how long anybody is made to wait. At the end:
that each call was planned once for each rung, and made once.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, func, select

from moderation.types import Level
from ops.doctor import look
from ops.setup.postgres import running_postgres
from ops.setup.redis import running_redis
from ops.torture.clocks.figures import ClockCampaign
from ops.torture.cluster import Cluster
from ops.torture.history import Violation
from ops.torture.people import calls_made, times_called
from ops.torture.scaled import SERVERS, Scene
from ops.torture.service import asked, read_lines
from ops.torture.skew import SKEWS, Skew
from ops.trial import make_trial
from server.clock import ClockMapping, from_us, real_us
from server.settings import read_key
from server.store.cases import ACKNOWLEDGED, RUNNING
from server.store.schema import lease, notice, obligation, review_case
from server.store.store import Store, open_store, read_mapping

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
_NUMBER: Final = re.compile(r"^(evenkeel_\w*seconds\w*)(?:\{[^}]*\})? (-?[0-9.e+-]+)$", re.MULTILINE)


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
