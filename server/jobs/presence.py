"""Whether the processes of one database know of each other: all of them by Redis, or there is only one; who could call.

A process without Redis that shares its database with others would still deliver everything, but up to five seconds
late, and nobody would have been told. So it takes a lease for itself alone; processes with Redis hold the same lease
together, under one name. Whoever can not have it does not start.
"""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta
from typing import Final, NoReturn

import structlog

from server.errors import Misconfigured
from server.jobs.lease import LASTS_S, MARGIN_S, RENEW_S, Claim
from server.store import leases, standing
from server.store.store import Store

log = structlog.get_logger()
COMPANY: Final = "company"
TOGETHER: Final = "together, by Redis"
_LASTS: Final = timedelta(seconds=LASTS_S)
_TRIES: Final = 2 + math.ceil((LASTS_S + MARGIN_S) / RENEW_S)


async def check_company(store: Store, name: str, *, has_bus: bool, again_s: float = RENEW_S) -> None:
    """Refuse to serve a database beside processes that would never hear of this one.

    Waits for as long as the lease of a process that died may still stand, asking every `again_s` seconds.

    Raises:
        Misconfigured: another process serves this database, and one of the two has no Redis.
    """
    if not store.is_shared:
        return
    claim = Claim(store, COMPANY, TOGETHER if has_bus else name)
    for _ in range(_TRIES):
        if await claim.ask():
            return
        await asyncio.sleep(again_s)
    raise Misconfigured(
        "Another evenkeel process serves this database without Redis. Set REDIS_URL for all of them, or stop it."
        if has_bus
        else "Other evenkeel processes serve this database. Set REDIS_URL to the Redis of all of them, or stop them.",
        code="database_in_use",
    )


async def keep_company(store: Store, name: str, *, has_bus: bool) -> NoReturn:
    """Renew what `check_company` took, until cancelled; say it loudly when it was lost to others."""
    holder, lost = (TOGETHER if has_bus else name), False
    claim = Claim(store, COMPANY, holder)
    try:
        while True:
            try:
                taken = await claim.ask()
            except Exception as error:
                log.warning("lease_not_renewed", lease=COMPANY, error=type(error).__name__)
            else:
                if not taken and not lost:
                    log.critical("processes_without_redis", lease=COMPANY)
                lost = not taken
            await asyncio.sleep(RENEW_S)
    finally:
        if not has_bus:
            try:
                async with asyncio.timeout(RENEW_S):
                    await leases.hand_over(store, COMPANY, holder)
            except Exception as error:
                log.warning("lease_not_handed_over", lease=COMPANY, error=type(error).__name__)


async def keep_standing(store: Store, name: str, service: str) -> NoReturn:
    """Say all the time, until cancelled, that this process of `service` can do the jobs (`store.standing`)."""
    try:
        while True:
            try:
                await standing.stand(store, name, service, _LASTS)
            except Exception as error:
                log.warning("standing_not_renewed", error=type(error).__name__)
            await asyncio.sleep(RENEW_S)
    finally:
        try:
            async with asyncio.timeout(RENEW_S):
                await standing.stand_down(store, name)
        except Exception as error:
            log.warning("standing_not_taken_back", error=type(error).__name__)
