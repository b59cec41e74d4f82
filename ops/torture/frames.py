"""`evenkeel torture frames`: broken frames by the million against a real worker, before and after hello.

Kept promises: the worker neither ends nor logs an error, it answers no frame with "internal", its memory stays within
bounds, every connection is ended in time, and a member who talks in the same room meanwhile notices nothing.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Final

import msgspec

from ops.torture.clients import Chatter
from ops.torture.mutate import MARKER, Mutator, framed
from ops.torture.process import ServerFactory, memory_mb
from ops.trial import TrialPerson, make_trial
from server.protocol.codec import Codec
from server.protocol.frames import Error, Hello
from server.supervisor.listener import bind

MOST_GROWTH_MB: Final = 50.0
TOGETHER: Final = 12
PEOPLE: Final = 8
# Caches fill and pools grow at first; what the memory is compared with comes after that.
WARM_SHARE: Final = 0.05
WARM_LEAST: Final = 5_000
HANDSHAKES_SHARE: Final = 0.05
ANSWER_S: Final = 20.0
_SAYS_EVERY: Final = 50_000
_LOUD: Final = frozenset({"error", "critical", "exception"})
# Nobody is on duty in this trial, and a few frames are calls for help: that is rightly said aloud.
_RIGHTLY: Final = frozenset({"nobody_to_call", "nobody_by_that_id"})
# How uvicorn says that it refused a damaged handshake.
_REFUSALS: Final = frozenset({"Invalid HTTP request received.", "Unsupported upgrade request."})
_CLOSE: Final = 8
_DATA: Final = (1, 2)


@dataclass
class FrameRun:
    """What was sent and what came of it.

    Attributes:
        frames: written to sockets before (0) and after (1) hello; handshakes: damaged ones.
        closes: how often the server closed with which code.
        answers: what came back: codes of errors, or kinds of replies.
        broken: what must not have happened, each kind with its count.
        memory_mb: of the worker, warm and at the end; None where the system does not say.
    """

    seed: int
    frames: list[int] = field(default_factory=lambda: [0, 0])
    handshakes: int = 0
    connections: int = 0
    resets: int = 0
    closes: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    memory_mb: list[float | None] = field(default_factory=list)
    witnessed: int = 0
    duration_s: float = 0.0

    @property
    def growth_mb(self) -> float | None:
        if len(self.memory_mb) < 2 or self.memory_mb[0] is None or self.memory_mb[-1] is None:
            return None
        return self.memory_mb[-1] - self.memory_mb[0]

    def facts(self) -> dict[str, Any]:
        """The run as plain values."""
        growth = self.growth_mb
        return {
            "ok": not self.broken,
            "seed": self.seed,
            "frames": sum(self.frames),
            "before_hello": self.frames[0],
            "after_hello": self.frames[1],
            "handshakes": self.handshakes,
            "connections": self.connections,
            "resets": self.resets,
            "closes": dict(self.closes.most_common()),
            "answers": dict(self.answers.most_common()),
            "witnessed": self.witnessed,
            "memory_growth_mb": None if growth is None else round(growth, 1),
            "duration_s": round(self.duration_s, 1),
            "broken": dict(self.broken),
        }


async def run_frames(
    folder: Path, *, count: int, seed: int, progress: Callable[[int], None] = lambda done: None
) -> FrameRun:
    """Send at least `count` frames to a worker over a new database in `folder`."""
    run = FrameRun(seed)
    rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be kept secret
    began = time.monotonic()
    trial = await make_trial(folder, f"sqlite:///{folder / 'e.db'}", rooms=1, per_room=PEOPLE + 1)
    listener = bind("127.0.0.1", 0)
    log = folder / "server.log"
    port = listener.getsockname()[1]
    witness, *people = trial.members[0]
    server = ServerFactory(trial.environ, log).start(listener)
    try:
        async with _witness(run, port, witness, trial.rooms[0], rng):
            warm = max(WARM_LEAST, int(count * WARM_SHARE))
            fuzz = _Fuzz(run, port, people, trial.rooms[0], rng)
            await fuzz.until(min(warm, count), progress)
            run.memory_mb.append(memory_mb(server.pid))
            await fuzz.until(count, progress)
            run.memory_mb.append(memory_mb(server.pid))
        await _stop(run, server)
    finally:
        server.kill()
        listener.close()
    growth = run.growth_mb
    if growth is not None and growth > MOST_GROWTH_MB:
        run.broken["memory grew"] = round(growth)
    run.broken.update(read_log(log.read_text(errors="replace")))
    run.duration_s = time.monotonic() - began
    return run


def read_log(text: str) -> Counter[str]:
    """What the worker should never have logged, by name of the event: errors, and lines that are no event at all."""
    found: Counter[str] = Counter()
    for line in text.splitlines():
        if line in _REFUSALS:
            continue
        try:
            event = json.loads(line)
        except ValueError:
            found["a line in the log that is no event"] += 1
            continue
        if event.get("severity") in _LOUD and event.get("event") not in _RIGHTLY:
            found[f"logged {event.get('event')} {event.get('error', '')} {event.get('at', '')}".strip()] += 1
    return found


@asynccontextmanager
async def _witness(run: FrameRun, port: int, person: TrialPerson, room: str, rng: random.Random) -> AsyncIterator[None]:
    """Somebody who talks in the room all the while; at the end everything they said must have been acknowledged."""
    chatter = Chatter(f"http://127.0.0.1:{port}", person, room, random.Random(rng.getrandbits(64)), 0.0)  # noqa: S311
    over = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(chatter.run(over))
        try:
            async with asyncio.timeout(ANSWER_S):
                await chatter.connected.wait()
            yield
        finally:
            chatter.stop()
            deadline = time.monotonic() + ANSWER_S
            while len(chatter.log.acks) < len(chatter.log.sent) and time.monotonic() < deadline:  # noqa: ASYNC110 - its log
                await asyncio.sleep(0.05)
            over.set()
    run.witnessed = len(chatter.log.acks)
    for what, is_so in (
        ("a member was sent away", chatter.log.gave_up),
        ("a member had to connect again", chatter.log.links > 1),
        ("a member's message was not acknowledged", len(chatter.log.acks) < max(1, len(chatter.log.sent))),
    ):
        if is_so:
            run.broken[what] += 1


class _Fuzz:
    """The connections that misbehave."""

    def __init__(self, run: FrameRun, port: int, people: list[TrialPerson], room: str, rng: random.Random) -> None:
        self._run, self._port, self._people, self._rng = run, port, people, rng
        self._room = room
        self._most = 0
        self._say_at = _SAYS_EVERY

    async def until(self, count: int, progress: Callable[[int], None]) -> None:
        """Go on until `count` frames were sent altogether."""
        self._most = count
        async with asyncio.TaskGroup() as tasks:
            for _ in range(TOGETHER):
                tasks.create_task(self._many(random.Random(self._rng.getrandbits(64)), progress))  # noqa: S311

    async def _many(self, rng: random.Random, progress: Callable[[int], None]) -> None:
        run = self._run
        while sum(run.frames) < self._most:
            try:
                async with asyncio.timeout(ANSWER_S):
                    await self._one(rng)
            except TimeoutError:
                run.broken["a connection was not ended in time"] += 1
            except ConnectionRefusedError:
                run.broken["a good handshake was refused"] += 1
                return
            except (OSError, asyncio.IncompleteReadError):
                run.resets += 1  # by the kernel, where something was unread when the server closed
            if sum(run.frames) >= self._say_at:
                self._say_at += _SAYS_EVERY
                progress(sum(run.frames))

    async def _one(self, rng: random.Random) -> None:
        """One connection with one batch."""
        codec = rng.choice(tuple(Codec))
        mutator = Mutator(rng, codec, self._room)
        request = _request(self._port, codec, rng.choice(self._people).token)
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            if rng.random() < HANDSHAKES_SHARE:
                self._run.handshakes += 1
                writer.write(mutator.damaged(request))
                writer.write_eof()
                await reader.read()
                return
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 101"):
                raise ConnectionRefusedError
            greeted = rng.random() < 0.6
            if greeted:
                hello = codec.encode(Hello(client_id="hello-fuzz", client="fuzz"))
                writer.write(framed(rng, hello, 1 if codec.is_text else 2))
            batch, frames = mutator.batch()
            writer.write(batch + mutator.marker())
            self._run.frames[greeted] += frames
            if await self._until_marker(reader, codec):
                writer.write(mutator.violent())
                self._run.frames[greeted] += 1
            writer.write_eof()
            await self._until_end(reader, codec)
        finally:
            writer.transport.abort()

    async def _until_marker(self, reader: asyncio.StreamReader, codec: Codec) -> bool:
        """Read up to the answer to the marker; False if the connection was closed before."""
        while True:
            opcode, payload = await _frame(reader)
            if opcode == _CLOSE:
                self._note_close(payload)
                return False
            if opcode in _DATA and self._note_answer(payload, codec) == MARKER:
                return True

    async def _until_end(self, reader: asyncio.StreamReader, codec: Codec) -> None:
        """Read what is left, to the end of the connection."""
        try:
            while True:
                opcode, payload = await _frame(reader)
                if opcode == _CLOSE:
                    self._note_close(payload)
                elif opcode in _DATA:
                    self._note_answer(payload, codec)
        except asyncio.IncompleteReadError:
            self._run.connections += 1

    def _note_close(self, payload: bytes) -> None:
        self._run.closes[str(int.from_bytes(payload[:2], "big")) if payload else "without a code"] += 1

    def _note_answer(self, payload: bytes, codec: Codec) -> str | None:
        """Count an answer; returns the command that it answers."""
        try:
            reply = codec.decode_reply(payload)
        except (ValueError, msgspec.MsgspecError):
            self._run.broken["an answer that can not be read"] += 1
            return None
        self._run.answers[reply.code if isinstance(reply, Error) else type(reply).__name__.lower()] += 1
        if isinstance(reply, Error) and reply.code == "internal":
            self._run.broken["answered with internal"] += 1
        return getattr(reply, "re", None)


async def _frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """(opcode, payload) of the next frame of the server. Raises IncompleteReadError at the end."""
    first, size = await reader.readexactly(2)
    if size >= 126:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
    return first & 0x0F, await reader.readexactly(size)


def _request(port: int, codec: Codec, token: str) -> bytes:
    return (
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"Sec-WebSocket-Protocol: {codec.subprotocol}\r\nAuthorization: Bearer {token}\r\n\r\n"
    ).encode()


async def _stop(run: FrameRun, server: ForkServerProcess) -> None:
    if not server.is_alive():
        run.broken["the worker ended"] += 1
        return
    server.terminate()
    await asyncio.to_thread(server.join, ANSWER_S)
    if server.exitcode != 0:
        run.broken["the worker did not stop in order"] += 1
