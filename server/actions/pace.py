"""How often one account may say what, by whichever way it comes in. Generous: a person never meets these, a loop does.

Asking for help, acting on a case and opening one are never limited, and a text over the limit is still screened
(`refused`). The buckets belong to the account: a second socket, or a form beside a socket, adds nothing. What a
connection costs by being there (its beats, pings and broken frames) is bounded where it is (`live.limits`), and how
many connections there may be in `live.seats`.

Counted in this process, without I/O, and memory is bounded: the longest unused buckets are forgotten first. Where there
are several, each tells the others of an account that has used half of what it may at once, and what is heard of others
is taken from the bucket here: so an account gets little more by many sockets than by one. When they do not hear each
other, each allows for itself.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from server.auth.requester import Requester
from server.errors import TooFast
from server.protocol.frames import AnyCommand, Edit, History, Join, Leave, Read, Remove, Report, Send

REMEMBERED: Final = 50_000


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` at once, then `per_s` each second."""

    burst: int
    per_s: float


class Bucket:
    """A token bucket. `take` answers how long to wait instead of refusing blindly; `now` never goes back."""

    __slots__ = ("_at", "_left", "rate")

    def __init__(self, rate: Rate, now: float) -> None:
        self.rate = rate
        self._left = float(rate.burst)
        self._at = now

    @property
    def is_low(self) -> bool:
        """Whether more than half of what may be said at once was said."""
        return self._left < self.rate.burst / 2

    def take(self, now: float) -> float:
        """Take one token; return 0, or the seconds until there is one (then none was taken)."""
        rate = self.rate
        left = self._left + (now - self._at) * rate.per_s
        if left > rate.burst:  # noqa: PLR1730 - for every frame, and `min` costs twice as much
            left = rate.burst
        self._at = now
        if left >= 1:
            self._left = left - 1
            return 0.0
        self._left = left
        return (1 - left) / rate.per_s

    def spent_elsewhere(self, times: int, now: float) -> None:
        """Take tokens that were used already; what is missing is owed, up to a whole burst."""
        left = min(float(self.rate.burst), self._left + (now - self._at) * self.rate.per_s)
        self._left, self._at = max(-float(self.rate.burst), left - times), now


MEMBER: Final = MappingProxyType({"say": Rate(20, 2.0), "read": Rate(100, 10.0), "report": Rate(20, 0.5)})
STAFF: Final = MappingProxyType({"say": Rate(60, 10.0), "read": Rate(300, 30.0), "report": Rate(60, 2.0)})

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
    }
)


class Pace:
    """The buckets of all accounts, each made when first used; used from the loop only.

    Args:
        clock: seconds, never going back.
        remembered: how many buckets are kept. One that was forgotten is full again.
        tell: called with the name of an allowance for each token that other processes should know of.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        remembered: int = REMEMBERED,
        tell: Callable[[str], None] = lambda allowance: None,
    ) -> None:
        self._clock = clock
        self._remembered = remembered
        self._tell = tell
        self._buckets: OrderedDict[tuple[str, str], Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def check(self, requester: Requester, command: AnyCommand) -> None:
        """Count one command; what has no family is never limited.

        Raises:
            TooFast: this one is too many; nothing was counted. After `retry_after_ms` it is let through.
        """
        family = _FAMILIES.get(type(command))
        if family is not None:
            self._take(requester, family)

    def check_reading(self, requester: Requester) -> None:
        """Count one page of a room that was asked for without a command. Raises as `check`."""
        self._take(requester, "read")

    def heard(self, allowance: str, times: int) -> None:
        """Count what another process has told; whatever is no allowance of this kind is passed over."""
        kind, _, rest = allowance.partition(":")
        family, _, account = rest.partition(":")
        if kind == "pace" and family in MEMBER and account:
            now = self._clock()
            kept = self._buckets.get((account, family))
            # Of somebody unknown here: a member, until a bucket with the rate of their role takes its place.
            self._bucket((account, family), kept.rate if kept is not None else MEMBER[family], now).spent_elsewhere(
                times, now
            )

    def _bucket(self, place: tuple[str, str], rate: Rate, now: float) -> Bucket:
        bucket = self._buckets.get(place)
        if bucket is None or bucket.rate is not rate:
            bucket = self._buckets[place] = Bucket(rate, now)
            if len(self._buckets) > self._remembered:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(place)
        return bucket

    def _take(self, requester: Requester, family: str) -> None:
        rate = (STAFF if requester.is_staff else MEMBER)[family]
        now = self._clock()
        bucket = self._bucket((requester.account, family), rate, now)
        wait_s = bucket.take(now)
        if wait_s:
            raise TooFast(retry_after_ms=int(wait_s * 1000) + 1)
        if bucket.is_low:
            self._tell(f"pace:{family}:{requester.account}")
