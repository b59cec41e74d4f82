"""A slice of the simulation: seeds that are the same each time, and a judge that a forgetful disk does not get past."""

from __future__ import annotations

import asyncio

import pytest

from ops.torture.simulation.campaign import Simulation, run_simulation

pytestmark = pytest.mark.timeout(240)


async def simulate(seed: int, seeds: int, *, workers: int = 1, forgetful: bool = False) -> Simulation:
    return await run_simulation(seeds=seeds, seed=seed, workers=workers, forgetful=forgetful)


async def test_every_promise_is_kept_on_many_schedules() -> None:
    """Under crashes, partitions, pauses and lost announcements nothing is lost, doubled, leaked, forgotten or late."""
    done = await simulate(1, 60, workers=2)
    assert done.violations == [], str(done.facts())
    assert len(set(done.traces.values())) == 60
    assert done.totals["acknowledged"] > 300
    assert done.totals["rungs"] > 40


async def test_a_seed_is_the_same_each_time() -> None:
    """A seed gives the same trace in another process and after other seeds; another seed gives another one."""
    three, alone = await asyncio.gather(simulate(7, 3), simulate(9, 1))
    assert alone.traces[9] == three.traces[9]
    assert len(set(three.traces.values())) == 3


async def test_a_disk_that_does_not_keep_what_it_says_is_found_out() -> None:
    """What was acknowledged and then forgotten by the disk of a crashed database is missed by the judge."""
    done = await simulate(15, 2, forgetful=True)
    assert "lost" in {violation.rule for violation in done.violations}, str(done.facts())
