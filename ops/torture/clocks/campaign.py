"""`evenkeel torture clock`: clocks that jump under load, and the two nights in which wall clocks are set.

Jumps: three servers, PostgreSQL and Redis under people who talk, ladders running. The database's clock, by which
everything falls due, or that of one server jumps by an hour, a day, or five seconds back. Promised: no rung is fired
twice and no call made again, nobody waits longer than their ladder says because a clock was set back, no number that
counts time is below zero, and the order of every room is what it was.

Nights: one server on SQLite lives through 28 March and 31 October 2027 in London, faster than in life. Promised: a
ladder that spans the change calls after the seconds that have passed, shifts that were given in London's wall time
change at the right moment, and every page shows the right time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ops.torture.clocks.figures import ClockCampaign
from ops.torture.clocks.jumps import KINDS, run_jumps
from ops.torture.clocks.nights import run_nights


async def run_clock(
    folder: Path,
    *,
    jumps: int,
    seed: int,
    kinds: Sequence[str] = KINDS,
    progress: Callable[[int, str], None] = lambda done, what: None,
) -> ClockCampaign:
    """Let clocks jump, each kind in turn, then live through both nights; judge each."""
    campaign = ClockCampaign(seed)
    began = time.monotonic()
    rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be kept secret
    plan = [kinds[n % len(kinds)] for n in range(jumps)]
    rng.shuffle(plan)
    await run_jumps(campaign, folder, plan, progress)
    await run_nights(campaign, folder)
    campaign.duration_s = time.monotonic() - began
    return campaign
