"""A socket and the words of clients/PROTOCOL.md, nothing more: it imports nothing of ours and helps with nothing.

It does not come back, does not beat and applies nothing: what a test wants to know, it says and hears frame by frame.
Nothing is read from the socket but when the test listens.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import msgpack
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

Frame = dict[str, Any]
# No answer takes so long, also where the machine is busy with other tests.
WAIT_S = 15.0
MAX_REPLY_BYTES = 4 * 1024 * 1024


class Bearer(Protocol):
    """Somebody with a session."""

    @property
    def token(self) -> str: ...


class Ended(Exception):
    """The connection is over, with this close code."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


class Plain:
    """One connection of one account, after `welcome`.

    Attributes:
        heard: every frame that was listened to, in order.
        welcome: the answer to `hello`.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.heard: list[Frame] = []
        self.welcome: Frame = {}

    async def say(self, kind: str, **fields: Any) -> str:
        """Send a command; returns its `client_id`. Raises Ended where the connection is known to be over."""
        named = str(fields.pop("client_id", uuid.uuid4().hex))
        own = {} if kind == "beat" else {"client_id": named}
        try:
            async with asyncio.timeout(WAIT_S):
                await self._socket.send(msgpack.packb({"t": kind, **own, **fields}))
        except ConnectionClosed as closed:
            raise Ended(closed.rcvd.code if closed.rcvd else 1006) from None
        return named

    async def hear(self, within_s: float = WAIT_S) -> Frame:
        """The next frame. Raises Ended, TimeoutError."""
        try:
            async with asyncio.timeout(within_s):
                data = await self._socket.recv()
        except ConnectionClosed as closed:
            raise Ended(closed.rcvd.code if closed.rcvd else 1006) from None
        assert isinstance(data, bytes)
        frame: Frame = msgpack.unpackb(data)
        self.heard.append(frame)
        return frame

    async def until(self, holds: Callable[[Frame], bool], within_s: float = WAIT_S) -> Frame:
        """The first frame from now on for which `holds`."""
        async with asyncio.timeout(within_s):
            while not holds(frame := await self.hear(within_s)):
                pass
        return frame

    async def ask(self, kind: str, **fields: Any) -> Frame:
        """Send a command and hear its answer, whatever that is."""
        named = await self.say(kind, **fields)
        return await self.until(lambda frame: frame.get("re") == named)

    async def join(self, feed: str, after: tuple[int, int] | None = None) -> Frame:
        """The answer to a join, with `after` as (epoch, seq)."""
        more = {} if after is None else {"after": {"epoch": after[0], "seq": after[1]}}
        return await self.ask("join", feed=feed, **more)

    async def send(self, feed: str, body: str, **fields: Any) -> Frame:
        """The acknowledgement of a message."""
        ack = await self.ask("send", feed=feed, body=body, **fields)
        assert ack["t"] == "ack", ack
        return ack

    async def event(self, feed: str, seq: int) -> Frame:
        """The event of that feed and number, heard before or from now on."""

        def is_it(frame: Frame) -> bool:
            return frame["t"] == "event" and frame["feed"] == feed and bool(frame["seq"] == seq)

        return next(filter(is_it, self.heard), None) or await self.until(is_it)

    def events(self, feed: str) -> list[Frame]:
        """The events of that feed among what was heard."""
        return [frame for frame in self.heard if frame["t"] == "event" and frame["feed"] == feed]

    async def close_code(self, within_s: float = WAIT_S) -> int:
        """Listen until the connection is over; returns its close code, 1006 where it was cut."""
        try:
            await self.until(lambda frame: False, within_s)
        except Ended as ended:
            return ended.code
        raise AssertionError("listening never ends by itself")

    async def close(self) -> None:
        """Close in order, as a program that obeys `drain` does."""
        await self._socket.close()

    def cut(self) -> None:
        """Be gone without a word."""
        self._socket.transport.abort()


@contextlib.asynccontextmanager
async def plain(url: str, who: Bearer, *features: str, **hello: Any) -> AsyncIterator[Plain]:
    """A connection at that address, greeted, and gone at the end of the block."""
    async with connect(
        url.replace("http", "ws", 1) + "/ws",
        subprotocols=[Subprotocol("evenkeel.v1.msgpack")],
        additional_headers={"Authorization": f"Bearer {who.token}"},
        max_size=MAX_REPLY_BYTES,
        max_queue=1,
        close_timeout=1,
        proxy=None,
    ) as socket:
        made = Plain(socket)
        made.welcome = await made.ask("hello", client="plain/1", features=list(features), **hello)
        assert made.welcome["t"] == "welcome", made.welcome
        try:
            yield made
        finally:
            made.cut()


def shown(places: list[Frame]) -> list[tuple[int, str | None]]:
    """(place, text) of the items of a snapshot or page, or of events; text None where none is shown."""
    views = [(frame["item"]["of"], frame["item"]["view"]) for frame in places if frame["item"]["kind"] == "message"]
    return [(place, view.get("body")) for place, view in views]
