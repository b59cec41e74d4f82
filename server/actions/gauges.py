"""The numbers about what waits, read from the store when somebody asks for numbers or they are left for others.

Every process gives the same answer to those, so that an alarm takes the highest. An age is in seconds of real time and
0 where nothing waits; all of them are 0, and `evenkeel_store_answers` too, while the store does not answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from prometheus_client import Gauge
from sqlalchemy import Connection

from moderation.types import Level
from server.actions.services import Services
from server.clock import to_us
from server.numbers import WRITE_EVERY_S
from server.store import gauges
from server.store.drift import open_alarms
from server.store.store import Store

log = structlog.get_logger()
_ANSWER_S: Final = 3.0
_JOBS: Final = "jobs"

STORE_ANSWERS: Final = Gauge("evenkeel_store_answers", "1 while the database answers this process.")
BUS_HEARS: Final = Gauge("evenkeel_bus_hears", "1 while this process hears the others; always 1 where it is alone.")
UNOWNED: Final = Gauge(
    "evenkeel_flag_oldest_unowned_seconds", "Age of the oldest case of a level that nobody has taken.", ["level"]
)
OVERDUE: Final = Gauge("evenkeel_obligation_overdue_seconds", "By how much the most overdue obligation is late.")
LEASE_LEFT: Final = Gauge(
    "evenkeel_jobs_lease_left_seconds",
    "For how long somebody still holds the duty to call people; negative: nobody does. 6 where one process is alone.",
)
UNREAD: Final = Gauge("evenkeel_unread_oldest_seconds", "Age of the oldest community message that no staff has read.")
DRIFTING: Final = Gauge(
    "evenkeel_watchwords_drifting", "List entries that find more or less than they used to, and nobody has changed."
)
_ALONE_S: Final = 6.0
_LEVELS: Final = tuple(level for level in Level if level is not Level.NONE)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits, in seconds of real time, and how many entries of the lists drift."""

    unowned: Mapping[Level, float]
    overdue: float
    lease_left: float
    unread: float
    drifting: int


def measure(store: Store, conn: Connection) -> Waiting:
    """Read all of it, at one moment of the database's clock."""
    now, speed = store.db_now(conn), store.clock.mapping.speed

    def since(at: datetime | None) -> float:
        return 0.0 if at is None else (now - to_us(at)) / 1e6 / speed

    unowned = gauges.oldest_unowned(conn)
    return Waiting(
        unowned={level: max(0.0, since(unowned.get(level))) for level in _LEVELS},
        overdue=max(0.0, since(gauges.first_due(conn))),
        lease_left=-since(gauges.lease_until(conn, _JOBS)) if store.is_shared else _ALONE_S,
        unread=max(0.0, since(gauges.oldest_unread(conn))),
        drifting=len(open_alarms(conn)),
    )


async def refresh(services: Services) -> None:
    """Read the numbers anew. Never raises: that the store does not answer is a number too."""
    store = services.store
    waiting = Waiting(dict.fromkeys(_LEVELS, 0.0), 0.0, 0.0, 0.0, 0)
    try:
        async with asyncio.timeout(_ANSWER_S):
            waiting = await store.read(lambda conn: measure(store, conn))
    except Exception as error:
        log.warning("numbers_not_read", error=type(error).__name__)
        STORE_ANSWERS.set(0)
    else:
        STORE_ANSWERS.set(1)
    for level, age in waiting.unowned.items():
        UNOWNED.labels(str(int(level))).set(age)
    OVERDUE.set(waiting.overdue)
    LEASE_LEFT.set(waiting.lease_left)
    UNREAD.set(waiting.unread)
    DRIFTING.set(waiting.drifting)
    BUS_HEARS.set(services.bus.hears())


async def keep_numbers(services: Services) -> None:
    """Leave the numbers of this process for the others of its supervisor, again and again."""
    while True:
        await refresh(services)
        services.numbers.write()
        await asyncio.sleep(WRITE_EVERY_S)
