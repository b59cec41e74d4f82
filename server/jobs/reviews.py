"""Draws each shift for blind review once it is over, in the process that does the jobs.

The rows are the truth: a shift without a draw is drawn by whoever looks next, for as long as the policy says.
"""

from __future__ import annotations

import asyncio
from typing import Final, NoReturn

import structlog

from server.actions.reviewing import draw_shifts
from server.actions.services import Services
from server.jobs.lease import Lease

log = structlog.get_logger()
LOOK_S: Final = 60.0


async def run_draws(services: Services, lease: Lease) -> NoReturn:
    """Draw while this process holds the lease, until cancelled."""

    async def rounds() -> None:
        while True:
            try:
                await draw_shifts(services)
            except Exception as error:
                log.error("shift_not_drawn", error=type(error).__name__)
            await asyncio.sleep(LOOK_S)

    await lease.while_held(rounds)
