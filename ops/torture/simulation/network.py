"""What lies between people and servers, and between servers: lines that take time, stall and break; a bus that forgets.

Bytes of one line arrive in the order in which they were sent, or not at all. A line may end with both sides told, with
one, or with none. The bus loses, delays, doubles and reorders what it is given, and is silent where it is cut.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ops.torture.simulation.loop import Host, SimulatedLoop
from server.bus.port import Nudge
from server.feeds import FeedEvent
from server.live.connection import Connection

WAY_S: Final = (0.0005, 0.02)
# Far below the real ones, so that a few hundred bytes that nobody reads are already too many.
HIGH_WATER_BYTES: Final = 700
LOW_WATER_BYTES: Final = 200


class Pipe:
    """One direction of a line: what is put in comes out later, in order.

    Args:
        out: called with what was put in, in `context`; None is the end.
        held_until: when the other side reads again.
    """

    def __init__(
        self,
        loop: SimulatedLoop,
        rng: random.Random,
        out: Callable[[bytes | None], None],
        context: contextvars.Context,
        held_until: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._loop, self._rng, self._out, self._context = loop, rng, out, context
        self._held_until = held_until
        self._waiting: deque[tuple[float, bytes | None]] = deque()
        self._last = 0.0
        self.is_cut = False

    def put(self, data: bytes | None) -> None:
        if self.is_cut:
            return
        self._last = max(self._last, self._loop.time() + self._rng.uniform(*WAY_S))
        self._waiting.append((self._last, data))
        if len(self._waiting) == 1:
            self._loop.call_at(self._last, self._deliver, context=self._context)

    def cut(self) -> None:
        """Nothing comes out any more."""
        self.is_cut = True
        self._waiting.clear()

    def _deliver(self) -> None:
        if self.is_cut or not self._waiting:
            return
        held = self._held_until()
        if held > self._loop.time():
            self._loop.call_at(held, self._deliver, context=self._context)
            return
        _, data = self._waiting.popleft()
        if self._waiting:
            self._loop.call_at(self._waiting[0][0], self._deliver, context=self._context)
        self._out(data)


class Line(asyncio.Transport):
    """A connection from a person to a server; the server's side is the transport of its protocol.

    Args:
        protocol: makes the server's side.
        heard: called with what the server wrote, and with None when the person is told that the line ended.
        held_until: when the person reads again.
    """

    def __init__(
        self,
        loop: SimulatedLoop,
        rng: random.Random,
        host: Host,
        protocol: Callable[[], Connection],
        heard: Callable[[bytes | None], None],
        held_until: Callable[[], float],
    ) -> None:
        super().__init__()
        self._loop, self.host = loop, host
        self._protocol = protocol()
        self._down = Pipe(loop, rng, self._to_person, loop.outside, held_until)
        self._up = Pipe(loop, rng, self._to_server, host.context)
        self._heard = heard
        self._buffered = 0
        self._is_full = False
        self._is_closing = False
        self._is_lost = False
        self._is_made = False
        self._reads = True
        self._unread: deque[bytes | None] = deque()

    # --- the person's side ---

    def send(self, data: bytes) -> None:
        self._up.put(data)

    def hang_up(self) -> None:
        """The person ends the line, and wants to hear nothing more."""
        self._heard = _deaf
        self._up.put(None)

    def cut(self, tell_person_s: float | None, tell_server_s: float | None) -> None:
        """Nothing passes any more; each side is told after so long, or never (None)."""
        self._down.cut()
        self._up.cut()
        if tell_person_s is not None:
            self._loop.call_later(tell_person_s, self._to_person, None, context=self._loop.outside)
        if tell_server_s is not None:
            self._loop.call_later(tell_server_s, self._lose, context=self.host.context)

    def _to_person(self, data: bytes | None) -> None:
        if data is not None:
            self._buffered -= len(data)
            if self._is_full and self._buffered <= LOW_WATER_BYTES and not self._is_lost:
                self._is_full = False
                self._loop.call_soon(self._resume, context=self.host.context)
        heard = self._heard
        if data is None:
            self._heard = _deaf
        heard(data)

    # --- the server's side ---

    def _to_server(self, data: bytes | None) -> None:
        self._unread.append(data)
        self._read()

    def _read(self) -> None:
        if not self._is_made and not self.host.is_dead:
            self._is_made = True
            self._protocol.connection_made(self)
        while self._unread and self._reads and not self._is_lost and not self.host.is_dead:
            data = self._unread.popleft()
            if data is None:
                self._lose()
            else:
                self._protocol.data_received(data)

    def _resume(self) -> None:
        if not self._is_lost and not self.host.is_dead:
            self._protocol.resume_writing()

    def _lose(self) -> None:
        if not self._is_lost and not self.host.is_dead:
            self._is_lost = self._is_closing = True
            self._down.put(None)
            self._protocol.connection_lost(None)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_lost or self.host.is_dead:
            return
        self._down.put(bytes(data))
        if self._down.is_cut:
            return
        self._buffered += len(data)
        if self._buffered > HIGH_WATER_BYTES and not self._is_full:
            self._is_full = True
            self._protocol.pause_writing()

    def write_eof(self) -> None:
        self._down.put(None)

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._loop.call_soon(self._lose, context=self.host.context)

    def abort(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return self._is_closing

    def pause_reading(self) -> None:
        self._reads = False

    def resume_reading(self) -> None:
        self._reads = True
        self._loop.call_soon(self._read, context=self.host.context)

    def get_write_buffer_size(self) -> int:
        return self._buffered

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("10.0.0.1", 40_000) if name == "peername" else default


def _deaf(data: bytes | None) -> None:
    del data


@dataclass(frozen=True, slots=True)
class Manners:
    """What a bus does to what it is given: shares from 0 to 1, and the longest delay in seconds."""

    loses: float
    doubles: float
    delay_s: float


class Medium:
    """What carries the words of all buses of one service."""

    def __init__(self, loop: SimulatedLoop, rng: random.Random, manners: Manners) -> None:
        self._loop, self._rng, self._manners = loop, rng, manners
        self._cut_until: dict[str, float] = {}
        self.buses: list[SimulatedBus] = []
        self.fates: Counter[str] = Counter()

    def cut_off(self, host: Host, seconds: float) -> None:
        """`host` neither hears nor is heard for so long. Afterwards it may be told to look at everything, or not."""
        self._cut_until[host.name] = self._loop.time() + seconds
        if self._rng.random() < 0.5:
            for bus in self.buses:
                if bus.host is host:
                    self._loop.call_later(seconds, bus.take, None, Nudge.EVERYTHING, (), context=host.context)

    def is_cut(self, host: Host) -> bool:
        return self._cut_until.get(host.name, 0.0) > self._loop.time()

    def say(
        self,
        speaker: SimulatedBus,
        moved: tuple[tuple[str, int, int], ...] | None,
        nudge: Nudge | None,
        ids: Sequence[str],
    ) -> None:
        for bus in self.buses:
            if bus is speaker or bus.host.is_dead:
                continue
            if self.is_cut(speaker.host) or self.is_cut(bus.host) or self._rng.random() < self._manners.loses:
                self.fates["lost"] += 1
                continue
            doubled = self._rng.random() < self._manners.doubles
            self.fates["doubled" if doubled else "said"] += 1
            for _ in range(2 if doubled else 1):
                delay = self._rng.uniform(0.0, self._manners.delay_s)
                self._loop.call_later(delay, bus.take, moved, nudge, tuple(ids), context=bus.host.context)


class SimulatedBus:
    """The bus of one host; a third implementation of `server.bus.port.Bus`."""

    def __init__(self, medium: Medium, host: Host) -> None:
        self._medium, self.host = medium, host
        self._events: list[Callable[[Sequence[FeedEvent]], None]] = []
        self._moved: list[Callable[[str, int, int], None]] = []
        self._looks: dict[Nudge, list[Callable[[Sequence[str]], None]]] = {}
        medium.buses.append(self)

    def announce(self, events: Sequence[FeedEvent]) -> None:
        for listener in self._events:
            listener(events)
        highest: dict[str, tuple[int, int]] = {}
        for event in events:
            at = (event.epoch, event.seq)
            highest[event.feed] = max(at, highest.get(event.feed, at))
        self._medium.say(self, tuple((feed, *at) for feed, at in highest.items()), None, ())

    def listen(self, events: Callable[[Sequence[FeedEvent]], None], moved: Callable[[str, int, int], None]) -> None:
        self._events.append(events)
        self._moved.append(moved)

    def nudge(self, what: Nudge, ids: Sequence[str] = ()) -> None:
        self._medium.say(self, None, what, ids)

    def heed(self, what: Nudge, look: Callable[[Sequence[str]], None]) -> None:
        self._looks.setdefault(what, []).append(look)

    def spend(self, allowance: str) -> None:
        del allowance  # nobody here comes near a limit

    def heed_spent(self, count: Callable[[str, int], None]) -> None:
        del count

    def hears(self) -> bool:
        return not self._medium.is_cut(self.host)

    def take(self, moved: tuple[tuple[str, int, int], ...] | None, nudge: Nudge | None, ids: Sequence[str]) -> None:
        """What another host said, or the medium itself."""
        if self.host.is_dead:
            return
        for feed, epoch, seq in moved or ():
            for listener in self._moved:
                listener(feed, epoch, seq)
        if nudge is not None:
            for look in self._looks.get(nudge, ()):
                look(ids)
