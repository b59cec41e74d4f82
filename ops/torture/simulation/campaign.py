"""`evenkeel torture simulate`: thousands of seeds in a few processes, and what they come to.

The seeds of a campaign follow one another; the campaign with `--seed N --seeds 1` is seed N alone, which is what a
failure is repeated by.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ops.torture.history import Violation, outcome

WORKERS: Final = 2
_SAID_EVERY: Final = 250
# A line is a seed: some kilobytes, with every violation in it.
_LINE_BYTES: Final = 1 << 20


class WorkerFailed(Exception):
    """A worker ended before its last seed: the simulation itself is broken."""


@dataclass
class Simulation:
    """What was done and what came of it.

    Attributes:
        traces: by seed.
        broken: seeds with a violation.
        totals: figures summed over the seeds.
        faults, announcements: by kind.
    """

    seed: int
    traces: dict[int, str] = field(default_factory=dict)
    broken: list[int] = field(default_factory=list)
    totals: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    announcements: Counter[str] = field(default_factory=Counter)
    virtual_s: float = 0.0
    duration_s: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    def add(self, found: dict[str, Any]) -> None:
        """One more seed, as its worker wrote it."""
        seed = int(found["seed"])
        self.traces[seed] = found["trace"]
        self.virtual_s += found["virtual_s"]
        self.faults.update(found["faults"])
        self.announcements.update(found["announcements"])
        self.totals.update({key: value for key, value in found.items() if type(value) is int and key != "seed"})
        broken = [Violation(one["rule"], f"{one['what']} (--seed {seed} --seeds 1)") for one in found["violations"]]
        if broken:
            self.broken.append(seed)
            self.violations += broken

    def facts(self) -> dict[str, Any]:
        """The campaign as plain values; `schedules`: how many of the seeds went differently from all others."""
        return {
            "campaign": "simulate",
            "seed": self.seed,
            "seeds": len(self.traces),
            "schedules": len(set(self.traces.values())),
            "virtual_hours": round(self.virtual_s / 3600, 1),
            **dict(self.totals),
            "faults": dict(self.faults),
            "announcements": dict(self.announcements),
            "duration_s": round(self.duration_s, 1),
            "seeds_per_s": round(len(self.traces) / max(self.duration_s, 0.001), 1),
            "broken_seeds": sorted(self.broken)[:20],
            **outcome(self.violations),
        }


async def run_simulation(
    *,
    seeds: int,
    seed: int,
    workers: int = WORKERS,
    forgetful: bool = False,
    progress: Callable[[int, str], None] = lambda done, what: None,
) -> Simulation:
    """Live through `seeds` seeds from `seed` on.

    Args:
        forgetful: with a disk that does not keep what it says: then broken promises are to be expected.

    Raises:
        WorkerFailed: a worker ended too early.
    """
    simulation = Simulation(seed)
    began = time.monotonic()
    workers = min(workers, seeds)

    def take(line: bytes) -> None:
        simulation.add(json.loads(line))
        done = len(simulation.traces)
        if done % _SAID_EVERY == 0 or done == seeds:
            progress(done, f"{len(simulation.broken)} broken")

    async with asyncio.TaskGroup() as tasks:
        for n in range(workers):
            count = len(range(n, seeds, workers))
            disk = "forgetful" if forgetful else "honest"
            tasks.create_task(_work([str(seed + n), str(count), str(workers), disk], take))
    simulation.duration_s = time.monotonic() - began
    return simulation


async def _work(arguments: Sequence[str], take: Callable[[bytes], None]) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "ops.torture.simulation.worker",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        limit=_LINE_BYTES,
    )
    try:
        if process.stdout is None:
            raise WorkerFailed("a worker without an output")
        async for line in process.stdout:
            take(line)
        if await process.wait() != 0:
            raise WorkerFailed(f"a worker for the seeds from {arguments[0]} ended with status {process.returncode}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
