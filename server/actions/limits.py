"""Slowing down guesses at passwords, names and codes, without ever locking anybody out.

A person in crisis who can not sign in is a hazard, so there is no lock-out: over a limit, an address is told to wait a
short while (a second at first, 30 s at most) and the attempt after that wait is always let through, whatever others
have tried meanwhile on the same name. What an attacker gains by many addresses is one guess per address and wait.

Counted per name, per address and altogether, in moving windows on the mapped clock; each process tells the others what
it counted, and counts what it hears. When they do not hear each other each counts for itself: never nobody. Memory is
bounded: the longest unused entries are forgotten first. Names and addresses are kept as digests only.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from server.errors import TooMany

REMEMBERED: Final = 20_000
LONGEST_WINDOW: Final = 2_000
LONGEST_WAIT: Final = timedelta(seconds=30)
FIRST_WAIT: Final = timedelta(seconds=1)
FORGET_AFTER: Final = timedelta(minutes=30)
HELP_NOW: Final = (
    "If you need help now, you do not have to wait for this page: call 999 if you are in danger, NHS 111 (choose the "
    "mental health option), or Samaritans free on 116 123, at any hour."
)


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `amount` attempts in any `window`; beyond that each needs a wait."""

    amount: int
    window: timedelta


@dataclass(frozen=True, slots=True)
class Limits:
    """What one kind of attempt is allowed. `per_name` None: the name is not counted."""

    per_name: Limit | None
    per_address: Limit
    altogether: Limit


# An address may be a whole ward or a university behind one router, so its limit is far above that of a name.
SIGN_IN = Limits(
    per_name=Limit(10, timedelta(minutes=5)),
    per_address=Limit(100, timedelta(minutes=5)),
    altogether=Limit(1_800, timedelta(minutes=1)),
)
REGISTER = Limits(
    per_name=Limit(10, timedelta(minutes=5)),
    per_address=Limit(30, timedelta(minutes=30)),
    altogether=Limit(1_200, timedelta(minutes=1)),
)
RECOVER = Limits(
    per_name=Limit(5, timedelta(minutes=5)),
    per_address=Limit(30, timedelta(minutes=5)),
    altogether=Limit(600, timedelta(minutes=1)),
)


@dataclass(slots=True)
class _Wait:
    """How long one address has to wait before its next attempt at one name."""

    until: datetime
    length: timedelta


class Throttle:
    """Counts attempts; used from the loop only.

    Args:
        key: the same for all processes that tell each other, and nobody else's: digests of names can be guessed.
        tell: called with the name of each window in which an attempt was counted.
    """

    def __init__(self, key: bytes = b"", tell: Callable[[str], None] = lambda allowance: None) -> None:
        self._key, self._tell = key, tell
        self._windows: OrderedDict[str, deque[datetime]] = OrderedDict()
        self._waits: OrderedDict[tuple[str, str, str], _Wait] = OrderedDict()

    def check(self, kind: str, limits: Limits, name_key: str, address: str, now: datetime) -> None:
        """Let this attempt through, or say how long to wait.

        Args:
            kind: what is attempted; kinds are counted apart.
            name_key: the folded name that it is about.
            address: where it comes from.

        Raises:
            TooMany: `retry_after_ms` is at most 30,000; an attempt after it is let through.
        """
        place = kind, name, there = self._place(kind, name_key, address)
        wait = self._waits.get(place)
        if wait is not None and now >= wait.until + FORGET_AFTER:
            del self._waits[place]
            wait = None
        if wait is not None and now < wait.until:
            raise _too_many(wait.until - now)
        within = [
            self._hit(key, limit, now)
            for key, limit in (
                (f"tries:{kind}:name:{name}", limits.per_name),
                (f"tries:{kind}:address:{there}", limits.per_address),
                (f"tries:{kind}:all", limits.altogether),
            )
            if limit is not None
        ]
        if all(within):
            return
        length = FIRST_WAIT if wait is None else min(2 * wait.length, LONGEST_WAIT)
        self._waits[place] = _Wait(now + length, length)
        self._waits.move_to_end(place)
        if len(self._waits) > REMEMBERED:
            self._waits.popitem(last=False)
        if wait is None:
            raise _too_many(length)
        # It waited as it was told: this attempt counts, and the next one waits longer.

    def succeeded(self, kind: str, name_key: str, address: str) -> None:
        """The right password was given: nothing is held against this address and name any more."""
        self._waits.pop(self._place(kind, name_key, address), None)

    def heard(self, allowance: str, times: int, now: datetime) -> None:
        """Count what another process has told; whatever is no window of this kind is passed over."""
        if allowance.startswith("tries:"):
            self._window(allowance).extend([now] * min(times, LONGEST_WINDOW))

    def _place(self, kind: str, name_key: str, address: str) -> tuple[str, str, str]:
        name, there = (
            hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=self._key).hexdigest()
            for text in (name_key, address)
        )
        return kind, name, there

    def _window(self, key: str) -> deque[datetime]:
        times = self._windows.get(key)
        if times is None:
            times = self._windows[key] = deque(maxlen=LONGEST_WINDOW)
            if len(self._windows) > REMEMBERED:
                self._windows.popitem(last=False)
        self._windows.move_to_end(key)
        return times

    def _hit(self, key: str, limit: Limit, now: datetime) -> bool:
        """Count an attempt under `key`; False if the window was full. A full window is not lengthened by more."""
        times = self._window(key)
        while times and times[0] <= now - limit.window:
            times.popleft()
        if len(times) >= limit.amount:
            return False
        times.append(now)
        self._tell(key)
        return True


def _too_many(wait: timedelta) -> TooMany:
    wait_ms = max(1, -(-wait // timedelta(milliseconds=1)))
    return TooMany(
        f"There were many attempts just now. Please wait {max(1, -(-wait_ms // 1000))} seconds and try again; nothing "
        f"is locked. {HELP_NOW}",
        retry_after_ms=wait_ms,
    )
