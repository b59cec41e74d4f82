"""How often a connection may say what. Generous: a person never meets these, a loop soon does.

Asking for help, acting on a case and opening one are never limited. How many connections there may be is decided in
`seats`: these are the last line, without I/O, for one socket.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from server.protocol.frames import AnyCommand, Beat, Edit, History, Join, Leave, Read, Remove, Report, Send


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` at once, then `per_s` each second."""

    burst: int
    per_s: float


class Bucket:
    """A token bucket. `take` answers how long to wait instead of refusing blindly."""

    __slots__ = ("_at", "_left", "_rate")

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate = rate
        self._left = float(rate.burst)
        self._at = now

    def take(self, now: float) -> float:
        """Take one token; return 0, or the seconds until there is one (then none was taken)."""
        self._left = min(self._rate.burst, self._left + max(0.0, now - self._at) * self._rate.per_s)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self._rate.per_s


MEMBER: Final = MappingProxyType(
    {
        "say": Rate(20, 2.0),
        "read": Rate(100, 10.0),
        "report": Rate(20, 0.5),
        "beat": Rate(30, 1.0),
        "broken": Rate(30, 1.0),
        "control": Rate(60, 5.0),
    }
)
STAFF: Final = MappingProxyType(
    {
        "say": Rate(60, 10.0),
        "read": Rate(300, 30.0),
        "report": Rate(60, 2.0),
        "beat": Rate(30, 1.0),
        "broken": Rate(30, 1.0),
        "control": Rate(60, 5.0),
    }
)

_FAMILIES: Final = MappingProxyType(
    {
        Send: "say",
        Edit: "say",
        Remove: "say",
        Join: "read",
        Leave: "read",
        History: "read",
        Read: "read",
        Report: "report",
        Beat: "beat",
    }
)


class Allowance:
    """The buckets of one connection, each made when first used."""

    __slots__ = ("_buckets", "_staff")

    def __init__(self, staff: bool) -> None:
        self._staff = staff
        self._buckets: dict[str, Bucket] = {}

    def wait(self, family: str, now: float) -> float:
        """Seconds until one more of `family` is allowed; 0: this one is, and is counted."""
        bucket = self._buckets.get(family)
        if bucket is None:
            bucket = self._buckets[family] = Bucket((STAFF if self._staff else MEMBER)[family], now)
        return bucket.take(now)

    def wait_for(self, command: AnyCommand, now: float) -> float:
        """As `wait`, for the family of `command`; 0 for what is never limited."""
        family = _FAMILIES.get(type(command))
        return 0.0 if family is None else self.wait(family, now)
