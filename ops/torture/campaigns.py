"""The campaigns by name: what each promises, how long a whole one is, and how it is run. One list for every caller."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ops.setup.postgres import running_postgres
from ops.setup.redis import running_redis
from ops.torture.acks import run_acks
from ops.torture.autobahn import find_suite, run_suite
from ops.torture.canaries.campaign import run_canaries
from ops.torture.clocks.campaign import run_clock
from ops.torture.faulty_filter import run_filter
from ops.torture.frames import run_frames
from ops.torture.hops import run_hops
from ops.torture.kill import run_campaign
from ops.torture.limits.campaign import run_limits
from ops.torture.oneway import run_oneway
from ops.torture.outages import run_kill_scaled, run_postgres, run_redis
from ops.torture.power import run_power
from ops.torture.restart import run_restarts
from ops.torture.revoke import run_revoke
from ops.torture.shortage import run_shortage
from ops.torture.simulation.campaign import run_simulation
from ops.torture.slow import run_slow
from ops.torture.soak import run_soak
from ops.torture.stop.campaign import run_stops
from ops.torture.storm import run_storm
from ops.torture.tamper import run_tampering
from ops.torture.writers import run_writers

Progress = Callable[[int, str], None]
Facts = dict[str, Any]
KILLS: Final = 200


@dataclass(frozen=True, slots=True)
class Campaign:
    """One campaign.

    Attributes:
        what: what is done and what is promised, in one line.
        whole: how many faults a whole one has, or of what `counts` names.
        run: (an empty folder, faults, seed, progress) to figures as plain values; `ok` says whether all was kept. One
            that can not be run here gives `not_measured`, with the reason, beside an `ok` of True.
    """

    what: str
    whole: int
    run: Callable[[Path, int, int, Progress], Awaitable[Facts]]
    counts: str = "faults"


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


async def _filter(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    return (await run_filter(folder, faults=count, seed=seed, progress=progress)).facts()


async def _simulate(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    del folder  # everything is in memory
    return (await run_simulation(seeds=count, seed=seed, progress=progress)).facts()


async def _acks(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    return (await run_acks(folder, messages=count, seed=seed, progress=progress)).facts()


async def _writers(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    return (await run_writers(folder, messages=count, seed=seed, progress=progress)).facts()


async def _hops(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    return (await run_hops(folder, disconnects=count, seed=seed, progress=progress)).facts()


async def _storm(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    return (await run_storm(folder, sockets=count, seed=seed, progress=progress)).facts()


async def _opening(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    return (await run_storm(folder, sockets=count, seed=seed, opening=True, progress=progress)).facts()


async def _slow(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    return (await run_slow(folder, rounds=count, seed=seed, progress=progress)).facts()


async def _soak(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    return (await run_soak(folder, minutes=count, seed=seed, progress=progress)).facts()


async def _audit(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    return (await run_tampering(folder, tamperings=count, seed=seed, progress=progress)).facts()


async def _oneway(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    return (await run_oneway(folder, faults=count, seed=seed, progress=progress)).facts()


async def _restart(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    with running_postgres() as server, running_redis() as redis:
        url = server.create_database()
        try:
            done = await run_restarts(
                folder, url, redis.url, people=count, seed=seed, progress=lambda line: progress(count, line)
            )
        finally:
            server.drop_database(url)
    return {"campaign": "restart", "seed": seed, **done.facts()}


async def _frames(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    run = await run_frames(folder, count=count, seed=seed, progress=lambda done: progress(done, "frames"))
    return {**run.facts(), "examples": [{"rule": what, "what": str(times)} for what, times in run.broken.items()]}


async def _autobahn(folder: Path, count: int, seed: int, progress: Progress) -> Facts:
    del folder
    suite = find_suite()
    if suite is None:
        return {"seed": seed, "ok": True, "not_measured": "the suite is not installed here", "examples": []}
    run = await run_suite(suite, progress=lambda line: progress(count, line))
    return {**run.facts(), "seed": seed, "examples": [{"rule": "failed", "what": case} for case in run.failed]}


CAMPAIGNS: Final[Mapping[str, Campaign]] = {
    "kill-sqlite": Campaign("kill -9 of one server on SQLite, at named places and by chance", KILLS, _kill_sqlite),
    "kill-postgres": Campaign("the same on PostgreSQL", KILLS, _kill_postgres),
    "kill-scaled": Campaign("kill -9 among three servers, their PostgreSQL and their Redis", KILLS, _kill_scaled),
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
    "filter": Campaign("the filter fails wherever it can: held or refused, never shown", 1_000, _filter),
    "audit": Campaign("the audit tampered with, without its key: each found", 1_000, _audit, "tamperings"),
    "simulate": Campaign("every promise over simulated servers, by one seed after the other", 10_000, _simulate),
    "acks": Campaign("the ack cut off after the commit: one row each, one place each", 10_000, _acks, "messages"),
    "writers": Campaign(
        "24 writers on three servers in 20 rooms: every reader's log is the database's",
        5_000,
        _writers,
        "messages in each room",
    ),
    "hops": Campaign(
        "readers cut off, back at any server, and after a restore: exact, or expressly told to read up",
        1_000,
        _hops,
        "disconnects",
    ),
    "storm": Campaign(
        "sockets cut at once: live <= 60 s, messages p99 <= 1 s, loop lag p99 <= 100 ms", 2_000, _storm, "sockets"
    ),
    "opening": Campaign("sockets opened at once: the same", 2_000, _opening, "sockets"),
    "slow": Campaign(
        "100 sockets that read nothing beside 500 that do: p99 <= 20 % slower, closed <= 15 s, resumed exactly",
        5,
        _slow,
        "rounds",
    ),
    "oneway": Campaign("one direction shut: known to both sides <= 25 s, the open message stored once", 20, _oneway),
    "restart": Campaign(
        "three servers restarted in turn: away <= 5 s (p99), returns spread, every rung called",
        1_000,
        _restart,
        "people",
    ),
    "soak": Campaign(
        "a busy evening: memory grows <= 1 MB an hour, no task and no descriptor stays", 30, _soak, "minutes"
    ),
    "frames": Campaign("broken frames: no crash, no error, no growth", 1_000_000, _frames, "frames"),
    "autobahn": Campaign("the Autobahn suite of RFC 6455: no case failed", 1, _autobahn, "suite"),
}


def new_seed() -> int:
    return secrets.randbelow(2**31)
