"""The campaigns by name: what each promises, how long a whole one is, and how it is run. One list for every caller."""

from __future__ import annotations

import os
import platform
import secrets
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ops.setup.postgres import running_postgres
from ops.torture.canaries import run_canaries
from ops.torture.clocks import run_clock
from ops.torture.kill import run_campaign
from ops.torture.limits import run_limits
from ops.torture.outages import run_kill_scaled, run_postgres, run_redis
from ops.torture.power import run_power
from ops.torture.revoke import run_revoke
from ops.torture.shortage import run_shortage
from ops.torture.simulation.campaign import run_simulation
from ops.torture.stop import run_stops

Progress = Callable[[int, str], None]
Facts = dict[str, Any]
KILLS: Final = 120


@dataclass(frozen=True, slots=True)
class Campaign:
    """One campaign.

    Attributes:
        what: what is done and what is promised, in one line.
        whole: how many faults a whole one has.
        run: (an empty folder, faults, seed, progress) to figures as plain values; `ok` says whether all was kept.
    """

    what: str
    whole: int
    run: Callable[[Path, int, int, Progress], Awaitable[Facts]]


async def _kill_sqlite(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    url = f"sqlite:///{folder / 'torture.db'}"
    return (await run_campaign(folder, url, kills=count, seed=seed, progress=progress)).facts()


async def _kill_postgres(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    with running_postgres() as server:
        url = server.create_database()
        try:
            return (await run_campaign(folder, url, kills=count, seed=seed, progress=progress)).facts()
        finally:
            server.drop_database(url)


async def _kill_scaled(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    return (await run_kill_scaled(folder, kills=count, seed=seed, progress=progress)).facts()


async def _power(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    return (await run_power(folder, cuts=count, seed=seed, progress=progress)).facts()


async def _redis(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    return (await run_redis(folder, faults=count, seed=seed, progress=progress)).facts()


async def _postgres(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    return (await run_postgres(folder, restarts=count, seed=seed, progress=progress)).facts()


async def _revoke(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    return (await run_revoke(folder, revocations=count, seed=seed, progress=progress)).facts()


async def _disk(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    return (await run_shortage(folder, faults=count, seed=seed, progress=progress)).facts()


async def _stop(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    return (await run_stops(folder, stops=count, seed=seed, progress=progress)).facts()


async def _clock(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    return (await run_clock(folder, jumps=count, seed=seed, progress=progress)).facts()


async def _limits(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    return (await run_limits(folder, faults=count, seed=seed, progress=progress)).facts()


async def _canaries(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    return (await run_canaries(folder, canaries=count, seed=seed, progress=progress)).facts()


async def _simulate(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    del folder  # everything is in memory
    return (await run_simulation(seeds=count, seed=seed, progress=progress)).facts()


CAMPAIGNS: Final[Mapping[str, Campaign]] = {
    "kill-sqlite": Campaign("kill -9 of one server on SQLite, at named places and by chance", KILLS, _kill_sqlite),
    "kill-postgres": Campaign("the same on PostgreSQL", KILLS, _kill_postgres),
    "kill-scaled": Campaign("kill -9 among three servers, their PostgreSQL and their Redis", 60, _kill_scaled),
    "power": Campaign("power loss on SQLite: nothing acknowledged is lost", 100, _power),
    "disk": Campaign("commits fail: refused clearly, nothing acknowledged lost, well without a restart", 500, _disk),
    "redis": Campaign("Redis killed, frozen, cut: nothing lost, delivery p99 <= 6 s, hearing in <= 10 s", 20, _redis),
    "postgres": Campaign("PostgreSQL crashed: nothing acknowledged lost, no call made again later", 20, _postgres),
    "revoke": Campaign("rights taken away: closed within 2 s (6 s without Redis), no event afterwards", 200, _revoke),
    "stop": Campaign("each part stands still: raised by another within 60 s, calls go on, nothing lost", 16, _stop),
    "clock": Campaign(
        "clocks jump, and both nights of 2027 in London: each call once, none late, times right", 20, _clock
    ),
    "limits": Campaign("no room on the disk, no descriptors: refused clearly, help goes on, well again", 9, _limits),
    "canaries": Campaign("what people say and prove themselves with is in no log, number or answer", 200, _canaries),
    "simulate": Campaign("every promise over simulated servers, by one seed after the other", 10_000, _simulate),
}


def new_seed() -> int:
    return secrets.randbelow(2**31)


def write_results(path: Path, seed: int, results: Mapping[str, Facts]) -> None:
    """Write the figures of whole campaigns down, with the day and the machine."""
    lines = [
        "# Results of the torture campaigns",
        "",
        f"Written by `make torture` on {time.strftime('%Y-%m-%d', time.gmtime())}, seed {seed}. {_machine()}",
        "",
        "A campaign that finds a broken promise says so here; none is left out. Times are in milliseconds.",
    ]
    for name, facts in results.items():
        shown = {key: value for key, value in facts.items() if key not in ("campaign", "seed", "ok", "examples")}
        lines += ["", f"## {name}: {'every promise kept' if facts['ok'] else 'PROMISES BROKEN'}", ""]
        lines += [f"{CAMPAIGNS[name].what}.", "", "| figure | value |", "|---|---|"]
        lines += [f"| {key.replace('_', ' ')} | {_said(value)} |" for key, value in shown.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {count}" for key, count in sorted(value.items())) or "none"
    return "-" if value is None else str(value)


def _machine() -> str:
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    busy = os.getloadavg()[1]
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {memory_gb:.0f} GB, {platform.system()} {platform.release()}, "
        f"Python {sys.version.partition(' ')[0]}, SQLite {sqlite3.sqlite_version}; load average of the last "
        f"five minutes {busy:.1f}."
    )
