"""The clock of the ladders: asks what is due when something says so, when the next row falls due, and every second.

The rows are the truth; this loop only decides when to look. It never ends by itself: whatever goes wrong in one round
is reported, and the next round comes. Of several processes only the one with the lease (`jobs.lease`) looks.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import NoReturn

import structlog

from server.actions.escalation import OutsideCalls, climb
from server.actions.invariants import check_obligations
from server.actions.services import Services
from server.bus.port import Nudge
from server.jobs.lease import Lease

log = structlog.get_logger()
CHECK_EVERY_S = 60.0
NEVER_SOONER_S = 0.02


async def run_ladders(services: Services, lease: Lease) -> NoReturn:
    """Climb ladders while this process holds the lease, until cancelled."""
    due_now = asyncio.Event()
    services.wake_ladders.listen(due_now.set)
    services.bus.heed(Nudge.LADDERS, lambda ids: due_now.set())
    loop = asyncio.get_running_loop()

    async def climb_on() -> None:
        outside = OutsideCalls(lease.is_held)
        try:
            await _rounds(services, due_now, outside, loop)
        finally:
            await outside.close()

    await lease.while_held(climb_on)


async def _rounds(
    services: Services, due_now: asyncio.Event, outside: OutsideCalls, loop: asyncio.AbstractEventLoop
) -> NoReturn:
    checked_at = -CHECK_EVERY_S
    while True:
        due_now.clear()
        wait: timedelta | None = None
        failed = True
        try:
            if loop.time() - checked_at >= CHECK_EVERY_S:
                with services.tracing.span("check obligations"):
                    await check_obligations(services)
                checked_at = loop.time()
            with services.tracing.span("climb ladders") as tell:
                done = await climb(services, outside)
                tell({"failed": done.failures})
            wait, failed = done.wait, done.failures > 0
        except Exception as error:
            log.error("ladder_round_failed", error=type(error).__name__)
        await _until(services, due_now, None if failed else wait)


async def _until(services: Services, due_now: asyncio.Event, wait: timedelta | None) -> None:
    """Wait for a wake, for `wait`, or for one poll, whichever comes first.

    After a failure `wait` is not given: what failed is still due, and trying it again at once would help nobody.
    """
    wait_s = services.settings.ladder_poll_s
    if wait is not None:
        wait_s = min(wait_s, services.clock.real_seconds(wait))
    try:
        async with asyncio.timeout(max(wait_s, NEVER_SOONER_S)):
            await due_now.wait()
    except TimeoutError:
        return
