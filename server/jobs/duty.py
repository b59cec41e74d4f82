"""Looks after shifts that begin and end, in the process that does the jobs: questions, hand-overs, the sweep.

The rows are the truth: what is due is done by whoever looks next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

import structlog

from server.actions import handovers, reach
from server.actions.services import Services
from server.jobs.lease import Lease

log = structlog.get_logger()
LOOK_S: Final = 10.0


async def run_duty(services: Services, lease: Lease) -> NoReturn:
    """Look while this process holds the lease, until cancelled."""

    async def rounds() -> None:
        while True:
            await look(services)
            await asyncio.sleep(LOOK_S)

    await lease.while_held(rounds)


async def look(services: Services) -> None:
    """One round; a part of it that fails keeps no other from being done."""
    parts: tuple[Callable[[Services], Awaitable[int]], ...] = (
        reach.look_ahead,
        handovers.look_after,
        reach.put_questions,
    )
    for part in parts:
        try:
            await part(services)
        except Exception as error:
            log.error("duty_round_failed", part=part.__name__, error=type(error).__name__)
