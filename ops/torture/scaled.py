"""Faults under load on three servers over one PostgreSQL and one Redis: what the campaigns of several processes share.

People sit on all servers and talk while faults come one after the other: in one room on all of them, in the other on
one only, while those on the others listen. Who talks soon learns of what their server has not heard; who listens does
not. A fault is put right before the next one comes; at the end nothing new is sent, everything is seen through, and the
judge (`ops.torture.history`) compares what everybody was told with the database.

Moments are of `time.monotonic`.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ops.setup.postgres import PostgresServer, running_postgres
from ops.setup.redis import RedisServer, running_redis
from ops.torture.clients import Chatter, Moderator
from ops.torture.cluster import Cluster
from ops.torture.history import Stored, Violation, outcome
from ops.torture.people import CONNECT_S, People, calls_made, times_called
from ops.torture.service import read_lines
from ops.trial import Trial, make_trial
from server.main import derive
from server.settings import read_key

SERVERS: Final = 3
ROOMS: Final = 2
PER_ROOM: Final = 6
URGENT_SHARE: Final = 0.15
SETTLE_S: Final = 60.0
BETWEEN_S: Final = (0.3, 1.5)
# A call that was under way when a fault came may be made again: nobody can know whether it went out.
UNDER_WAY_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Outage:
    """One fault: from `began` until `back` (put right); `whole` again a while later, or at once."""

    kind: str
    began: float
    back: float
    whole: float


@dataclass
class ScaledCampaign:
    """What was done and what came of it; times of the figures in milliseconds.

    Attributes:
        calls: calls by the outside channel, by how often each was made.
    """

    name: str
    seed: int
    outages: list[Outage] = field(default_factory=list)
    sent: int = 0
    acknowledged: int = 0
    told: int = 0
    flagged: int = 0
    calls: Counter[int] = field(default_factory=Counter)
    delivered_quiet: list[float] = field(default_factory=list)
    delivered_outage: list[float] = field(default_factory=list)
    duration_s: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """The campaign as plain values."""
        whole = [(outage.whole - outage.back) * 1000 for outage in self.outages]
        return {
            "campaign": self.name,
            "seed": self.seed,
            "faults": dict(Counter(outage.kind for outage in self.outages)),
            "sent": self.sent,
            "acknowledged": self.acknowledged,
            "told": self.told,
            "flagged": self.flagged,
            "calls": sum(self.calls.values()),
            "calls_made_again": sum(count for times, count in self.calls.items() if times > 1),
            "delivered_in_outage": len(self.delivered_outage),
            "delivery_ms_p50": share(self.delivered_quiet, 0.5),
            "delivery_ms_p99": share(self.delivered_quiet, 0.99),
            "delivery_in_outage_ms_p99": share(self.delivered_outage, 0.99),
            "delivery_in_outage_ms_max": share(self.delivered_outage, 1.0),
            "whole_again_ms_p50": share(whole, 0.5),
            "whole_again_ms_max": share(whole, 1.0),
            "duration_s": round(self.duration_s, 1),
            **outcome(self.violations),
        }


def share(values: Sequence[float], part: float) -> int | None:
    """The value that `part` of all do not exceed, rounded; None of none."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * part))]) if ordered else None


class Scene(People):
    """Three servers under load, and what they stand on, for a fault to act upon."""

    def __init__(self, trial: Trial, cluster: Cluster, postgres: PostgresServer, redis: RedisServer, seed: int) -> None:
        self.cluster, self.postgres, self.redis = cluster, postgres, redis
        self.rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be kept secret
        key = read_key(Path(trial.environ["EVENKEEL_KEY_FILE"]))
        self._channel = f"evenkeel:{derive(key, 'bus channel').hex()[:32]}"
        urls = cluster.urls
        mixed, one_way = trial.rooms
        chatters = [
            Chatter(urls[n % SERVERS], person, mixed, self._dice(), URGENT_SHARE)
            for n, person in enumerate(trial.members[0])
        ] + [
            Chatter(urls[n % SERVERS], person, one_way, self._dice(), URGENT_SHARE, talks=n % SERVERS == 0)
            for n, person in enumerate(trial.members[1])
        ]
        moderators = [Moderator(urls[n % len(urls)], person, self._dice()) for n, person in enumerate(trial.moderators)]
        super().__init__(trial, chatters, moderators, settle_s=SETTLE_S)

    def _dice(self) -> random.Random:
        return random.Random(self.rng.getrandbits(64))  # noqa: S311

    async def until_ready(self, within_s: float) -> None:
        """Wait until every server says that it is ready. Raises TimeoutError."""
        await asyncio.gather(*(self.cluster.until_ready(n, within_s=within_s) for n in range(SERVERS)))

    async def until_heard(self, within_s: float) -> None:
        """Wait until Redis says that every server listens, and every server that it hears. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while not await self._all_listen():  # noqa: ASYNC110 - Redis is asked; nobody could set an event
                await asyncio.sleep(0.05)
        await self.until_ready(within_s)

    async def _all_listen(self) -> bool:
        # What is not ours is passed over by who hears it; the answer is how many did.
        heard = await asyncio.to_thread(self.redis.command, f"PUBLISH {self._channel} -")
        return heard == f":{SERVERS}".encode()


Fault = Callable[[Scene], Awaitable[Outage]]


async def run_scaled(
    name: str,
    folder: Path,
    plan: Sequence[str],
    faults: Mapping[str, Fault],
    *,
    seed: int,
    progress: Callable[[int, str], None] = lambda done, what: None,
) -> ScaledCampaign:
    """Carry out the faults of `plan`, one after the other, and judge what is left."""
    campaign = ScaledCampaign(name, seed)
    began = time.monotonic()
    with running_postgres(own=True) as postgres, running_redis() as redis:
        trial = await make_trial(folder, postgres.create_database(), rooms=ROOMS, per_room=PER_ROOM, moderators=2)
        async with (
            Cluster(SERVERS, {**trial.environ, "REDIS_URL": redis.url}, folder) as cluster,
            Scene(trial, cluster, postgres, redis, seed) as scene,
        ):
            for done, kind in enumerate(plan, 1):
                await asyncio.sleep(scene.rng.uniform(*BETWEEN_S))
                campaign.outages.append(await faults[kind](scene))
                progress(done, kind)
            stored = await scene.settle()
            _judge(campaign, scene, stored)
    campaign.duration_s = time.monotonic() - began
    return campaign


def shuffled(kinds: Sequence[str], count: int, seed: int) -> list[str]:
    """`count` faults in which each kind takes its turn, in an order of chance."""
    plan = [kinds[n % len(kinds)] for n in range(count)]
    random.Random(seed).shuffle(plan)  # noqa: S311
    return plan


def _judge(campaign: ScaledCampaign, scene: Scene, stored: Stored) -> None:
    members = [chatter.log for chatter in scene.chatters]
    campaign.sent = sum(len(log.sent) for log in members)
    campaign.acknowledged = sum(len(log.acks) for log in members)
    campaign.told = sum(len(log.told) for log in members)
    campaign.flagged = sum(row.flagged for row in stored.messages.values())
    campaign.violations = scene.judge(stored)
    answered = {(ack[0].feed, ack[0].seq): log.answered[named] for log in members for named, ack in log.acks.items()}
    for log in members:
        for told in log.told:
            at = answered.get((log.feed, told.of))
            if at is not None:
                spent_ms = max(told.at - at, 0.0) * 1000
                hit = any(outage.began <= at <= outage.whole for outage in campaign.outages)
                (campaign.delivered_outage if hit else campaign.delivered_quiet).append(spent_ms)
    made = calls_made(read_lines(scene.cluster.log))
    campaign.calls = times_called(made)
    to_monotonic = time.monotonic() - time.time()
    for notice, moments in made.items():
        for first in (moment + to_monotonic for moment in moments[:-1]):
            # The same call again, though nothing was wrong when it was made.
            if not any(outage.began - UNDER_WAY_S <= first <= outage.whole for outage in campaign.outages):
                campaign.violations.append(Violation("twice", notice))


# --- faults -----------------------------------------------------------------------------------------------------------


async def kill_server(scene: Scene) -> Outage:
    """Kill a server (-9) and start it again on its port."""
    n = scene.rng.randrange(SERVERS)
    began = time.monotonic()
    await scene.cluster.kill(n)
    scene.cluster.start(n)
    back = time.monotonic()
    await scene.cluster.until_ready(n)
    return Outage("server", began, back, time.monotonic())


async def crash_postgres(scene: Scene) -> Outage:
    """End PostgreSQL at once and start it again on its data."""
    postmaster = scene.postgres.postmaster
    if postmaster is None:
        raise RuntimeError("this PostgreSQL is not ours to stop")
    began = time.monotonic()
    await asyncio.to_thread(postmaster.crash)
    await asyncio.sleep(scene.rng.uniform(0.0, 1.0))
    postmaster.spawn()
    await asyncio.to_thread(postmaster.until_ready)
    back = time.monotonic()
    await scene.until_ready(CONNECT_S)
    if not await scene.until_answered(back, CONNECT_S):
        raise TimeoutError("not everybody was answered again")
    return Outage("postgres", began, back, time.monotonic())


async def kill_redis(scene: Scene) -> Outage:
    """Kill Redis, and start it again, empty, some seconds later."""
    began = time.monotonic()
    scene.redis.stop()
    await asyncio.sleep(scene.rng.uniform(0.5, 8.0))
    scene.redis.start()
    return await _until_heard(scene, "redis killed", began)


async def pause_redis(scene: Scene) -> Outage:
    """Let Redis take what it is told and answer nothing, for some seconds."""
    began = time.monotonic()
    scene.redis.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(scene.rng.uniform(0.5, 12.0))
    finally:
        scene.redis.signal(signal.SIGCONT)
    return await _until_heard(scene, "redis paused", began)


async def cut_redis(scene: Scene) -> Outage:
    """Let Redis cut every subscription, again and again for a second."""
    began = time.monotonic()
    for _ in range(10):
        await asyncio.to_thread(scene.redis.command, "CLIENT KILL TYPE pubsub")
        await asyncio.sleep(0.1)
    return await _until_heard(scene, "redis cut", began)


async def _until_heard(scene: Scene, kind: str, began: float) -> Outage:
    back = time.monotonic()
    await scene.until_heard(CONNECT_S)
    return Outage(kind, began, back, time.monotonic())
