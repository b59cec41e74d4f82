"""A bad network between a client and a server on this machine: a TCP proxy that fails when told to.

Campaigns and tests put it before a server and say what goes wrong; nothing goes wrong by itself or by chance. What was
sent is never altered, only late, kept back, or cut off with its connection: as TCP does it. It listens and connects on
loopback only, and everything that it holds is bounded: past its bound it stops reading, as a full network would.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Final, Self

MAX_LINES: Final = 4096
MAX_DELAY_S: Final = 60.0
CHUNK_BYTES: Final = 16 * 1024
# Chunks on their way in one direction of one connection.
IN_FLIGHT: Final = 64
# A close with this says "reset" (RST) and not "end" (FIN).
_RESET: Final = struct.pack("ii", 1, 0)


class Way(Enum):
    """A direction. UP: from the client to the server. DOWN: from the server to the client."""

    UP = "up"
    DOWN = "down"


BOTH: Final = (Way.UP, Way.DOWN)


@dataclass
class _Fault:
    """What is wrong with one direction now. `passes` is clear while nothing comes through."""

    delay_s: float = 0.0
    bytes_per_s: float = 0.0
    cut_in: int | None = None
    passes: asyncio.Event = field(default_factory=asyncio.Event)

    def heal(self) -> None:
        self.delay_s, self.bytes_per_s, self.cut_in = 0.0, 0.0, None
        self.passes.set()


class FaultProxy:
    """Carries connections to port `target` of this machine while the block lasts.

    Args:
        target: the server's port; `aim` changes it.
        listener: a bound socket to listen on, which stays open; without one, a free port of 127.0.0.1.

    Attributes:
        url: where clients connect, as http.
        opened: connections that were ever taken; cuts: those that were reset, by command or by `cut_after`.
        carried: bytes that went through, by direction.
        ends: when an end of a connection said that it ends (`time.monotonic`), and the direction in which it spoke.
    """

    def __init__(self, target: int = 0, listener: socket.socket | None = None) -> None:
        self._target = target
        self._socket = socket.create_server(("127.0.0.1", 0)) if listener is None else listener.dup()
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.opened = self.cuts = 0
        self.carried: Counter[Way] = Counter()
        self.ends: list[tuple[Way, float]] = []
        self._faults = {way: _Fault() for way in Way}
        self._takes = True
        self._lines: set[_Line] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()
        self.heal()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._take, sock=self._socket, limit=CHUNK_BYTES)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.reset()
        await asyncio.gather(*self._tasks)
        await self._server.wait_closed()

    @property
    def open_lines(self) -> int:
        """Connections that are carried now, also those on which nothing comes through."""
        return len(self._lines)

    def aim(self, target: int) -> None:
        """Connections that come from now on go to this port; those that are carried stay where they are."""
        self._target = target

    async def until_opened(self, count: int) -> None:
        """Wait until `count` connections were ever taken."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.opened >= count)

    async def until_cut(self, count: int = 1) -> None:
        """Wait until `count` connections were ever reset."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.cuts >= count)

    # --- what goes wrong ----------------------------------------------------------------------------------------------

    def delay(self, seconds: float, *ways: Way) -> None:
        """From now on bytes arrive so much later, in their order; without `ways`, in both directions."""
        if not 0 <= seconds <= MAX_DELAY_S:
            raise ValueError(f"a delay is 0 to {MAX_DELAY_S} s")
        for way in ways or BOTH:
            self._faults[way].delay_s = seconds

    def throttle(self, bytes_per_s: float, *ways: Way) -> None:
        """From now on each connection carries so many bytes a second and no more."""
        if bytes_per_s < 1:
            raise ValueError("at least one byte a second; use `hold` for none")
        for way in ways or BOTH:
            self._faults[way].bytes_per_s = bytes_per_s

    def hold(self, *ways: Way) -> None:
        """A black hole: nothing comes through, not even the end of a connection, and nobody is told.

        What was sent meanwhile comes when it is healed, as TCP sends again what was not confirmed.
        """
        for way in ways or BOTH:
            self._faults[way].passes.clear()

    def reset(self) -> None:
        """Reset every connection at both ends, now."""
        for line in list(self._lines):
            line.reset()

    def half_close(self, way: Way) -> None:
        """End one direction of every connection: its reader sees the end, the other direction goes on."""
        for line in self._lines:
            line.end(way)

    def cut_after(self, count: int, way: Way = Way.DOWN) -> None:
        """Let `count` more bytes through in this direction, over all connections, and reset the one with the next.

        The bytes behind are lost. It happens once; say it again for another.
        """
        self._faults[way].cut_in = count

    def refuse(self) -> None:
        """From now on every new connection is reset before anything is said."""
        self._takes = False

    def heal(self) -> None:
        """Nothing is wrong any more; connections that were cut stay cut."""
        self._takes = True
        for fault in self._faults.values():
            fault.heal()

    # --- one connection -----------------------------------------------------------------------------------------------

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or not self._takes or len(self._lines) >= MAX_LINES:
            _close(writer, in_order=False)
            return
        self._tasks.add(task)
        line = _Line(self, reader, writer)
        self._lines.add(line)
        await self._count(opened=1)
        try:
            await line.run(self._target)
        finally:
            self._lines.discard(line)
            self._tasks.discard(task)
            if line.is_reset:
                await self._count(cuts=1)

    async def _count(self, *, opened: int = 0, cuts: int = 0) -> None:
        async with self._changed:
            self.opened += opened
            self.cuts += cuts
            self._changed.notify_all()

    def fault(self, way: Way) -> _Fault:
        return self._faults[way]


class _Line:
    """One connection: each direction is read into a short queue and written from it; empty is its end."""

    def __init__(self, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client = (reader, writer)
        self._writers = {Way.DOWN: writer}
        self._ended: set[Way] = set()
        self._reset = asyncio.Event()

    @property
    def is_reset(self) -> bool:
        return self._reset.is_set()

    def reset(self) -> None:
        self._reset.set()

    def end(self, way: Way) -> None:
        """Say the end in one direction; what comes behind it is dropped."""
        writer = self._writers.get(way)
        if writer is not None and way not in self._ended:
            self._ended.add(way)
            with contextlib.suppress(OSError):
                writer.write_eof()

    async def run(self, target: int) -> None:
        """Carry until both directions have ended, or it is reset, or there is no server."""
        in_order = False
        try:
            reader, self._writers[Way.UP] = await asyncio.open_connection("127.0.0.1", target, limit=CHUNK_BYTES)
            for writer in self._writers.values():
                # `drain` then returns when all is with the system, so that a reset never takes back what went through.
                writer.transport.set_write_buffer_limits(0)
            async with asyncio.TaskGroup() as tasks:
                cut = tasks.create_task(self._reset.wait())
                carrying = [tasks.create_task(self._carry(Way.UP, self._client[0]))]
                carrying.append(tasks.create_task(self._carry(Way.DOWN, reader)))
                ended = tasks.create_task(asyncio.wait(carrying))
                await asyncio.wait({cut, ended}, return_when=asyncio.FIRST_COMPLETED)
                in_order = not self.is_reset
                for task in (cut, ended, *carrying):
                    task.cancel()
        except OSError:
            self.reset()
        finally:
            for writer in self._writers.values():
                _close(writer, in_order=in_order)

    async def _carry(self, way: Way, reader: asyncio.StreamReader) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(IN_FLIGHT)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read(way, reader, queue))
            tasks.create_task(self._write(way, queue))

    async def _read(self, way: Way, reader: asyncio.StreamReader, queue: asyncio.Queue[tuple[float, bytes]]) -> None:
        loop, fault = asyncio.get_running_loop(), self._proxy.fault(way)
        data = b"."
        while data:
            try:
                data = await reader.read(CHUNK_BYTES)
            except OSError:
                self._proxy.ends.append((way, time.monotonic()))
                await self._tell_reset(fault)
                return
            if not data:
                self._proxy.ends.append((way, time.monotonic()))
            await queue.put((loop.time() + fault.delay_s, data))

    async def _write(self, way: Way, queue: asyncio.Queue[tuple[float, bytes]]) -> None:
        loop, fault = asyncio.get_running_loop(), self._proxy.fault(way)
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not data:
                await fault.passes.wait()
                self.end(way)
                return
            while data:
                await fault.passes.wait()
                rate = fault.bytes_per_s
                size = len(data) if not rate else max(1, min(len(data), int(rate / 20)))
                if fault.cut_in is not None and fault.cut_in < size:
                    size, fault.cut_in = fault.cut_in, None
                    await self._put(way, data[:size])
                    self.reset()
                    return
                if fault.cut_in is not None:
                    fault.cut_in -= size
                await self._put(way, data[:size])
                data = data[size:]
                if rate:
                    await asyncio.sleep(size / rate)

    async def _tell_reset(self, fault: _Fault) -> None:
        """A reset waits for no reader and overtakes what was sent before it, but goes no way that nothing goes."""
        await asyncio.sleep(fault.delay_s)
        await fault.passes.wait()
        self.reset()

    async def _put(self, way: Way, piece: bytes) -> None:
        """Give bytes to their reader, if that direction was not ended."""
        writer = self._writers[way]
        if way in self._ended or not piece:
            return
        try:
            writer.write(piece)
            await writer.drain()
        except OSError:
            self._ended.add(way)
            await self._tell_reset(self._proxy.fault(Way.DOWN if way is Way.UP else Way.UP))
        else:
            self._proxy.carried[way] += len(piece)


def _close(writer: asyncio.StreamWriter, *, in_order: bool) -> None:
    """Close an end: in order, or with a reset and without what it still held."""
    if in_order:
        writer.close()
        return
    there = writer.get_extra_info("socket")
    if there is not None and not writer.is_closing():
        with contextlib.suppress(OSError):
            there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
