"""The process of a crowd: each comes, is cut off, waits as PROTOCOL.md section 5 has it, and resumes; nobody sends.

Each keeps to PROTOCOL.md: it says hello, joins its room, answers pings, and resumes from its position. What it was told
is kept as places and moments, without texts, and given back at the end; moments are of `time.monotonic`, which all
processes of a machine share.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from multiprocessing.connection import Connection
from typing import Any, Final, cast

import msgspec
import uvloop

from ops.torture.conditions import raise_open_files
from ops.torture.crowd import wire
from ops.torture.crowd.story import Place, Story

FLOOR_S: Final = 0.5
CEILING_S: Final = 30.0
PROVEN_S: Final = 30.0
HANDSHAKE_S: Final = 10.0
BEAT_S: Final = 15.0
LIVE_LOOK_S: Final = 0.05
BREATH_S: Final = 1.0
AGAIN_S: Final = 0.5
CUT: Final = wire.NO_CODE


def run_crowd(pipe: Connection, places: list[Place], seed: int, ping_s: float | None, receive_buffer: int) -> None:
    raise_open_files()
    uvloop.run(_Room(pipe, places, seed, ping_s, receive_buffer).run())


class _Room:
    """Everybody, and who they obey."""

    def __init__(
        self, pipe: Connection, places: list[Place], seed: int, ping_s: float | None, receive_buffer: int
    ) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be kept secret
        self.ping_s, self.receive_buffer = ping_s, receive_buffer
        self.live = 0
        self._pipe = pipe
        self._people = [_Person(self, place) for place in places]
        self._over = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._pipe.fileno(), self._obey)
        said = -1
        while not self._over.is_set():
            if self.live != said:
                said = self.live
                self._pipe.send((True, said))
            await asyncio.sleep(LIVE_LOOK_S)
        for person in self._people:
            person.leave()
        # Watching it has made it refuse what does not fit at once.
        loop.remove_reader(self._pipe.fileno())
        os.set_blocking(self._pipe.fileno(), True)
        self._pipe.send((False, [person.story for person in self._people]))
        await asyncio.Event().wait()

    def _obey(self) -> None:
        try:
            what, value = self._pipe.recv()
        except EOFError:
            # The campaign is gone without a word: nobody is left to tell anything.
            os._exit(1)
        if what == "come":
            for person in self._people:
                person.come_in(self.rng.uniform(0.0, value))
        elif what == "cut":
            for person in self._people:
                person.cut()
        elif what == "sleep":
            self._pipe.send((False, [port for person in self._people if (port := person.sleep())]))
        elif what == "behind":
            self._pipe.send((False, sum(person.seq < value for person in self._people)))
        elif what == "wake":
            for person in self._people:
                person.wake()
        else:
            self._over.set()


class _Person(asyncio.Protocol):
    """One place of the crowd: at most one connection at a time, and the wait between two.

    Attributes:
        seq: place up to which it was told its room.
    """

    def __init__(self, room: _Room, place: Place) -> None:
        self.story = Story()
        self._room, self._place = room, place
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._attempt = 0
        self._epoch = self.seq = 0
        self._stage = ""
        self._is_live = False
        self._is_gone = False
        self._end = CUT
        self._welcomed_at = 0.0
        self._timers: list[asyncio.TimerHandle] = []
        self._task: asyncio.Task[None] | None = None

    # --- coming and going ---

    def come_in(self, after_s: float) -> None:
        self._at(after_s, self._connect)

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def sleep(self) -> int | None:
        """Read nothing, and show no other sign of it; returns the port, None without a connection."""
        if self._transport is None:
            return None
        self._forget_timers()
        self._transport.pause_reading()
        self._breathe()
        return int(self._transport.get_extra_info("sockname")[1])

    def _breathe(self) -> None:
        """A pong that nobody asked for: whoever sleeps is not closed for being silent."""
        self._write(wire.framed(wire.PONG, b""))
        self._at(BREATH_S, self._breathe)

    def wake(self) -> None:
        if self._transport is not None:
            self._forget_timers()
            self._at(BEAT_S, self._beat)
            self._transport.resume_reading()

    def leave(self) -> None:
        self._is_gone = True
        self._forget_timers()
        self.cut()

    def _at(self, after_s: float, what: Any) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(after_s, what))

    def _forget_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _connect(self) -> None:
        self._forget_timers()
        self.story.attempts += 1
        self._stage, self._end, self._welcomed_at = "upgrade", CUT, 0.0
        self._buffer.clear()
        self._at(HANDSHAKE_S, self._not_welcome_yet)
        self._task = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        there = socket.socket()
        try:
            if self._room.receive_buffer:
                there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._room.receive_buffer)
            there.setblocking(False)
            await loop.sock_connect(there, ("127.0.0.1", self._place.port))
            await loop.create_connection(lambda: self, sock=there)
        except OSError:
            there.close()
            self._lost()

    def _not_welcome_yet(self) -> None:
        if not self._welcomed_at:
            self._end = "late"
            self.cut()

    def _lost(self) -> None:
        self._forget_timers()
        self.story.ends[self._end] += 1
        if self._is_live:
            self._is_live = False
            self._room.live -= 1
            self.story.live.append(time.monotonic())
        if self._is_gone:
            return
        if self._welcomed_at and time.monotonic() - self._welcomed_at >= PROVEN_S:
            self._attempt = 0
        cap = min(CEILING_S, float(2 ** min(self._attempt, 6)))
        self._attempt += 1
        self._at(self._room.rng.uniform(FLOOR_S, cap), self._connect)

    # --- the transport ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # As in `server.live.socket`: uvloop's transports are of no class of asyncio's.
        self._transport = transport = cast(asyncio.Transport, transport)
        transport.write(wire.upgrade(self._place.port, self._place.token))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._lost()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._stage == "upgrade":
            status = wire.take_status(self._buffer)
            if status is None:
                return
            if status != wire.SWITCHING:
                self._end = f"HTTP {status}"
                self.cut()
                return
            self._stage = "hello"
            self._say({"t": "hello", "client_id": "crowd-hello", "client": "crowd"})
        for first, payload in wire.take_frames(self._buffer):
            self._frame(first, payload)

    def _frame(self, first: int, payload: bytes) -> None:
        if first == wire.BINARY:
            self._take(msgspec.msgpack.decode(payload))
        elif first == wire.PING:
            self._write(wire.framed(wire.PONG, payload))
        elif first == wire.PONG and len(payload) == 8:
            now = time.monotonic()
            self.story.pongs.append(now - int.from_bytes(payload, "big") / 1e9)
            self.story.pong_moments.append(now)
        elif first == wire.CLOSE:
            self._end = wire.close_code(payload)
            self.cut()

    # --- what is said ---

    def _take(self, said: Any) -> None:
        kind = said["t"]
        if kind == "event":
            self._event(said)
        elif kind == "welcome":
            self._welcomed_at = time.monotonic()
            self._join()
        elif kind == "joined":
            self._joined(said)
        elif kind == "error" and self._welcomed_at and said.get("retry") != "never":
            self._at(max(AGAIN_S, said.get("retry_after_ms", 0) / 1_000), self._join)
        elif kind == "error":
            self._end = str(said["code"])
            self.cut()

    def _join(self) -> None:
        join = {"t": "join", "client_id": f"crowd-{self.story.attempts:08d}", "feed": self._place.feed}
        after = {"after": {"epoch": self._epoch, "seq": self.seq}} if self._epoch else {}
        self._say({**join, **after})

    def _joined(self, said: Any) -> None:
        if not said.get("recovered"):
            if not self._epoch:
                self.story.joined_at = said["seq"]
            else:
                self.story.skipped.append((self.seq + 1, said["seq"]))
            self._epoch, self.seq = said["epoch"], said["seq"]
        if not self._is_live:
            self._is_live = True
            self._room.live += 1
            self.story.live.append(time.monotonic())
            self._at(self._room.rng.uniform(0.0, BEAT_S), self._beat)
            if self._room.ping_s is not None:
                self._at(self._room.rng.uniform(0.0, self._room.ping_s), self._ping)

    def _event(self, said: Any) -> None:
        seq = said["seq"]
        if seq <= self.seq:
            return
        self.seq = seq
        item = said["item"]
        if item["kind"] == "message" and item["change"] == "new":
            self.story.seqs.append(item["of"])
            self.story.moments.append(time.monotonic())

    def _beat(self) -> None:
        self._say({"t": "beat", "at": {self._place.feed: self.seq}})
        self._at(BEAT_S, self._beat)

    def _ping(self) -> None:
        if self._room.ping_s is not None:
            self._write(wire.framed(wire.PING, time.monotonic_ns().to_bytes(8, "big")))
            self._at(self._room.ping_s, self._ping)

    def _say(self, command: Any) -> None:
        self._write(wire.framed(wire.BINARY, msgspec.msgpack.encode(command)))

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
