"""Looks once an hour whether an entry of the lists finds as much as it did, in the process that does the jobs."""

from __future__ import annotations

import asyncio
from typing import Final, NoReturn

import structlog

from server.actions.services import Services
from server.actions.wordlists.drifting import look_at_rates
from server.jobs.lease import Lease

log = structlog.get_logger()
LOOK_S: Final = 3_600.0


async def run_drift(services: Services, lease: Lease) -> NoReturn:
    """Look while this process holds the lease, until cancelled."""

    async def rounds() -> None:
        while True:
            try:
                if still := await look_at_rates(services):
                    log.warning("words_drift", entries=still)
            except Exception as error:
                log.error("rates_not_looked_at", error=type(error).__name__)
            await asyncio.sleep(LOOK_S)

    await lease.while_held(rounds)
