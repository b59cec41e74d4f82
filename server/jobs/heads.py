"""Signs the head of the audit each night, in the process that does the jobs.

The rows are the truth: a night without a head is signed by whoever looks next.
"""

from __future__ import annotations

import asyncio
from typing import Final, NoReturn

import structlog

from server.actions.auditing import keep_heads
from server.actions.services import Services
from server.jobs.lease import Lease

log = structlog.get_logger()
LOOK_S: Final = 60.0


async def run_heads(services: Services, lease: Lease) -> NoReturn:
    """Sign while this process holds the lease, until cancelled."""

    async def rounds() -> None:
        while True:
            try:
                if signed := await keep_heads(services):
                    log.info("audit_head_signed", n=signed)
            except Exception as error:
                log.error("audit_head_not_kept", error=type(error).__name__)
            await asyncio.sleep(LOOK_S)

    await lease.while_held(rounds)
