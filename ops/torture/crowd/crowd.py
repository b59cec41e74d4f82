"""A crowd as a campaign sees it: told to come, to sleep, to wake or to tell, while it lives in another process."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self, cast

from ops.torture.crowd.people import run_crowd
from ops.torture.crowd.story import Place, Story

BEHIND_LOOK_S: Final = 0.25


class Crowd:
    """A crowd, seen from the campaign: it is there from entering to leaving; nobody is connected at first.

    Args:
        ping_s: each socket asks the server for a pong so often; None: never.
        receive_buffer: bytes that the system takes for one of them who does not read; 0: as it likes.
    """

    def __init__(
        self, places: Sequence[Place], seed: int, ping_s: float | None = None, receive_buffer: int = 0
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._mine, theirs = context.Pipe()
        given = (theirs, list(places), seed, ping_s, receive_buffer)
        self._process = context.Process(target=run_crowd, args=given, daemon=True)
        self._counted = asyncio.Event()
        self._count = 0
        self._answer: asyncio.Future[Any] | None = None

    async def __aenter__(self) -> Self:
        self._process.start()
        asyncio.get_running_loop().add_reader(self._mine.fileno(), self._heard)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._mine.fileno())
        self._process.kill()
        await asyncio.to_thread(self._process.join)
        self._mine.close()

    def come(self, over_s: float = 0.0) -> None:
        """Everybody connects, within so many seconds."""
        self._mine.send(("come", over_s))

    def cut(self) -> None:
        """Everybody is cut off in the same moment, and comes back as section 5 of PROTOCOL.md has it."""
        self._count = 0
        self._mine.send(("cut", 0.0))

    async def sleep(self) -> list[int]:
        """From now on nobody reads; they only show that they are there. Returns the ports of their sockets."""
        return cast(list[int], await self._ask("sleep"))

    def wake(self) -> None:
        """Everybody reads again, first what came meanwhile."""
        self._mine.send(("wake", 0.0))

    async def until_live(self, count: int, within_s: float) -> bool:
        """Wait until so many are live; False if it took too long."""
        try:
            async with asyncio.timeout(within_s):
                while self._count < count:
                    self._counted.clear()
                    await self._counted.wait()
        except TimeoutError:
            return False
        return True

    async def until_at(self, seq: int, within_s: float) -> int:
        """Wait until everybody was told their room up to place `seq`; returns how many were not in time."""
        until = time.monotonic() + within_s
        while (behind := int(await self._ask("behind", seq))) and time.monotonic() < until:  # noqa: ASYNC110 - asked of another process
            await asyncio.sleep(BEHIND_LOOK_S)
        return behind

    async def tell(self) -> list[Story]:
        """What each went through up to now, in the order of their places; everybody goes away."""
        return cast(list[Story], await self._ask("tell"))

    async def _ask(self, what: str, value: float = 0.0) -> Any:
        """What the other process answers; it is asked one thing at a time."""
        self._answer = asyncio.get_running_loop().create_future()
        self._mine.send((what, value))
        return await self._answer

    def _heard(self) -> None:
        try:
            is_count, said = self._mine.recv()
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self._mine.fileno())
            if self._answer is not None and not self._answer.done():
                self._answer.set_exception(RuntimeError("the crowd is gone"))
            return
        if is_count:
            self._count = said
            self._counted.set()
        elif self._answer is not None:
            self._answer.set_result(said)
