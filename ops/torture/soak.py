"""`evenkeel torture soak`: half an hour of a busy evening; what grows with time and not with people is a leak.

One server on SQLite, at half of what it carried for a moment before. All the time people come and go beside those who
talk. Promised: after a third of the time, when everything that is kept in memory has been kept once, its memory grows
by no more than a megabyte an hour; and once everybody is gone, it holds no task and no descriptor more than before.
"""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ops.bench.load import Load, Seat
from ops.torture.cluster import Cluster
from ops.torture.conditions import Conditions, raise_open_files
from ops.torture.crowd.crowd import Crowd
from ops.torture.crowd.story import Place
from ops.torture.history import Violation, outcome
from ops.torture.process import memory_mb
from ops.trial import make_trial

ROOMS: Final = 10
PER_ROOM: Final = 20
SENDERS: Final = 100
PEAK_S: Final = 5.0
COMERS: Final = 40
CHURN_S: Final = 5.0
LOOK_S: Final = 5.0
GROWTH_MB_AN_HOUR: Final = 1.0
# Connections are let go and their tasks end; lingering closes take some seconds.
LEAVE_S: Final = 30.0
SAID_EVERY_S: Final = 60.0


@dataclass
class SoakCampaign:
    """What was done and what came of it.

    Attributes:
        rate: messages a second, half of what was carried in a closed loop before.
        memory: resident megabytes, every LOOK_S.
        held_before, held_after: (tasks, descriptors) with nobody there.
    """

    seed: int
    minutes: int
    rate: float = 0.0
    messages: int = 0
    comings: int = 0
    memory: list[float] = field(default_factory=list)
    held_before: tuple[int, int] = (0, 0)
    held_after: tuple[int, int] = (0, 0)
    duration_s: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    @property
    def growth_mb_an_hour(self) -> float | None:
        """From the middle third to the last, by medians."""
        return growth(self.memory)

    def facts(self) -> dict[str, Any]:
        """The campaign as plain values."""
        grown = self.growth_mb_an_hour
        return {
            "campaign": "soak",
            "seed": self.seed,
            "minutes": self.minutes,
            "messages_per_s": round(self.rate),
            "messages": self.messages,
            "comings": self.comings,
            "memory_mb_first": round(self.memory[0], 1) if self.memory else None,
            "memory_mb_last": round(self.memory[-1], 1) if self.memory else None,
            "memory_mb_an_hour": None if grown is None else round(grown, 2),
            "tasks_before_after": [self.held_before[0], self.held_after[0]],
            "descriptors_before_after": [self.held_before[1], self.held_after[1]],
            "duration_s": round(self.duration_s, 1),
            **outcome(self.violations),
        }


def growth(memory: Sequence[float], every_s: float = LOOK_S) -> float | None:
    """Megabytes an hour from the middle third of the looks to the last one, by medians; None for fewer than three."""
    third = len(memory) // 3
    if not third:
        return None
    middle, last = memory[third : 2 * third], memory[-third:]
    return (statistics.median(last) - statistics.median(middle)) / (third * every_s) * 3_600


async def run_soak(
    folder: Path,
    *,
    minutes: int,
    seed: int,
    seconds: float | None = None,
    rate: float | None = None,
    progress: Callable[[int, str], None] = lambda done, what: None,
) -> SoakCampaign:
    """Load a server for `minutes` and look at what it holds.

    Args:
        seconds: instead of minutes; then too short a time to say how memory grows, which is left out.
        rate: messages a second; half of its peak if not given.
    """
    raise_open_files()
    campaign = SoakCampaign(seed, minutes)
    began = time.monotonic()
    lasts_s = minutes * 60.0 if seconds is None else seconds
    trial = await make_trial(folder, f"sqlite:///{folder / 'e.db'}", rooms=ROOMS + 1, per_room=PER_ROOM)
    seats = [
        Seat(person.token, room)
        for room, people in zip(trial.rooms[:ROOMS], trial.members[:ROOMS], strict=True)
        for person in people
    ]
    quiet, comers = trial.rooms[ROOMS], trial.members[ROOMS]
    async with Cluster(1, trial.environ, folder, conditions=Conditions(unpaced=True)) as cluster:
        port, pid = cluster.ports[0], cluster.pid(0)
        places = [Place(port, who.account, who.token, quiet) for who in (comers[n % PER_ROOM] for n in range(COMERS))]
        async with Crowd(places, seed) as crowd:
            # Everything that a first person makes the server load is loaded.
            load = await asyncio.to_thread(Load, [port], seats)
            peak = await asyncio.to_thread(load.closed_loop, SENDERS, PEAK_S if rate is None else 0.5, 0.5)
            await asyncio.to_thread(load.close)
            campaign.rate = rate or peak.messages_per_s / 2
            campaign.held_before = await _held(cluster, campaign.held_before)
            load = await asyncio.to_thread(Load, [port], seats)
            crowd.come()
            talking = asyncio.create_task(asyncio.to_thread(load.open_loop, campaign.rate, lasts_s, 0.0))
            campaign.comings += COMERS
            said_at = churned_at = time.monotonic()
            while not talking.done():
                await asyncio.wait({talking}, timeout=LOOK_S)
                now = time.monotonic()
                used_mb = memory_mb(pid)
                if used_mb is not None:
                    campaign.memory.append(used_mb)
                if now - churned_at >= CHURN_S:
                    churned_at = now
                    crowd.cut()
                    campaign.comings += COMERS
                if now - said_at >= SAID_EVERY_S:
                    said_at = now
                    progress(round((now - began) / 60), f"{campaign.memory[-1]:.0f} MB")
            campaign.messages = (await talking).messages
            await asyncio.to_thread(load.close)
        campaign.held_after = await _held(cluster, campaign.held_before)
        if cluster.pid(0) is None:
            campaign.violations.append(Violation("ended", "the server ended"))
    _judge(campaign, with_memory=seconds is None)
    campaign.duration_s = time.monotonic() - began
    return campaign


def _judge(campaign: SoakCampaign, *, with_memory: bool) -> None:
    grown = campaign.growth_mb_an_hour
    if with_memory and (grown is None or grown > GROWTH_MB_AN_HOUR):
        campaign.violations.append(Violation("memory", f"{grown} MB an hour"))
    for what, before, after in zip(("tasks", "descriptors"), campaign.held_before, campaign.held_after, strict=True):
        if after > before:
            campaign.violations.append(Violation("leak", f"{after} {what} once everybody is gone, {before} before"))


async def _held(cluster: Cluster, enough: tuple[int, int]) -> tuple[int, int]:
    """(tasks, descriptors) with nobody there: as soon as they are no more than `enough`, else what stays."""
    deadline = time.monotonic() + LEAVE_S
    while True:
        tasks, here = await asyncio.to_thread(_numbers, cluster.urls[0])
        held = tasks, len(os.listdir(f"/proc/{cluster.pid(0)}/fd"))
        settled = not here and (not any(enough) or all(now <= most for now, most in zip(held, enough, strict=True)))
        if settled or time.monotonic() > deadline:
            return held
        await asyncio.sleep(0.5)


def _numbers(url: str) -> tuple[int, int]:
    """How many tasks and how many connections the server says that it has."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:  # noqa: S310 - our own server
        text = answer.read().decode()
    found = [
        re.search(rf"^{name}(?:{{[^}}]*}})? ([0-9.e+]+)$", text, re.MULTILINE)
        for name in ("evenkeel_live_tasks", "evenkeel_live_connections")
    ]
    tasks, connections = (float(one[1]) if one is not None else 0.0 for one in found)
    return int(tasks), int(connections)
