"""Very many sockets in a process of their own, which cost little: what a crowd of people is to the server.

Each keeps to PROTOCOL.md: it says hello, joins its room, answers pings, and after a loss waits as section 5 has it and
resumes from its position. It never sends. What it was told is kept as places and moments, without texts, and given back
at the end; moments are of `time.monotonic`, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import base64
import multiprocessing
import os
import random
import socket
import time
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final, Self, cast

import msgspec
import uvloop

from ops.torture.clients import Log, Told
from ops.torture.conditions import raise_open_files
from server.protocol.codec import Codec

FLOOR_S: Final = 0.5
CEILING_S: Final = 30.0
PROVEN_S: Final = 30.0
HANDSHAKE_S: Final = 10.0
BEAT_S: Final = 15.0
LIVE_LOOK_S: Final = 0.05
BEHIND_LOOK_S: Final = 0.25
BREATH_S: Final = 1.0
AGAIN_S: Final = 0.5
CUT: Final = "1006"
_FIN_BINARY, _CLOSE, _PING, _PONG = 0x82, 0x88, 0x89, 0x8A
_MASK: Final = bytes(4)


@dataclass(frozen=True, slots=True)
class Place:
    """One socket to be: on which port, whose, in which room."""

    port: int
    account: str
    token: str
    feed: str


@dataclass
class Story:
    """What one socket of a crowd went through.

    Attributes:
        joined_at: place of the room when it joined first.
        seqs, moments: each place that it was told of, in the order of telling, and when.
        skipped: places (first, last) that an express resync replaced.
        live: when it was live, and when it was not any more, in turn.
        ends: how its connections ended: close code ("1006": none came), HTTP status, or "late": no welcome
            came in time.
        pongs: how long the server took to answer its pings, in seconds, and (`pong_moments`) when it did.
    """

    joined_at: int = 0
    seqs: array[int] = field(default_factory=lambda: array("q"))
    moments: array[float] = field(default_factory=lambda: array("d"))
    skipped: list[tuple[int, int]] = field(default_factory=list)
    live: list[float] = field(default_factory=list)
    attempts: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    pongs: array[float] = field(default_factory=lambda: array("d"))
    pong_moments: array[float] = field(default_factory=lambda: array("d"))

    def was_live(self, since: float, until: float) -> bool:
        """Whether it was live from one moment to another, all the time."""
        began = bisect_right(self.live, since)
        return began % 2 == 1 and bisect_right(self.live, until) == began

    def log(self, place: Place) -> Log:
        """As the judge reads it, without texts."""
        told = [Told(of, "shown", None, at) for of, at in zip(self.seqs, self.moments, strict=True)]
        return Log(place.account, place.feed, joined_at=self.joined_at, told=told, skipped=self.skipped)


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
        self._process = context.Process(target=_crowd, args=given, daemon=True)
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


# --- in the other process ---------------------------------------------------------------------------------------------


def _crowd(pipe: Connection, places: list[Place], seed: int, ping_s: float | None, receive_buffer: int) -> None:
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
        self._write(bytes((_PONG, 0x80)) + _MASK)
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
        port, key = self._place.port, base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {Codec.MSGPACK.subprotocol}\r\n"
            f"Authorization: Bearer {self._place.token}\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._lost()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._stage == "upgrade":
            head, end, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self._end = f"HTTP {head[9:12].decode()}"
                self.cut()
                return
            self._buffer = bytearray(rest)
            self._stage = "hello"
            self._say({"t": "hello", "client_id": "crowd-hello", "client": "crowd"})
        self._frames()

    def _frames(self) -> None:
        buffer, at = self._buffer, 0
        while len(buffer) - at >= 2:
            size, head = buffer[at + 1], 2
            if size >= 126:
                head += 2 if size == 126 else 8
                if len(buffer) - at < head:
                    break
                size = int.from_bytes(buffer[at + 2 : at + head], "big")
            if len(buffer) - at < head + size:
                break
            self._frame(buffer[at], bytes(buffer[at + head : at + head + size]))
            at += head + size
        del buffer[:at]

    def _frame(self, first: int, payload: bytes) -> None:
        if first == _FIN_BINARY:
            self._take(msgspec.msgpack.decode(payload))
        elif first == _PING:
            self._write(bytes((_PONG, 0x80 | len(payload))) + _MASK + payload)
        elif first == _PONG and len(payload) == 8:
            now = time.monotonic()
            self.story.pongs.append(now - int.from_bytes(payload, "big") / 1e9)
            self.story.pong_moments.append(now)
        elif first == _CLOSE:
            self._end = str(int.from_bytes(payload[:2], "big")) if payload else "1005"
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
            self._write(bytes((_PING, 0x88)) + _MASK + time.monotonic_ns().to_bytes(8, "big"))
            self._at(self._room.ping_s, self._ping)

    def _say(self, command: Any) -> None:
        payload = msgspec.msgpack.encode(command)
        size = len(payload)
        head = bytes((_FIN_BINARY, 0x80 | size)) if size < 126 else bytes((_FIN_BINARY, 0xFE)) + size.to_bytes(2, "big")
        self._write(head + _MASK + payload)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
