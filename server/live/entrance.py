"""What it costs to come in, for a few people at a time, so that those who are inside go on talking meanwhile.

A connection costs some milliseconds before it is live: the handshake, who this is, the first page of a room. When
thousands come at once, as the clock strikes or after a cut, all of them together would take the loop and every reading
thread for many seconds. Whoever is further in goes first: what was spent on them would be lost if they gave up waiting.
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import IntEnum
from types import TracebackType
from typing import Final


class Stage(IntEnum):
    """How far in somebody is; the first goes first."""

    JOIN = 0
    HELLO = 1
    HANDSHAKE = 2


class Entrance:
    """`places` people at a time; the others wait, by stage and then in the order of coming."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: Final[tuple[deque[asyncio.Future[None]], ...]] = tuple(deque() for _ in Stage)

    def at(self, stage: Stage) -> _Turn:
        """For `async with`: entered when a place is free, which is given back however the block ends."""
        return _Turn(self, stage)

    async def take(self, stage: Stage) -> None:
        """Wait for a place."""
        if self._free:
            self._free -= 1
            return
        given = asyncio.get_running_loop().create_future()
        self._waiting[stage].append(given)
        try:
            await given
        except asyncio.CancelledError:
            if not given.cancelled():  # in the same step in which it was given the place
                self.leave()
            raise

    def leave(self) -> None:
        """Give the place to whoever is next."""
        for queue in self._waiting:
            while queue:
                given = queue.popleft()
                if not given.done():  # who gave up has cancelled it
                    given.set_result(None)
                    return
        self._free += 1


class _Turn:
    __slots__ = ("_entrance", "_stage")

    def __init__(self, entrance: Entrance, stage: Stage) -> None:
        self._entrance = entrance
        self._stage = stage

    async def __aenter__(self) -> None:
        await self._entrance.take(self._stage)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entrance.leave()
