"""A small server that speaks PROTOCOL.md over real sockets, for the tests of the SDK.

It keeps one room and its log in memory, and can be told to misbehave as networks and servers do: cut the connection
instead of acknowledging, close with a code, skip an event, send one twice, answer nothing.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from server.protocol.codec import Codec
from server.protocol.codes import CloseCode, ErrorCode
from server.protocol.frames import (
    PAGE_SIZE,
    Ack,
    AnyCommand,
    AnyReply,
    AnyView,
    Beat,
    BeatReply,
    Change,
    Done,
    Drain,
    Edit,
    Error,
    Event,
    Hello,
    Join,
    Joined,
    Limits,
    MessageItem,
    Person,
    Placed,
    Position,
    Remove,
    Removed,
    Send,
    Shown,
    Welcome,
    Withheld,
)
from server.protocol.session import Session

ROOM = "room:evening"
YOU = Person(id="you", name="night-bot")


@dataclass
class SmallServer:
    """What it holds, what it saw, and what it is to do wrong.

    Attributes:
        hellos, joins, sends: every such command that came, over all connections.
        cut_before_ack: store this many sends and cut the connection instead of acknowledging.
        close_after_hello: close codes for the next connections, right after their hello.
        skip: numbers of events that are not sent.
        twice: whether every event is sent twice.
        later: how many sends are answered with `too_many` first.
        holds: messages are withheld until they are released.
        is_deaf: nothing is answered any more.
    """

    log: list[MessageItem] = field(default_factory=list)
    places: dict[int, AnyView] = field(default_factory=dict)
    stored: dict[str, Ack] = field(default_factory=dict)
    connections: set[ServerConnection] = field(default_factory=set)
    hellos: list[Hello] = field(default_factory=list)
    joins: list[Join] = field(default_factory=list)
    sends: list[Send] = field(default_factory=list)
    cut_before_ack: int = 0
    close_after_hello: list[int] = field(default_factory=list)
    skip: set[int] = field(default_factory=set)
    twice: bool = False
    later: int = 0
    is_deaf: bool = False
    holds: bool = False
    limits: Limits = field(default_factory=Limits)
    url: str = ""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, socket: ServerConnection) -> None:
        codec = Codec(socket.subprotocol)
        session = Session()
        try:
            async for data in socket:
                command = codec.decode_command(data.encode() if isinstance(data, str) else data)
                refused = session.check(command)
                if refused is not None:
                    await self.tell(socket, refused.to_reply("r1"))
                elif not self.is_deaf:
                    await self.answer(socket, session, command)
                    self.changed.set()
        except ConnectionClosed:
            return
        finally:
            self.connections.discard(socket)

    async def answer(self, socket: ServerConnection, session: Session, command: AnyCommand) -> None:
        match command:
            case Hello():
                self.hellos.append(command)
                if self.close_after_hello:
                    await socket.close(self.close_after_hello.pop(0))
                    return
                welcome = Welcome(
                    re=command.client_id, server="test", minor=0, you=YOU, features=(), now=0, limits=self.limits
                )
                session.welcomed(welcome)
                await self.tell(socket, welcome)
            case Join():
                self.joins.append(command)
                self.connections.add(socket)
                await self.follow(socket, command)
            case Send():
                self.sends.append(command)
                await self.store(socket, command)
            case Edit() if command.feed == ROOM:
                of = int(command.message[1:])
                await self.put(of, "edit", self.view(of, command.body, YOU, edited=True))
                await self.tell(socket, self.ack(command.client_id, of))
            case Remove() if command.feed == ROOM:
                await self.put(int(command.message[1:]), "remove", Removed(by="author"))
                await self.tell(socket, Done(re=command.client_id))
            case Beat():
                at = {ROOM: Position(epoch=1, seq=len(self.log))} if command.at else {}
                await self.tell(socket, BeatReply(now=0, at=at))
            case _:
                await self.tell(socket, Done(re=command.client_id))

    async def follow(self, socket: ServerConnection, join: Join) -> None:
        top = len(self.log)
        if join.feed != ROOM:
            await self.tell(
                socket,
                Error(re=join.client_id, code=ErrorCode.NOT_FOUND, message="No.", retry="never", request_id="r2"),
            )
        elif join.after is not None and join.after.epoch == 1:
            await self.tell(socket, Joined(re=join.client_id, feed=ROOM, epoch=1, seq=top, recovered=True))
            for seq in range(join.after.seq + 1, top + 1):
                await self.tell(socket, self.event(seq))
        else:
            newest = sorted(self.places.items())[-PAGE_SIZE:]
            items = tuple(Placed(seq=of, item=MessageItem(of=of, change="new", view=view)) for of, view in newest)
            await self.tell(
                socket, Joined(re=join.client_id, feed=ROOM, epoch=1, seq=top, recovered=False, items=items)
            )

    async def store(self, socket: ServerConnection, send: Send) -> None:
        if self.later:
            self.later -= 1
            busy = Error(
                re=send.client_id,
                code=ErrorCode.TOO_MANY,
                message="Wait.",
                retry="later",
                retry_after_ms=1,
                request_id="r3",
            )
            await self.tell(socket, busy)
            return
        if send.client_id not in self.stored:
            seq = await self.post(send.body, author=YOU)
            self.stored[send.client_id] = self.ack(send.client_id, seq)
        if self.cut_before_ack:
            self.cut_before_ack -= 1
            socket.transport.abort()
            return
        await self.tell(socket, self.stored[send.client_id])

    async def post(self, body: str, *, author: Person | None = None) -> int:
        """Add a message to the room and tell everybody; returns its seq."""
        of = len(self.log) + 1
        view = self.view(of, body, author or Person(id="other", name="north-wind"))
        return await self.put(of, "new", Withheld() if self.holds else view)

    async def release(self, of: int, body: str) -> int:
        return await self.put(of, "release", self.view(of, body, Person(id="other", name="north-wind")))

    @staticmethod
    def view(of: int, body: str, author: Person, *, edited: bool = False) -> Shown:
        return Shown(id=f"m{of}", author=author, body=body, at=of, edited=edited)

    @staticmethod
    def ack(client_id: str, of: int) -> Ack:
        return Ack(re=client_id, feed=ROOM, epoch=1, seq=of, message=f"m{of}", at=of, state="published")

    async def put(self, of: int, change: Change, view: AnyView) -> int:
        """One event: `view` stands at place `of` from now on; returns the event's seq."""
        seq = len(self.log) + 1
        self.places[of] = view
        self.log.append(MessageItem(of=of, change=change, view=view))
        if seq not in self.skip:
            for socket in list(self.connections):
                for _ in range(1 + self.twice):
                    await self.tell(socket, self.event(seq))
        return seq

    def event(self, seq: int) -> Event:
        return Event(feed=ROOM, epoch=1, seq=seq, item=self.log[seq - 1])

    async def tell(self, socket: ServerConnection, reply: AnyReply) -> None:
        codec = Codec(socket.subprotocol)
        try:
            await socket.send(codec.encode(reply), text=codec.is_text)
        except ConnectionClosed:
            self.connections.discard(socket)

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait for a command after which `holds()` is true."""
        while not holds():
            self.changed.clear()
            await self.changed.wait()

    async def drain(self, after_ms: int) -> None:
        for socket in list(self.connections):
            await self.tell(socket, Drain(after_ms=after_ms))

    async def close_all(self, code: int = CloseCode.SERVICE_RESTART) -> None:
        for socket in list(self.connections):
            await socket.close(code)

    def cut_all(self) -> None:
        for socket in list(self.connections):
            socket.transport.abort()


@asynccontextmanager
async def small_server() -> AsyncIterator[SmallServer]:
    """A server on a free port of the loopback interface."""
    small = SmallServer()
    subprotocols = [codec.subprotocol for codec in Codec]
    async with serve(small.serve, "127.0.0.1", 0, subprotocols=subprotocols, ping_interval=None) as server:  # type: ignore[arg-type]
        port = server.sockets[0].getsockname()[1]
        small.url = f"http://127.0.0.1:{port}"
        yield small


@contextmanager
def http_front(answers: dict[str, tuple[int, dict[str, object]]]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """An HTTP server that gives fixed answers by path; yields its address and what was asked (path, body)."""
    asked: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            asked.append((self.path, body))
            self.reply()

        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Authorization", "")))
            self.reply()

        def reply(self) -> None:
            status, answer = answers[self.path]
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *args: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@asynccontextmanager
async def one_port(front: str, socket: str) -> AsyncIterator[str]:
    """An address where POST goes to `front` and everything else to `socket`, as one server has both on one port."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start = await reader.readexactly(4)
        port = int((front if start == b"POST" else socket).rpartition(":")[2])
        back, forth = await asyncio.open_connection("127.0.0.1", port)
        forth.write(start)
        await asyncio.gather(pump(reader, forth), pump(back, writer))

    async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def until(holds: Callable[[], object]) -> None:
    """Let the loop turn until `holds()` is true; the test's own time-out bounds it."""
    while not holds():  # noqa: ASYNC110 - what is waited for is a plain fact, not an event
        await asyncio.sleep(0)
