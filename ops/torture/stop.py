"""`evenkeel torture stop`: each part that keeps people safe stands still in turn; something else must say so.

A real service (a supervisor with three workers, PostgreSQL, Redis, a service manager that listens, `evenkeel watch`
beside it) under people who talk. One process at a time is stopped by SIGSTOP: it is there, holds what it holds, and
does nothing, which is harder to notice than its death. Promised: within a minute somebody other than the stopped part
has raised it; the duty to call people passes to another process within ten seconds; calls go on wherever there is a
database to read; the watch shows its own silence; and nothing that was acknowledged is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, select, text

from ops.doctor import look
from ops.setup.postgres import PostgresServer, running_postgres
from ops.setup.redis import RedisServer, running_redis
from ops.torture.history import Violation, outcome
from ops.torture.people import People, calls_made, everybody, times_called
from ops.torture.service import RunningService, asked, read_lines, running_service
from ops.trial import make_trial
from server.jobs.lease import JOBS
from server.store.schema import lease

WORKERS: Final = 3
RAISED_S: Final = 60.0
LEASE_S: Final = 10.0
# As the systemd unit has it (WatchdogSec), and three looks of the watch that did not come.
MANAGER_S: Final = 30.0
BEAT_S: Final = 15.0
WELL_S: Final = 60.0
LOOKS_S: Final = 6.0
# A call that was under way when its process stopped may be made again.
UNDER_WAY_S: Final = 2.0
WATCH_TOKEN: Final = "of the watch of a campaign"  # noqa: S105 - of a database that is thrown away
BEAT_FILE: Final = "watch.beat"

# What the supervisor raises as the same trouble stands apart, so that each is raised for itself.
KINDS: Final = ("holder", "postgres", "worker", "postmaster", "redis", "backend", "supervisor", "watch")
# Without its database nobody can be called; that is what makes these three loud.
_CALLS_GO_ON: Final = frozenset({"holder", "worker", "supervisor", "redis", "watch"})
_SAID: Final[dict[str, tuple[str, ...]]] = {
    "holder": ("worker_stalled",),
    "worker": ("worker_stalled",),
    "supervisor": ("supervisor_silent",),
    "redis": ("bus_deaf",),
    "watch": (),
    "postgres": ("database_out_of_sight",),
    "postmaster": ("database_out_of_sight",),
    "backend": ("command_timeout", "writer_disconnected", "unit_failed"),
}
_WATCH_SAYS: Final = ("service_unready", "service_silent", "obligation_overdue")


@dataclass(frozen=True, slots=True)
class Stop:
    """One part that stood still.

    Attributes:
        by, what, raised_s: who raised it, by which event, how long after; "" and None: nobody did.
        lease_s: until another process had the duty to call; None: it was not the holder's.
        calls: how many people were called by the outside channel from the stop until all was well.
        began, whole: seconds since 1970.
    """

    kind: str
    by: str
    what: str
    raised_s: float | None
    lease_s: float | None
    calls: int
    began: float
    whole: float


@dataclass
class StopCampaign:
    """What was done and what came of it."""

    seed: int
    stops: list[Stop] = field(default_factory=list)
    sent: int = 0
    acknowledged: int = 0
    calls: Counter[int] = field(default_factory=Counter)
    duration_s: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """The campaign as plain values."""
        raised: dict[str, list[str]] = {}
        for stop in self.stops:
            after = "never" if stop.raised_s is None else f"{stop.raised_s:.1f} s by the {stop.by} ({stop.what})"
            raised.setdefault(stop.kind, []).append(after)
        taken = [stop.lease_s for stop in self.stops if stop.lease_s is not None]
        return {
            "campaign": "stop",
            "seed": self.seed,
            "faults": dict(Counter(stop.kind for stop in self.stops)),
            "raised_after": {kind: "; ".join(each) for kind, each in raised.items()},
            "lease_taken_over_s_max": round(max(taken), 1) if taken else None,
            "calls_during": dict(Counter({stop.kind: 0 for stop in self.stops}) + _sum(self.stops)),
            "sent": self.sent,
            "acknowledged": self.acknowledged,
            "calls": sum(self.calls.values()),
            "calls_made_again": sum(count for times, count in self.calls.items() if times > 1),
            "duration_s": round(self.duration_s, 1),
            **outcome(self.violations),
        }


def _sum(stops: Sequence[Stop]) -> Counter[str]:
    found: Counter[str] = Counter()
    for stop in stops:
        found[stop.kind] += stop.calls
    return found


async def run_stops(
    folder: Path,
    *,
    stops: int,
    seed: int,
    kinds: Sequence[str] = KINDS,
    progress: Callable[[int, str], None] = lambda done, what: None,
) -> StopCampaign:
    """Stop parts in turn, each kind once before any comes again, and judge what is left."""
    rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be kept secret
    campaign = StopCampaign(seed)
    began = time.monotonic()
    with running_postgres(own=True) as postgres, running_redis() as redis, _manager(folder) as manager:
        trial = await make_trial(folder, postgres.create_database(), rooms=2, per_room=4, moderators=2)
        environ = {
            **trial.environ,
            "REDIS_URL": redis.url,
            "EVENKEEL_WORKERS": str(WORKERS),
            "EVENKEEL_WATCH_TOKEN": WATCH_TOKEN,
            "NOTIFY_SOCKET": str(manager.address),
        }
        with running_service(folder, environ) as service:
            await service.until_serving(WORKERS)
            with _watching(folder, service.url) as watch:
                async with everybody(trial, service.url, rng) as people:
                    scene = _Scene(service, postgres, redis, manager, watch, people, rng)
                    await scene.until_well()
                    for done in range(stops):
                        kind = kinds[done % len(kinds)]
                        campaign.stops.append(await scene.stop(kind))
                        progress(done + 1, kind)
                    stored = await people.settle()
                    campaign.sent, campaign.acknowledged = people.sent, people.acknowledged
                    campaign.violations = people.judge(stored)
            calls = calls_made(service.lines("person_called"))
            campaign.calls = times_called(calls)
            campaign.violations += _judge(campaign.stops, calls)
            await service.stop()
    campaign.duration_s = time.monotonic() - began
    return campaign


def _judge(stops: Sequence[Stop], calls: dict[str, list[float]]) -> list[Violation]:
    found = []
    for stop in stops:
        if stop.raised_s is None or stop.raised_s > RAISED_S:
            found.append(Violation("silence", f"{stop.kind}: raised after {stop.raised_s} s"))
        if stop.kind == "holder" and (stop.lease_s is None or stop.lease_s > LEASE_S):
            found.append(Violation("lease", f"taken over after {stop.lease_s} s"))
        if stop.kind in _CALLS_GO_ON and not stop.calls:
            found.append(Violation("call", f"{stop.kind}: nobody was called while it stood still"))
        if not stop.whole:
            found.append(Violation("stuck", f"{stop.kind}: not everybody was answered within {WELL_S} s"))
    for notice, moments in calls.items():
        for first in moments[:-1]:
            if not any(stop.began - UNDER_WAY_S <= first <= (stop.whole or first) for stop in stops):
                found.append(Violation("twice", notice))
    return found


@dataclass(frozen=True)
class _Scene:
    """All that can be stopped."""

    service: RunningService
    postgres: PostgresServer
    redis: RedisServer
    manager: _Manager
    watch: _Watching
    people: People
    rng: random.Random

    async def stop(self, kind: str) -> Stop:
        """Stop it, wait until somebody has raised it, let it go on, and wait until all is well."""
        holder = await self._holder()
        pids = await self._pids(kind, holder)
        began, lease_s = time.time(), None
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        by = what = ""
        raised_s: float | None = None
        try:
            while time.time() - began < RAISED_S and (raised_s is None or (kind == "holder" and lease_s is None)):
                await asyncio.sleep(0.1)
                if kind == "holder" and lease_s is None and await self._holder() != holder:
                    lease_s = time.time() - began
                if raised_s is None:
                    raised = self._raised(kind, began)
                    if raised is not None:
                        by, what, at = raised
                        raised_s = at - began
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        well = await self.until_well()
        # The supervisor and the watch have looked again: what was raised is over for them too.
        await asyncio.sleep(LOOKS_S)
        calls = len(self.service.lines("person_called", began))
        return Stop(kind, by, what, raised_s, lease_s, calls, began, time.time() if well else 0.0)

    def _raised(self, kind: str, since: float) -> tuple[str, str, float] | None:
        """Who has raised it first, by what, and when; None: nobody yet."""
        found = [
            ("supervisor" if "at" in line else "workers", event, line["said_at"])
            for event in _SAID[kind]
            for line in self.service.lines(event, since)
        ]
        if kind != "watch":
            found += [("watch", line["event"], line["said_at"]) for line in self.watch.said(_WATCH_SAYS, since)]
        if kind == "supervisor" and time.time() - self.manager.heard_at > MANAGER_S:
            found.append(("service manager", "no WATCHDOG", self.manager.heard_at + MANAGER_S))
        if kind == "watch" and time.time() - self.watch.beaten_at > BEAT_S:
            found.append(("beat file", "untouched", self.watch.beaten_at + BEAT_S))
        return min(found, key=lambda one: one[2], default=None)

    async def _pids(self, kind: str, holder: int | None) -> list[int]:
        """The processes of a part."""
        workers = self.service.workers
        postmaster = self.postgres.postmaster
        if postmaster is None or postmaster.pid is None:
            raise RuntimeError("this PostgreSQL is not ours to stop")
        match kind:
            case "holder":
                return [workers[holder or 0]]
            case "worker":
                return [workers[self.rng.choice([n for n in workers if n != holder])]]
            case "supervisor":
                return [self.service.pid]
            case "redis":
                return [self.redis.pid]
            case "watch":
                return [self.watch.pid]
            case "postmaster":
                return [postmaster.pid]
            case "postgres":
                return [postmaster.pid, *_children(postmaster.pid)]
            case _:
                return [self.rng.choice(await look(self.people.settings, _writers))]

    async def _holder(self) -> int | None:
        """In which place the process is that holds the lease of the jobs, by the row."""
        row = select(lease.c.holder).where(lease.c.name == JOBS)
        holder = await look(self.people.settings, lambda conn: conn.execute(row).scalar_one_or_none())
        return int(holder.rpartition("-")[2]) if holder else None

    async def until_well(self) -> bool:
        """Wait until every place has a worker, the service says that it is ready, and everybody was answered."""
        since, until = time.monotonic(), time.monotonic() + WELL_S
        well = 0
        while well < WORKERS:
            status, _ = await asyncio.to_thread(asked, self.service.url, "/readyz")
            alive = all(_is_alive(pid) for pid in self.service.workers.values())
            well = well + 1 if status == 200 and alive else 0
            if time.monotonic() > until:
                return False
            await asyncio.sleep(0.1)
        return await self.people.until_answered(since, WELL_S)


def _writers(conn: Connection) -> list[int]:
    """The server processes in which a worker writes: their last statement was a COMMIT."""
    asks = text(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND query ILIKE 'commit%' ORDER BY pid"
    )
    return list(conn.execute(asks).scalars())


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


# --- who listens ------------------------------------------------------------------------------------------------------


class _Manager:
    """A service manager: hears the supervisor's signs of life, as systemd does."""

    def __init__(self, address: Path) -> None:
        self.address = address
        self.heard_at = time.time()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(address))
        threading.Thread(target=self._hear, name="manager", daemon=True).start()

    def _hear(self) -> None:
        with contextlib.suppress(OSError):
            while self._socket.recv(256):
                self.heard_at = time.time()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@contextlib.contextmanager
def _manager(folder: Path) -> Iterator[_Manager]:
    manager = _Manager(folder / "notify")
    try:
        yield manager
    finally:
        manager.close()


class _Watching:
    """`evenkeel watch`, as it runs on another machine."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.pid = process.pid
        self._log, self._beat = folder / "watch.log", folder / BEAT_FILE

    @property
    def beaten_at(self) -> float:
        """When it last showed that it lives, in seconds since 1970."""
        return self._beat.stat().st_mtime if self._beat.exists() else time.time()

    def said(self, events: Sequence[str], since: float) -> list[dict[str, Any]]:
        return [line for line in read_lines(self._log) if line["event"] in events and line["said_at"] >= since]


@contextlib.contextmanager
def _watching(folder: Path, url: str) -> Iterator[_Watching]:
    with (folder / "watch.log").open("wb") as sink:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "ops.cli", "watch", url, f"--beat-file={folder / BEAT_FILE}"],
            env={**os.environ, "EVENKEEL_WATCH_TOKEN": WATCH_TOKEN},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        )
    try:
        yield _Watching(process, folder)
    finally:
        process.kill()
        process.wait()
