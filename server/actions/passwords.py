"""Password hashing: argon2id, beside the loop, in a short line.

Decided here: how much of the machine sign-ins may take. Two threads at low priority hash; a short line waits; beyond it
the answer is "in a moment", so that a flood of sign-ins can not starve the chat (two cores, November 2026: 19 MiB and
two passes take about 20 ms, so the line is at most about a second long).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import HashingError, InvalidHashError, VerificationError, VerifyMismatchError

from server.auth.credentials import normal_password
from server.errors import Unavailable

WORKERS: Final = 2
LINE: Final = 64
BUSY_RETRY_MS: Final = 2_000
NICENESS: Final = 10

T = TypeVar("T")


class Passwords:
    """Hashes and compares passwords; every call costs one hash, whatever it finds.

    Args:
        memory_kib: memory of one hash, in KiB.
        passes: passes over that memory.

    Attributes:
        hashes: how many were made or compared since the start.
    """

    def __init__(self, memory_kib: int, passes: int) -> None:
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=1)
        # What an account that does not exist is compared with: made like any other, of a password that nobody knows.
        self._nobody = self._hasher.hash(secrets.token_urlsafe(32))
        self._threads = ThreadPoolExecutor(WORKERS, thread_name_prefix="evenkeel-hash", initializer=_step_back)
        self._taken = threading.Semaphore(WORKERS + LINE)
        self.hashes = 0

    async def hash(self, password: str) -> str:
        """The stored form of a password, with its parameters. Raises Unavailable if the line is full."""
        return await self._run(lambda: self._hasher.hash(normal_password(password)))

    async def holds(self, stored: str | None, password: str) -> bool:
        """Whether `password` is the one that was stored; with None (no such account) False, at the same cost.

        Raises:
            Unavailable: the line is full; nothing was compared.
        """
        wanted = self._nobody if stored is None else stored
        same = await self._run(lambda: self._same(wanted, normal_password(password)))
        return same and stored is not None

    def outdated(self, stored: str) -> bool:
        """Whether `stored` was made with other parameters than those in force."""
        return self._hasher.check_needs_rehash(stored)

    def close(self) -> None:
        self._threads.shutdown()

    def _same(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerifyMismatchError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if not self._taken.acquire(blocking=False):
            raise Unavailable(
                "Many people are signing in just now. Please try again in a moment.",
                code="busy",
                retry="later",
                retry_after_ms=BUSY_RETRY_MS,
            )
        try:
            future = self._threads.submit(work)
        except RuntimeError:
            self._taken.release()
            raise Unavailable("The service is stopping. Send this again in a moment.", code="stopping") from None
        self.hashes += 1
        # From the thread, or from a cancellation before it began: the place in the line is given back exactly once.
        future.add_done_callback(self._free)
        try:
            return await asyncio.wrap_future(future)
        except (HashingError, VerificationError) as error:
            # Not a wrong password: there was no memory to compare it.
            raise Unavailable("This can not be checked just now. Please try again.", code="busy") from error

    def _free(self, future: Future[T]) -> None:
        del future
        self._taken.release()


def _step_back() -> None:
    """Let every other thread of the machine go first; Linux gives a thread a priority of its own."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
