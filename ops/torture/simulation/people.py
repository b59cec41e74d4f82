"""The people of a simulation: clients of the public protocol, one outstanding command at a time, without a task.

What a reader holds is kept by the SDK's own reducer (`clients.sdk.view`); frames, resuming and sending again are
written out here, because the SDK's connection needs a socket. Each keeps a log for the judge
(`ops.torture.clients.Log`).
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from typing import Final

from clients.sdk.view import Change, FeedView, Outcome
from ops.torture.clients import CLEAN, URGENT, Log, Told, words
from ops.torture.simulation.loop import SimulatedLoop
from ops.torture.simulation.network import Line
from ops.torture.simulation.server import Server
from server.protocol.codec import Codec
from server.protocol.codes import close_advice
from server.protocol.frames import (
    Ack,
    Act,
    AnyCommand,
    Beat,
    BeatReply,
    CaseItem,
    Drain,
    Error,
    Event,
    FeedPosition,
    Held,
    Hello,
    Join,
    Joined,
    MessageItem,
    PageItem,
    Send,
    Shown,
    Welcome,
)

BEAT_S: Final = 4.0
SILENT_S: Final = 3.0
CONNECT_S: Final = 6.0
BACK_S: Final = (0.05, 1.0)
CLAIM_SHARE: Final = 0.5
_UPGRADE: Final = (
    "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    "Sec-WebSocket-Protocol: {subprotocol}\r\nAuthorization: Bearer {token}\r\n\r\n"
)


class Person:
    """Somebody with a client.

    Args:
        servers: where it may connect to.
        feeds: what it follows, by full name.

    Attributes:
        slow_until: it reads nothing before.
    """

    features: tuple[str, ...] = ()

    def __init__(
        self,
        loop: SimulatedLoop,
        rng: random.Random,
        servers: list[Server],
        name: str,
        account: str,
        token: str,
        feeds: tuple[str, ...],
    ) -> None:
        self.loop, self.rng, self._servers = loop, rng, servers
        self.name, self.log = name, Log(account, feeds[0])
        self._codec = rng.choice(list(Codec))
        self._upgrade = _UPGRADE.format(subprotocol=self._codec.subprotocol, token=token).encode()
        self._feeds = {_wire(feed): FeedView(feed) for feed in feeds}
        self._joining: dict[str, str] = {}
        self.waiting: dict[str, AnyCommand] = {}
        self._line: Line | None = None
        self._buffer = b""
        self._is_open = self._is_welcome = False
        self._heard_at = self._steady_since = 0.0
        self.slow_until = 0.0
        self.note: Callable[[str, str, bytes], None] = lambda what, who, data: None

    # --- the connection ---

    @property
    def is_connected(self) -> bool:
        """Whether it is connected and follows all that it should."""
        return self._is_welcome and not self._joining

    def connect(self) -> None:
        """Connect to whichever server takes connections; later, if none does."""
        if self._line is not None or self.log.gave_up:
            return
        open_ones = [server for server in self._servers if server.is_open]
        if not open_ones:
            self._later(self.rng.uniform(*BACK_S), self.connect)
            return
        self._buffer, self._is_open, self._is_welcome = b"", False, False
        server = self.rng.choice(open_ones)
        made: list[Line] = []

        def heard(data: bytes | None) -> None:
            if made and self._line is made[0]:
                self._heard(data)

        self._line = server.connect(self.rng, heard, lambda: self.slow_until)
        made.append(self._line)
        self._line.send(self._upgrade)
        self._later(CONNECT_S, self._check_welcome, self._line)

    def _later(self, delay_s: float, call: Callable[..., None], *args: object) -> None:
        self.loop.call_later(delay_s, call, *args, context=self.loop.outside)

    def cut(self, tell_person_s: float | None, tell_server_s: float | None) -> None:
        """The network under its connection breaks."""
        if self._line is not None:
            self._line.cut(tell_person_s, tell_server_s)

    def _check_welcome(self, line: Line) -> None:
        if self._line is line and not self._is_welcome:
            self._leave()

    def _leave(self) -> None:
        if self._line is not None:
            self._line.hang_up()
        self._lost()

    def _lost(self) -> None:
        self._line, self._is_open, self._is_welcome = None, False, False
        self._joining.clear()
        self.log.links += 1
        self._later(self.rng.uniform(*BACK_S), self.connect)

    def _heard(self, data: bytes | None) -> None:
        if data is None:
            self._lost()
            return
        self._heard_at = self.loop.time()
        self._buffer += data
        if not self._is_open:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head.split(b"\r\n", 1)[0]:
                self._leave()
                return
            self._is_open, self._buffer = True, rest
            resume = tuple(
                FeedPosition(feed=wire, epoch=at.epoch, seq=at.seq)
                for wire, view in self._feeds.items()
                if (at := view.position) is not None
            )
            # Either way of coming back is allowed: with the hello, or by a join for each feed.
            resume = resume if self.rng.random() < 0.5 else ()
            for position in resume:
                self._joining[position.feed] = ""
            self._say(Hello(client_id=self._new_id(), client="simulated", features=self.features, resume=resume))
        while self._is_open and (frame := self._next_frame()) is not None:
            self._frame(*frame)

    def _next_frame(self) -> tuple[int, bytes] | None:
        data = self._buffer
        if len(data) < 2:
            return None
        length, at = data[1], 2
        if length == 126:
            length, at = int.from_bytes(data[2:4], "big"), 4
        elif length == 127:
            length, at = int.from_bytes(data[2:10], "big"), 10
        if len(data) < at + length:
            return None
        self._buffer = data[at + length :]
        return data[0] & 0x0F, data[at : at + length]

    def _frame(self, opcode: int, payload: bytes) -> None:
        self.note("heard", self.name, payload)
        if opcode == 0x8:
            advice = close_advice(int.from_bytes(payload[:2], "big"))
            if not advice.reconnect:
                self.log.gave_up = True
            self._leave()
        elif opcode == 0x9:
            self._send_frame(0x8A, payload)
        elif opcode in (0x1, 0x2):
            self._take(payload)

    def _send_frame(self, first: int, payload: bytes) -> None:
        if self._line is None:
            return
        size = len(payload)
        head = bytes((first, 0x80 | size)) if size < 126 else bytes((first, 0xFE)) + size.to_bytes(2, "big")
        self._line.send(head + bytes(4) + payload)

    def _say(self, command: AnyCommand) -> None:
        self._send_frame(0x81 if self._codec.is_text else 0x82, self._codec.encode(command))

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    # --- what is said and answered ---

    def ask(self, command: AnyCommand, named: str) -> None:
        """Send a command, and again after each reconnect, until it is answered."""
        self.waiting[named] = command
        if self._is_welcome:
            self._say(command)
            if self.rng.random() < 0.1:
                self._say(command)  # as when it was sent again while the answer was on its way

    def _again(self, named: str) -> None:
        command = self.waiting.get(named)
        if command is not None and self._is_welcome:
            self._say(command)

    def _take(self, payload: bytes) -> None:
        reply = self._codec.decode_reply(payload)
        if isinstance(reply, Event):
            self._event(reply)
        elif isinstance(reply, Welcome):
            self._welcomed()
        elif isinstance(reply, Joined):
            self._joined(reply)
        elif isinstance(reply, BeatReply):
            for wire, place in reply.at.items():
                if wire not in self._joining and self._feeds[wire].last < place.seq:
                    self._join(wire)
        elif isinstance(reply, Drain):
            self._later(reply.after_ms / 1000, self._drained, self._line)
        elif isinstance(reply, Error):
            self._refused(reply)
        else:
            self._answered(reply)

    def _welcomed(self) -> None:
        self._is_welcome = True
        for wire in self._feeds:
            if wire not in self._joining:
                self._join(wire)
        for command in list(self.waiting.values()):
            self._say(command)
        if self._line is not None:
            self._later(BEAT_S, self._beat, self._line)

    def _joined(self, joined: Joined) -> None:
        view = self._feeds[joined.feed]
        # After an older answer come events that this client has asked for anew.
        if self._joining.get(joined.feed) == (joined.re or ""):
            del self._joining[joined.feed]
        self._steady_since = self.loop.time()
        is_first = view.epoch is None
        for change in view.joined(joined):
            self._changed(change)
        if is_first and view.feed == self.log.feed:
            self.log.joined_at = view.last

    def _drained(self, line: Line) -> None:
        if self._line is line:
            self._leave()

    def _join(self, wire: str) -> None:
        named = self._new_id()
        self._joining[wire] = named
        self._say(Join(client_id=named, feed=wire, after=self._feeds[wire].position))

    def _event(self, event: Event) -> None:
        if event.feed in self._joining:
            return
        step = self._feeds[event.feed].event(event)
        if step.outcome is Outcome.GAP:
            self.log.jumps.append(f"{event.feed} {event.seq} after {self._feeds[event.feed].last}")
            self._join(event.feed)
        if step.change is not None:
            self._changed(step.change)

    def _beat(self, line: Line) -> None:
        if self._line is not line:
            return
        self._say(Beat(at={wire: view.last for wire, view in self._feeds.items() if view.epoch is not None}))
        self._later(SILENT_S, self._check_heard, line, self.loop.time())

    def _check_heard(self, line: Line, asked_at: float) -> None:
        if self._line is not line:
            return
        if self._heard_at < asked_at and self.slow_until <= self.loop.time():
            self._leave()
            return
        for wire, named in list(self._joining.items()):
            if not named:
                self._join(wire)  # what the hello was to bring back has not come
        self._later(BEAT_S - SILENT_S, self._beat, line)

    def _refused(self, error: Error) -> None:
        named = error.re or ""
        wait_s = max(0.2, (error.retry_after_ms or 0) / 1000)
        for wire, joining in list(self._joining.items()):
            if joining == named or (not joining and error.field == wire):
                self._later(wait_s, self._join_again, self._line, wire)
        if named in self.waiting:
            if error.retry == "never":
                self.refused(named, error)
            else:
                self._later(wait_s, self._again, named)

    def _join_again(self, line: Line, wire: str) -> None:
        if self._line is line and self._is_welcome:
            self._join(wire)

    def _changed(self, change: Change) -> None:
        """What this client was told."""
        item = change.item
        if isinstance(item, MessageItem) and item.change == "new":
            body = item.view.body if isinstance(item.view, Shown | Held) else None
            self.log.told.append(Told(item.of, type(item.view).__name__.lower(), body, self.loop.time()))
            self.log.steady[item.of] = max(self._steady_since, self.slow_until)
        elif isinstance(item, PageItem):
            self.log.pages.add(item.id)

    def _answered(self, reply: object) -> None:
        named = getattr(reply, "re", None)
        if isinstance(named, str):
            self.waiting.pop(named, None)

    def refused(self, named: str, error: Error) -> None:
        """A command was refused for good."""
        del error
        self.waiting.pop(named, None)

    def stands_at(self, feed: str) -> int:
        """The last place of a feed that was applied."""
        return self._feeds[_wire(feed)].last


class Talker(Person):
    """A member who says so many messages, each after the one before was answered, with rests between.

    Args:
        rest_s: the longest rest.
        urgent: share of messages that are.
    """

    features = ("handling",)

    def talk(self, count: int, rest_s: float, urgent: float) -> None:
        """Begin to talk."""
        self._left, self._rest_s, self._urgent = count, rest_s, urgent
        self._later(self.rng.random() * rest_s, self._speak)

    def _speak(self) -> None:
        if self._left <= 0:
            return
        self._left -= 1
        text = URGENT if self.rng.random() < self._urgent else self.rng.choice(CLEAN)
        named = self._new_id()
        self.log.sent[named] = words(self.name, len(self.log.sent), text)
        self.ask(Send(client_id=named, feed=self.log.feed, body=self.log.sent[named]), named)

    def _answered(self, reply: object) -> None:
        if isinstance(reply, Ack):
            first = reply.re not in self.log.acks
            self.log.acks.setdefault(reply.re, []).append(reply)
            if first:
                self.log.answered[reply.re] = self.loop.time()
                self._later(self.rng.random() * self._rest_s, self._speak)
        super()._answered(reply)

    def refused(self, named: str, error: Error) -> None:
        """It stays unanswered, for the judge to find; the next one is said."""
        super().refused(named, error)
        self._later(self.rng.random() * self._rest_s, self._speak)


class OnDuty(Person):
    """A moderator, who takes some of what comes up."""

    features = ("console",)

    def _changed(self, change: Change) -> None:
        super()._changed(change)
        item = change.item
        if isinstance(item, CaseItem) and item.state == "open" and self.rng.random() < CLAIM_SHARE:
            self._later(self.rng.uniform(0.1, 20.0), self._claim, item.id, item.version)

    def _claim(self, case: str, version: int) -> None:
        named = self._new_id()
        self.ask(Act(client_id=named, case=case, version=version, act="claim"), named)


def _wire(feed: str) -> str:
    return "inbox" if feed.startswith("inbox:") else feed
