"""`evenkeel torture restart`: restart three servers in turn while people talk; nobody may notice more than a moment.

The servers stand behind a small balancer that asks each whether it is ready, as the proxy of a real service does. An
urgent case is open all the time and nobody takes it: each rung has to be called when it is due, whoever restarts.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from sqlalchemy import Connection, select

from clients.sdk.client import Client, LinkChange, LinkState
from clients.sdk.connection import Timing
from moderation.ladders import LadderPolicy, Side
from moderation.types import Level
from ops.doctor import look
from ops.torture.clients import Chatter
from ops.torture.cluster import Cluster
from ops.torture.conditions import raise_open_files
from ops.torture.history import Violation, judge, outcome, read_stored
from ops.trial import Trial, TrialPerson, make_trial
from server.main import DRAIN_S
from server.settings import Settings, load_settings
from server.store.schema import case_history, obligation

SERVERS: Final = 3
PER_ROOM: Final = 20
TOGETHER: Final = 50
# Between two messages of one person: what is tested here is coming back, not load, and all clients share a process with
# the balancer. With 10 s away was 3.1 s (p50) of a thousand people, with 30 s 1.9 s.
REST_S: Final = 30.0
OFFLINE_S: Final = 5.0
# No half second may see more than so many times the connections of an even spread over the drain.
CROWD: Final = 3.0
BIN_S: Final = 0.5
SPREAD_S: Final = DRAIN_S / 2
# Fewer returns say nothing of a spread.
FEWEST: Final = 20
# A client whose connection has not lasted for half a minute waits longer before it comes back: a planned restart of
# several servers gives it that time (PROTOCOL.md, section 5).
PAUSE_S: Final = 35.0
# Whoever holds the lease next does so within ten seconds, and within two where it was handed over.
RUNG_LATE_S: Final = 10.0
SETTLE_S: Final = 30.0
HEALTH_EVERY_S: Final = 0.2
_CHUNK: Final = 1 << 16


@dataclass
class Restarts:
    """What was done and what came of it.

    Attributes:
        offline_s: how long somebody was without a connection, each time that they were.
        returns: when each connection came back, by server that was restarted; seconds since it was told to stop.
        rungs_late_s: by how much each rung of the open case was called after its time.
        left: exit status of each server that was stopped.
    """

    people: int
    sent: int = 0
    acknowledged: int = 0
    offline_s: list[float] = field(default_factory=list)
    returns: list[list[float]] = field(default_factory=list)
    rungs_late_s: list[float] = field(default_factory=list)
    left: list[int | None] = field(default_factory=list)
    duration_s: float = 0.0
    violations: list[Violation] = field(default_factory=list)
    _told_at: float = 0.0

    def begin(self, now: float) -> None:
        """The next server is told to stop now."""
        self.returns.append([])
        self._told_at = now

    def came_back(self, now: float) -> None:
        """Somebody is connected again."""
        if self.returns:
            self.returns[-1].append(now - self._told_at)

    @property
    def crowd(self) -> float:
        """The fullest half second of any restart, against an even spread over the time in which a drain sends away."""
        worst = 0.0
        for moments in self.returns:
            if len(moments) < FEWEST:
                continue
            bins = Counter(int(moment / BIN_S) for moment in moments)
            worst = max(worst, max(bins.values()) / (len(moments) * BIN_S / SPREAD_S))
        return worst

    def facts(self) -> dict[str, Any]:
        """The campaign as plain values."""
        offline = sorted(self.offline_s)
        p99 = offline[int(len(offline) * 0.99)] if offline else 0.0
        goals = {
            "lost": len(self.violations) == 0 and self.acknowledged == self.sent,
            "offline": p99 <= OFFLINE_S,
            "spread": self.crowd <= CROWD,
            "rungs": len(self.rungs_late_s) > 1 and max(self.rungs_late_s) <= RUNG_LATE_S,
            "stopped": all(status == 0 for status in self.left),
        }
        return {
            "people": self.people,
            "restarts": len(self.left),
            "sent": self.sent,
            "acknowledged": self.acknowledged,
            "came_back": len(offline),
            "offline_s_p50": round(offline[len(offline) // 2], 2) if offline else None,
            "offline_s_p99": round(p99, 2),
            "crowd": round(self.crowd, 2),
            "returns_s": [[round(min(m), 1), round(max(m), 1)] for m in self.returns if m],
            "rungs_late_s": [round(late, 1) for late in self.rungs_late_s],
            "duration_s": round(self.duration_s, 1),
            **outcome(self.violations),
            "kept": goals,
            "ok": all(goals.values()),
        }


class Balancer:
    """One address for several servers: deals connections out in turn to those that say they are ready."""

    def __init__(self) -> None:
        self.url = ""
        self._ready: list[str] = []
        self._turn = itertools.count()
        self._server: asyncio.Server | None = None
        self._pipes: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._pipes):
            task.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    async def keep_looking(self, cluster: Cluster) -> None:
        """Ask each server whether it is ready, until cancelled."""
        while True:
            answers = await asyncio.gather(*(cluster.is_ready(n) for n in range(len(cluster.urls))))
            self._ready = [url for url, ready in zip(cluster.urls, answers, strict=True) if ready]
            await asyncio.sleep(HEALTH_EVERY_S)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._pipes.add(task)
            task.add_done_callback(self._pipes.discard)
        if not self._ready:
            writer.close()
            return
        port = int(self._ready[next(self._turn) % len(self._ready)].rpartition(":")[2])
        try:
            there, back = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        try:
            await asyncio.gather(_pump(reader, back), _pump(there, writer))
        finally:
            writer.close()
            back.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while part := await source.read(_CHUNK):
            sink.write(part)
            await sink.drain()
    with contextlib.suppress(OSError):
        sink.close()


class _Person:
    """A member who talks, and when they were away."""

    def __init__(self, url: str, person: TrialPerson, room: str, rng: random.Random, campaign: Restarts) -> None:
        self.chatter = Chatter(url, person, room, rng, 0.0, rest_s=REST_S, timing=Timing(), on_link=self._link)
        self._campaign = campaign
        self._down_at: float | None = None

    def _link(self, change: LinkChange) -> None:
        now = time.monotonic()
        if change.state is LinkState.DOWN and self._down_at is None:
            self._down_at = now
        elif change.state is LinkState.UP and self._down_at is not None:
            self._campaign.offline_s.append(now - self._down_at)
            self._down_at = None
            self._campaign.came_back(now)


async def run_restarts(
    folder: Path,
    database_url: str,
    redis_url: str,
    *,
    people: int,
    seed: int,
    pause_s: float = PAUSE_S,
    progress: Callable[[str], None] = lambda line: None,
) -> Restarts:
    """Restart each of three servers over an empty PostgreSQL database once, with `people` connected.

    Args:
        pause_s: between two restarts.
    """
    raise_open_files()
    rng = random.Random(seed)  # noqa: S311 - chosen at random, to be repeated, not to be kept secret
    began = time.monotonic()
    rooms = max(1, people // PER_ROOM)
    trial = await make_trial(folder, database_url, rooms=rooms, per_room=people // rooms, moderators=1)
    settings = load_settings(database_url=database_url, kind=trial.environ["EVENKEEL_KIND"])
    over = asyncio.Event()
    async with Balancer() as balancer:
        cluster = Cluster(SERVERS, {**trial.environ, "REDIS_URL": redis_url}, folder, origins=(balancer.url,))
        campaign = Restarts(people=rooms * (people // rooms))
        async with cluster, asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(balancer.keep_looking(cluster))
            crowd = list(_crowd(balancer.url, trial, rng, campaign))
            for start in range(0, len(crowd), TOGETHER):
                # How many may come at once is for another campaign, and all clients of this one share a process.
                batch = crowd[start : start + TOGETHER]
                for someone in batch:
                    tasks.create_task(someone.chatter.run(over))
                await asyncio.gather(*(someone.chatter.connected.wait() for someone in batch))
            progress(f"{len(crowd)} people are connected")
            async with Client(balancer.url, token=trial.members[0][0].token) as asking:
                await asking.help()
            for n in range(SERVERS):
                told_at = time.monotonic()
                campaign.begin(told_at)
                campaign.left.append(await cluster.stop(n))
                cluster.start(n)
                await cluster.until_ready(n)
                progress(f"server {n + 1} of {SERVERS} restarted after {time.monotonic() - told_at:.1f} s")
                if n + 1 < SERVERS:
                    await asyncio.sleep(pause_s)
            await _settle(crowd, settings)
            over.set()
            looking.cancel()
    await _judge(campaign, crowd, settings)
    campaign.duration_s = time.monotonic() - began
    return campaign


def _crowd(url: str, trial: Trial, rng: random.Random, campaign: Restarts) -> Iterator[_Person]:
    for room, people in zip(trial.rooms, trial.members, strict=True):
        for person in people:
            yield _Person(url, person, room, random.Random(rng.getrandbits(64)), campaign)  # noqa: S311


async def _settle(crowd: list[_Person], settings: Settings) -> None:
    """Nothing new is sent; wait until what was sent is answered and read by everybody."""
    for someone in crowd:
        someone.chatter.stop()
    logs = [someone.chatter.log for someone in crowd]
    deadline = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline:
        stored = await look(settings, read_stored)
        answered = all(len(log.acks) == len(log.sent) for log in logs)
        if answered and all(not log.told or log.told[-1].of >= stored.heads[log.feed] for log in logs):
            return
        await asyncio.sleep(0.2)


async def _judge(campaign: Restarts, crowd: list[_Person], settings: Settings) -> None:
    logs = [someone.chatter.log for someone in crowd]
    campaign.sent = sum(len(log.sent) for log in logs)
    campaign.acknowledged = sum(len(log.acks) for log in logs)
    campaign.violations = judge(logs, [], await look(settings, read_stored))
    campaign.rungs_late_s = await look(settings, _rungs_late)


def _rungs_late(conn: Connection) -> list[float]:
    """By how many seconds each rung of the one urgent case was called late, in the order of calling."""
    duty = conn.execute(select(obligation)).one()
    ladder = LadderPolicy.load().ladder_for(Side(duty.side), Level(duty.level))
    called = conn.execute(
        select(case_history.c.at, case_history.c.detail)
        .where(case_history.c.case == duty.case, case_history.c.act.in_(["rung", "nobody"]))
        .order_by(case_history.c.n)
    ).all()
    due = {rung.audience.value: rung.after for rung in ladder.rungs}
    first: dict[str, float] = {}
    for row in called:
        first.setdefault(row.detail, (row.at - duty.opened_at - due[row.detail]).total_seconds())
    return list(first.values())
