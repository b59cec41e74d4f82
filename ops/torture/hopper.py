"""A reader who is cut off and comes back at another server, on the bare wire, and keeps what they were told.

Section 4 of PROTOCOL.md and nothing more: no SDK stands between the wire and the log, so that a promise which the SDK
would have mended is seen to be broken. Readers never send.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from clients.sdk.connection import Link, Lost, Timing
from clients.sdk.http_api import socket_address
from ops.torture.clients import Log, Told
from ops.torture.history import Violation
from server.protocol.codec import Codec, ReplyOrUnknown, UnknownEvent
from server.protocol.frames import Error, Event, Held, Hello, Join, Joined, MessageItem, Position, Shown

RESUME_S: Final = 30.0
AGAIN_S: Final = 0.2
# As `server.store.feeds` has it: who missed no more than so much is given every event.
MOST_MISSED: Final = 500


class How(Enum):
    """How a connection ends: with a goodbye, by a reset, or not at all, so that the server has two of one person."""

    CLOSED = "closed"
    CUT = "cut"
    LEFT_OPEN = "left_open"


@dataclass
class Hops:
    """What came of all comings back.

    Attributes:
        exact: resumed with every event; resyncs: told to read up, by reason.
        missed: places that passed while somebody was away, each time.
        resumed_ms: from asking to resume until everything that was missed had come.
    """

    exact: int = 0
    at_another: int = 0
    resyncs: Counter[str] = field(default_factory=Counter)
    hows: Counter[str] = field(default_factory=Counter)
    missed: list[int] = field(default_factory=list)
    resumed_ms: list[float] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)


class Hopper:
    """One reader of one room.

    Attributes:
        log: of the present epoch; `begin_again` puts another in its place.
    """

    def __init__(self, account: str, token: str, feed: str, rng: random.Random, hops: Hops) -> None:
        self.log = Log(account, feed)
        self._token, self._rng, self._hops = token, rng, hops
        self._position: Position | None = None
        self._promised = 0
        self._is_replaced = False  # history was, since this reader's last connection
        self._at: int | None = None
        self._moved = asyncio.Condition()
        self._timing = Timing()

    @property
    def last(self) -> int:
        """The last place that was told."""
        return 0 if self._position is None else self._position.seq

    def begin_again(self, token: str) -> None:
        """History was replaced, and every session ended: come back with another one, and keep another log."""
        self.log = Log(self.log.account, self.log.feed)
        self._token, self._is_replaced = token, True

    async def hop(self, urls: Sequence[str], stay_s: float, away: Callable[[], Awaitable[None]]) -> None:
        """Connect somewhere, resume, read for `stay_s`, lose the connection, and be away until `away` returns."""
        how = self._rng.choice(list(How))
        self._hops.hows[how.value] += 1
        async with self._reading(urls) as link:
            await asyncio.sleep(stay_s)
            if how is How.CLOSED:
                await link.close()
            elif how is How.CUT:
                link.cut()
        try:
            await away()
        finally:
            link.cut()

    async def read_to(self, urls: Sequence[str], place: int) -> None:
        """Connect once more, and read up to `place`."""
        async with self._reading(urls) as link:
            await self._until(place)
            await link.close()

    @contextlib.asynccontextmanager
    async def _reading(self, urls: Sequence[str]) -> AsyncIterator[Link]:
        """A connection on which everything that was promised by the resume has come, and more is taken as it comes."""
        link = await self._open(urls)
        listening = asyncio.create_task(self._listen(link))
        try:
            asked_at = time.monotonic()
            self._promised = -1
            named = f"join-{self._rng.getrandbits(40):010x}"
            await link.send(Join(client_id=named, feed=self.log.feed, after=self._position))
            if await self._until(None):
                self._hops.resumed_ms.append((time.monotonic() - asked_at) * 1000)
            yield link
        except BaseException:
            link.cut()
            raise
        finally:
            listening.cancel()
            await asyncio.wait([listening])

    async def _open(self, urls: Sequence[str]) -> Link:
        until = time.monotonic() + RESUME_S
        while True:
            n = self._rng.randrange(len(urls))
            hello = Hello(client_id=f"hello-{self._rng.getrandbits(40):010x}", client="hopper")
            try:
                link, _ = await Link.open(socket_address(urls[n]), self._token, hello, Codec.MSGPACK, self._timing)
            except Lost:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(AGAIN_S)
            else:
                self._hops.at_another += self._at is not None and self._at != n
                self._at = n
                self.log.links += 1
                return link

    async def _until(self, place: int | None) -> bool:
        """Wait until `place` was told, or what the join has promised; notes a violation where it does not come."""
        try:
            async with asyncio.timeout(RESUME_S), self._moved:
                await self._moved.wait_for(
                    lambda: self._promised >= 0 and self.last >= (self._promised if place is None else place)
                )
        except TimeoutError:
            self._hops.violations.append(Violation("resume", f"{self.log.account} was not brought up to date"))
            return False
        return True

    async def _listen(self, link: Link) -> None:
        with contextlib.suppress(Lost):
            async for reply in link.replies():
                self._take(reply)
                async with self._moved:
                    self._moved.notify_all()

    def _take(self, reply: ReplyOrUnknown) -> None:
        if isinstance(reply, Joined):
            self._joined(reply)
        elif isinstance(reply, Event | UnknownEvent):
            self._event(reply)
        elif isinstance(reply, Error):
            self._hops.violations.append(Violation("resume", f"refused: {reply.code}"))

    def _joined(self, joined: Joined) -> None:
        hops, before = self._hops, self._position
        self._promised = joined.seq
        if joined.recovered:
            if before is None or joined.epoch != before.epoch or self._is_replaced:
                hops.violations.append(Violation("resume", "recovered, of a history that is not this one"))
                return
            hops.exact += 1
            hops.missed.append(joined.seq - before.seq)
            return
        self._position = Position(epoch=joined.epoch, seq=joined.seq)
        if before is None or joined.epoch != before.epoch:
            self.log.joined_at = joined.seq
        if before is None:
            return
        hops.resyncs[str(joined.reason)] += 1
        if joined.epoch == before.epoch:
            self.log.skipped.append((before.seq + 1, joined.seq))
            hops.missed.append(joined.seq - before.seq)
            due = joined.reason == "too_far" and joined.seq - before.seq > MOST_MISSED
        else:
            due = joined.reason == "epoch" and self._is_replaced
            self._is_replaced = False
        if not due:
            hops.violations.append(Violation("resync", f"without need, for the reason {joined.reason}"))

    def _event(self, event: Event | UnknownEvent) -> None:
        if self._position is None or event.epoch != self._position.epoch:
            self._hops.violations.append(Violation("epoch", f"{self.log.account} was told of another history"))
            return
        if event.seq <= self._position.seq:
            return  # at least once to the socket, once to the person
        # Beyond the next one it is a gap: it goes into the log, for the judge to see.
        self._position = Position(epoch=event.epoch, seq=event.seq)
        if isinstance(event, Event) and isinstance(event.item, MessageItem) and event.item.change == "new":
            view = event.item.view
            body = view.body if isinstance(view, Shown | Held) else None
            self.log.told.append(Told(event.item.of, type(view).__name__.lower(), body, time.monotonic()))
