"""Carries out the back-tests that were asked for, one after another, in the process that does the jobs.

The rows are the truth: what another process had begun when it died is begun anew.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final, NoReturn

import structlog

from server.actions.services import Services
from server.actions.wordlists.trials import run_back_test
from server.jobs.lease import Lease
from server.store.wordtrials import TrialKind, open_trials

log = structlog.get_logger()
LOOK_S: Final = 5.0
_KINDS: Final = (TrialKind.CORPUS, TrialKind.STORED)


async def run_trials(services: Services, lease: Lease) -> NoReturn:
    """Carry out back-tests while this process holds the lease, until cancelled."""
    asked = asyncio.Event()
    services.lists.listen(asked.set)

    async def rounds() -> None:
        while True:
            asked.clear()
            try:
                waiting = await services.store.read(lambda conn: open_trials(conn, _KINDS))
                for row in waiting:
                    await run_back_test(services, row.id)
            except Exception as error:
                log.error("back_tests_not_looked_for", error=type(error).__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await asked.wait()

    await lease.while_held(rounds)
