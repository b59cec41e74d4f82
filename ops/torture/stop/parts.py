"""The parts that can be stopped: which processes each is, how it is stopped and goes on, and who says so meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select, text

from ops.doctor import look
from ops.setup.postgres import PostgresServer
from ops.setup.redis import RedisServer
from ops.torture.people import People
from ops.torture.service import RunningService, asked
from ops.torture.stop.listeners import Manager, Watching
from server.jobs.lease import JOBS
from server.store.schema import lease

WORKERS: Final = 3
RAISED_S: Final = 60.0
# As the systemd unit has it (WatchdogSec), and three looks of the watch that did not come.
MANAGER_S: Final = 30.0
BEAT_S: Final = 15.0
WELL_S: Final = 60.0
LOOKS_S: Final = 6.0
# What the supervisor raises as the same trouble stands apart, so that each is raised for itself.
KINDS: Final = ("holder", "postgres", "worker", "postmaster", "redis", "backend", "supervisor", "watch")
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


@dataclass(frozen=True)
class Scene:
    """All that can be stopped."""

    service: RunningService
    postgres: PostgresServer
    redis: RedisServer
    manager: Manager
    watch: Watching
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
