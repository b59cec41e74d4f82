"""Which process does the jobs: the one that holds the lease, renewed all the time, given back when it stops.

Promise: two processes never both believe that they hold it, whatever their clocks say; when the holder dies or loses
the database, another one holds it within LASTS_S + RENEW_S, and within RENEW_S when it stops in order.

How: the row's time is the database's. A holder believes in its lease only until LASTS_S less a margin after it *began*
to ask, on a clock that goes on while the machine sleeps. A database with one process needs no lease: it has it always.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, NoReturn

import structlog

from server.store import leases
from server.store.store import Store

log = structlog.get_logger()
JOBS: Final = "jobs"
LASTS_S: Final = 6.0
RENEW_S: Final = 1.5
# The lease is given up so long before it runs out: a call begun at the last moment is not made by two.
MARGIN_S: Final = 1.0


def _clock() -> float:
    """Seconds that pass even while the machine is suspended, where the system can say."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class Claim:
    """Asks for a lease, once or all the time, and is not deceived by a clock that was set back.

    A row whose end lies hours ahead, written before the database's clock was put right by somebody who is gone, would
    keep everybody away for those hours. Whoever holds a lease renews it, so that its row changes; one that has not
    changed for longer than a lease lasts, on this process's own clock, is nobody's, whatever time it names.
    """

    def __init__(self, store: Store, name: str, holder: str, clock: Callable[[], float] = _clock) -> None:
        self._store, self._name, self._holder, self._clock = store, name, holder, clock
        self._seen: leases.Held | None = None
        self._since = 0.0

    async def ask(self) -> bool:
        """Take or renew it for LASTS_S; False if somebody else has it. Raises whatever the database does."""
        is_silent = self._seen is not None and self._clock() - self._since > LASTS_S + MARGIN_S
        void = self._seen if is_silent else None
        if await leases.take(self._store, self._name, self._holder, timedelta(seconds=LASTS_S), void):
            self._seen = None
            return True
        found = await leases.held(self._store, self._name)
        if found != self._seen:
            self._seen, self._since = found, self._clock()
        return False


class Lease:
    """One lease of one process. Used from the loop.

    Args:
        holder: names this process; one that is started in the place of a dead one may bear its name.
    """

    def __init__(self, store: Store, name: str, holder: str, clock: Callable[[], float] = _clock) -> None:
        self._store, self._name, self._holder = store, name, holder
        self._clock = clock
        self._claim = Claim(store, name, holder, clock)
        self._until = 0.0 if store.is_shared else float("inf")
        self._changed = asyncio.Event()
        self._asking = asyncio.Lock()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopped = False

    def is_held(self) -> bool:
        """Whether this process may act now; asked again before each act, since time passes."""
        return self._clock() < self._until

    async def keep(self) -> NoReturn:
        """Take the lease as soon as it is free, and renew it, until cancelled."""
        while True:
            async with self._asking:
                if self._store.is_shared and not self._stopped:
                    await self._ask()
            await asyncio.sleep(RENEW_S)

    async def _ask(self) -> None:
        before, began = self.is_held(), self._clock()
        try:
            async with asyncio.timeout(LASTS_S / 2):
                taken = await self._claim.ask()
        except Exception as error:
            # Not refused, only not answered: what was promised last still stands until its time is over.
            log.warning("lease_not_renewed", lease=self._name, error=type(error).__name__)
        else:
            self._until = began + LASTS_S - MARGIN_S if taken and not self._stopped else 0.0
        if self.is_held() != before:
            log.info("lease_taken" if self.is_held() else "lease_lost", lease=self._name)
        self._changed.set()

    async def hand_over(self) -> None:
        """Begin nothing more, let what runs end, and give the lease to whoever asks next. Never raises."""
        if not self._store.is_shared:
            return
        self._stopped, self._until = True, 0.0
        self._changed.set()
        try:
            async with asyncio.timeout(LASTS_S / 2):
                await self._idle.wait()
                async with self._asking:
                    await leases.hand_over(self._store, self._name, self._holder)
        except Exception as error:
            log.warning("lease_not_handed_over", lease=self._name, error=type(error).__name__)

    async def while_held(self, work: Callable[[], Awaitable[None]]) -> NoReturn:
        """Run `work` whenever the lease is held, and cancel it when it is lost; until cancelled."""
        while True:
            await self._turn(held=True)
            self._idle.clear()
            working = asyncio.ensure_future(work())
            lost = asyncio.ensure_future(self._turn(held=False))
            try:
                await asyncio.wait({working, lost}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                working.cancel()
                lost.cancel()
                ended = await asyncio.gather(working, lost, return_exceptions=True)
                self._idle.set()
            if isinstance(ended[0], Exception):
                raise ended[0]

    async def _turn(self, *, held: bool) -> None:
        """Wait until the lease is held, or is not."""
        while self.is_held() != held:
            self._changed.clear()
            left = self._until - self._clock()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left if 0 < left < float("inf") else None):
                    await self._changed.wait()
