"""The campaigns of several processes, and what each promises: `evenkeel torture kill --scaled`, `redis`, `postgres`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from ops.torture.history import Violation
from ops.torture.scaled import (
    ScaledCampaign,
    crash_postgres,
    cut_redis,
    kill_redis,
    kill_server,
    pause_redis,
    run_scaled,
    share,
    shuffled,
)

Progress = Callable[[int, str], None]
LATE_MS: Final = 6_000
HEARING_S: Final = 10.0

_ANYTHING: Final = {
    "server": kill_server,
    "redis": kill_redis,
    "postgres": crash_postgres,
}
_REDIS: Final = {"kill": kill_redis, "pause": pause_redis, "cut": cut_redis}
_POSTGRES: Final = {"restart": crash_postgres}


def _quiet(done: int, what: str) -> None:
    del done, what


async def run_kill_scaled(folder: Path, *, kills: int, seed: int, progress: Progress = _quiet) -> ScaledCampaign:
    """Kill servers, mostly, and now and then Redis or PostgreSQL: nothing promised is lost."""
    plan = shuffled(("server", "server", "postgres", "server", "redis"), kills, seed)
    return await run_scaled("kill", folder, plan, _ANYTHING, seed=seed, progress=progress)


async def run_redis(folder: Path, *, faults: int, seed: int, progress: Progress = _quiet) -> ScaledCampaign:
    """Kill, freeze and cut Redis: nothing is lost, delivery takes 6 s at most (p99), hearing is back within 10 s."""
    plan = shuffled(tuple(_REDIS), faults, seed)
    campaign = await run_scaled("redis", folder, plan, _REDIS, seed=seed, progress=progress)
    slow_ms = share(campaign.delivered_outage, 0.99)
    if slow_ms is not None and slow_ms > LATE_MS:
        campaign.violations.append(Violation("late", f"delivery p99 {slow_ms} ms while Redis was away"))
    campaign.violations += [
        Violation("deaf", f"{outage.kind}: heard again after {outage.whole - outage.back:.1f} s")
        for outage in campaign.outages
        if outage.whole - outage.back > HEARING_S
    ]
    return campaign


async def run_postgres(folder: Path, *, restarts: int, seed: int, progress: Progress = _quiet) -> ScaledCampaign:
    """Crash PostgreSQL: nothing acknowledged is lost, no call that was made is made again later."""
    plan = shuffled(tuple(_POSTGRES), restarts, seed)
    return await run_scaled("postgres", folder, plan, _POSTGRES, seed=seed, progress=progress)
