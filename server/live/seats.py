"""How many sockets one account, one address and everybody together may hold, with seats kept free for staff.

The limits are far above what people need and only there so that no one client can take the service from all others.
Counted in this process, from the decision to let a connection in until its TCP connection is gone. A refusal is a 429
before the 101: nothing was promised, and the crisis lines need no socket.

An address counts only where it says something. This machine's own addresses do not: who comes from there is a proxy
that is not named in the settings, or a tool, and a limit on it would shut everybody out at once.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass

from server.errors import TooMany

RETRY_MS = 30_000


@dataclass(frozen=True, slots=True)
class SeatLimits:
    """Numbers of sockets.

    Attributes:
        per_address: a whole university may sit behind one.
        for_staff: of those altogether, how many are never given to members.
    """

    per_account: int = 32
    per_address: int = 2_000
    altogether: int = 20_000
    for_staff: int = 500


@dataclass(frozen=True, slots=True)
class Seat:
    """One socket's place; `address` is None where it is not counted."""

    account: str
    address: str | None


class Seats:
    """The seats of one process."""

    def __init__(self, limits: SeatLimits | None = None) -> None:
        self._limits = limits or SeatLimits()
        self._accounts: Counter[str] = Counter()
        self._addresses: Counter[str] = Counter()
        self.taken = 0

    def check_address(self, address: str) -> None:
        """Refuse an address whose seats are all taken; asked before anything is looked up. Raises TooMany."""
        if self._addresses[address] >= self._limits.per_address:
            raise _full("There are too many connections from where you are.")

    def take(self, account: str, address: str, *, is_staff: bool) -> Seat:
        """One more seat; give it back with `leave`.

        Raises:
            TooMany: the account, the address or the service has no seat left; staff may use the last `for_staff`.
        """
        limits = self._limits
        counted = address if _says_something(address) else None
        if self._accounts[account] >= limits.per_account:
            raise _full("This account is open in too many places: close some of them.")
        if counted is not None:
            self.check_address(counted)
        if self.taken >= limits.altogether - (0 if is_staff else limits.for_staff):
            raise _full("There are too many connections just now.")
        self.taken += 1
        self._accounts[account] += 1
        if counted is not None:
            self._addresses[counted] += 1
        return Seat(account, counted)

    def leave(self, seat: Seat) -> None:
        """Give a seat back; nothing is remembered of whoever holds none."""
        self.taken -= 1
        _drop(self._accounts, seat.account)
        if seat.address is not None:
            _drop(self._addresses, seat.address)


def _drop(counts: Counter[str], key: str) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]


def _says_something(address: str) -> bool:
    try:
        return not ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _full(text: str) -> TooMany:
    return TooMany(f"{text} Try again in half a minute. The pages work without a connection.", retry_after_ms=RETRY_MS)
