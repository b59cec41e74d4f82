"""The one source of time for everything that is not pure.

`Clock.now()` is aware UTC, passed through the same mapping as the database's clock: in a demonstration or a test, time
may start elsewhere and run faster; in a real service the mapping is the identity. Nothing else in the tree asks the
operating system for the date.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

# How PostgreSQL is asked for its time, in microseconds since 1970: by `store.clock`, and by the supervisor for itself.
SERVER_CLOCK = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def from_us(microseconds: int) -> datetime:
    """Microseconds since 1970 as an aware UTC datetime."""
    return EPOCH + timedelta(microseconds=microseconds)


def to_us(moment: datetime) -> int:
    """An aware datetime as microseconds since 1970. A naive one is refused."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone can not be stored; pass an aware datetime")
    return (moment - EPOCH) // timedelta(microseconds=1)


def to_ms(moment: datetime) -> int:
    """An aware datetime as the wire writes it: milliseconds since 1970."""
    return to_us(moment) // 1000


@dataclass(frozen=True, slots=True)
class ClockMapping:
    """now = origin + offset + (real - origin) * speed. Times in microseconds since 1970; speed 1.0 is real time."""

    origin_us: int = 0
    offset_us: int = 0
    speed: float = 1.0

    def apply(self, real_us: int) -> int:
        return self.origin_us + self.offset_us + round((real_us - self.origin_us) * self.speed)

    @property
    def is_real(self) -> bool:
        return self.offset_us == 0 and self.speed == 1.0


REAL_TIME = ClockMapping()


def real_us() -> int:
    """The operating system's time in microseconds since 1970, unmapped."""
    return time.time_ns() // 1000


class Clock:
    """Gives the mapped time; the mapping may be exchanged (tests step it forward)."""

    def __init__(self, mapping: ClockMapping = REAL_TIME) -> None:
        self.mapping = mapping

    def now_us(self) -> int:
        return self.mapping.apply(real_us())

    def now(self) -> datetime:
        return from_us(self.now_us())

    def real_seconds(self, mapped: timedelta) -> float:
        """How long `mapped` lasts for a person at the screen; never negative."""
        return max(0.0, mapped.total_seconds() / self.mapping.speed)
