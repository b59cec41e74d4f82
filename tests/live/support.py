"""The outside of the hub for its tests: a log in lists, a service over it, a real uvicorn front and real clients."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

import uvicorn
from msgspec import structs
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from server.actions.pace import Pace
from server.auth.requester import Requester, Role
from server.errors import NotFound, NotSignedIn, Refused
from server.feeds import Audience, FeedEvent, Following
from server.live.connection import Connection
from server.live.delivery import Delivery
from server.live.followers import Follower
from server.live.hub import Hub, Timings
from server.live.shape import Features
from server.live.socket import SocketLimits
from server.live.verbs import Upgrade
from server.protocol.codec import Codec
from server.protocol.frames import (
    Ack,
    AnyCommand,
    AnyItem,
    AnyReply,
    Done,
    Event,
    Hello,
    Join,
    Joined,
    Limits,
    MessageItem,
    Person,
    Position,
    Send,
    Shown,
    Welcome,
)

R = TypeVar("R")
ROOM = "room:R1"


def shown(seq: int, body: str, author: str = "ann") -> MessageItem:
    view = Shown(id=f"M{seq}", author=Person(id=author, name=author.title()), body=body, at=seq)
    return MessageItem(of=seq, change="new", view=view)


def body_of(item: AnyItem) -> str:
    assert isinstance(item, MessageItem)
    assert isinstance(item.view, Shown)
    return item.view.body


@dataclass
class Log:
    """Committed events by feed, in lists."""

    rows: dict[str, list[FeedEvent]] = field(default_factory=lambda: defaultdict(list))
    epochs: dict[str, int] = field(default_factory=lambda: defaultdict(lambda: 1))

    def commit(self, feed: str, item: AnyItem | Callable[[int], AnyItem], **kwargs: Any) -> FeedEvent:
        rows = self.rows[feed]
        seq = rows[-1].seq + 1 if rows else 1
        made = item(seq) if callable(item) else item
        event = FeedEvent(feed=feed, epoch=self.epochs[feed], seq=seq, member=made, **kwargs)
        rows.append(event)
        return event

    def say(self, body: str, feed: str = ROOM, **kwargs: Any) -> FeedEvent:
        return self.commit(feed, lambda seq: shown(seq, body), **kwargs)

    def head(self, feed: str) -> int:
        rows = self.rows[feed]
        return rows[-1].seq if rows else 0

    def new_epoch(self, feed: str, keep: int) -> None:
        """History is replaced: only the first `keep` events are left, in a new epoch."""
        self.epochs[feed] += 1
        self.rows[feed] = [structs.replace(event, epoch=self.epochs[feed]) for event in self.rows[feed][:keep]]


class Service:
    """The verbs over a `Log`. Tests put functions into `hooks` to wait or fail at a call."""

    def __init__(self) -> None:
        self.log = Log()
        self.pace = Pace()
        self.hub: Hub | None = None
        self.hooks: dict[str, Callable[..., Awaitable[None]]] = {}
        self.calls: list[tuple[str, Any]] = []
        self.dead_sessions: set[str] = set()
        self.banned: set[tuple[str, str]] = set()
        self.read_most = 1_000

    async def _hook(self, name: str, *args: Any) -> None:
        self.calls.append((name, args))
        hook = self.hooks.get(name)
        if hook is not None:
            await hook(*args)

    def called(self, name: str) -> list[Any]:
        return [args for verb, args in self.calls if verb == name]

    async def open_connection(self, upgrade: Upgrade) -> Requester:
        await self._hook("open_connection", upgrade)
        if upgrade.path.split("?")[0] != "/live":
            raise NotFound("There is nothing here.")
        who = dict(upgrade.headers).get("authorization")
        if who is None:
            raise NotSignedIn("Sign in first.")
        account, role, session = who.split(":")
        return Requester(account=account, name=account.title(), role=Role(role), session=session)

    async def redeem_ticket(self, requester: Requester, upgrade: Upgrade, ticket: str | None) -> None:
        await self._hook("redeem_ticket", requester, upgrade, ticket)
        if "cookie" in dict(upgrade.headers) and ticket != "good":
            raise NotSignedIn("Get a ticket first.")

    async def welcome(self, requester: Requester, hello: Hello) -> Welcome:
        await self._hook("welcome", requester, hello)
        you = Person(id=requester.account, name=requester.name, role=requester.role.value)
        return Welcome(re="", server="test", minor=0, you=you, features=hello.features, now=0, limits=Limits())

    async def run(self, requester: Requester, command: AnyCommand, request_id: str) -> AnyReply:
        self.pace.check(requester, command)
        await self._hook("run", requester, command, request_id)
        if isinstance(command, Send):
            if (requester.account, command.feed) in self.banned:
                raise Refused("You are not in this room.")
            event = self.log.say(command.body, command.feed)
            assert self.hub is not None
            self.hub.events([event])
            return Ack(
                re=command.client_id,
                feed=command.feed,
                epoch=event.epoch,
                seq=event.seq,
                message=f"M{event.seq}",
                at=0,
                state="published",
            )
        return Done(re=getattr(command, "client_id", ""))

    async def follow(self, requester: Requester, feed: str, after: Position | None) -> Following:
        await self._hook("follow", requester, feed, after)
        if (requester.account, feed) in self.banned:
            raise NotFound("There is no such feed.")
        epoch, head = self.log.epochs[feed], self.log.head(feed)
        audience = Audience.STAFF if requester.is_staff else Audience.MEMBER
        recovered = after is not None and after.epoch == epoch and after.seq <= head
        events = tuple(self.log.rows[feed][after.seq :]) if recovered and after is not None else ()
        joined = Joined(feed=feed, epoch=epoch, seq=head, recovered=recovered)
        await self._hook("followed", requester, feed, after)
        return Following(joined=joined, audience=audience, events=events)

    async def events_after(self, positions: Mapping[str, int]) -> Mapping[str, Sequence[FeedEvent]]:
        await self._hook("events_after", dict(positions))
        return {feed: self.log.rows[feed][seq : seq + self.read_most] for feed, seq in positions.items()}

    async def heads(self, feeds: Sequence[str]) -> Mapping[str, tuple[int, int]]:
        await self._hook("heads", list(feeds))
        return {feed: (self.log.epochs[feed], self.log.head(feed)) for feed in feeds}

    async def sessions_alive(self, session_ids: Collection[str]) -> set[str]:
        await self._hook("sessions_alive", list(session_ids))
        return set(session_ids) - self.dead_sessions

    def check_pace(self, requester: Requester, command: AnyCommand) -> None:
        self.pace.check(requester, command)

    async def hear_refused(self, requester: Requester, command: AnyCommand, request_id: str) -> None:
        await self._hook("hear_refused", requester, command)


class PaperReader:
    """A connection whose transport says "enough" after a number of writes, from within the write, as uvloop does."""

    def __init__(self, account: str, codec: Codec, delivery: Delivery) -> None:
        self.requester = Requester(account=account, name=account, role=Role.MEMBER, session=account)
        self.codec = codec
        self.features: Features = frozenset()
        self.follows: dict[str, Follower] = {}
        self.write: Callable[[bytes], None] = self._write
        self.delivery = delivery
        self.room_for: int | None = None
        self.is_paused = False
        self.frames: list[Joined | Event] = []
        self.writes = 0
        self.is_open = True

    def _write(self, data: bytes) -> None:
        self.writes += 1
        at = 0
        while at < len(data):
            size, at = data[at + 1], at + 2
            if size == 126:
                size, at = int.from_bytes(data[at : at + 2], "big"), at + 2
            frame = self.codec.decode_reply(data[at : at + size])
            assert isinstance(frame, Joined | Event)
            assert isinstance(frame, Joined) or not self.is_paused, "given an event although the transport is full"
            self.frames.append(frame)
            at += size
        if self.room_for is not None:
            self.room_for -= 1
            if self.room_for <= 0:
                self.is_paused = True
                self.delivery.pause(self)

    @property
    def can_take(self) -> bool:
        return not self.is_paused and self.is_open

    def flush_replies(self, events: Sequence[bytes] = ()) -> None:
        if events:
            self.write(b"".join(events))

    def caught_up(self) -> None:
        assert all(f.standing.value != "behind" for f in self.follows.values())

    def resume(self) -> None:
        self.room_for, self.is_paused = None, False
        self.delivery.resume(self)


class Clock:
    """A monotonic clock that moves when told."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def _http_app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


class Stage:
    """A hub behind uvicorn's HTTP protocol on a loopback port."""

    def __init__(self, timings: Timings | None = None, limits: SocketLimits | None = None, sndbuf: int = 0) -> None:
        self.sndbuf = sndbuf  # of the server's sockets; small, so that a slow reader is soon noticed
        self.service = Service()
        self.clock = Clock()
        self.hub = Hub(
            self.service, clock=self.clock, now_ms=lambda: int(self.clock() * 1000), timings=timings, limits=limits
        )
        self.service.hub = self.hub
        self.service.pace = Pace(self.clock)
        self.log = self.service.log
        self.state = ServerState()
        self.port = 0
        self.listener: asyncio.Server | None = None

    async def __aenter__(self) -> Stage:
        config = uvicorn.Config(_http_app, ws=self.hub.protocol, log_config=None, lifespan="off")
        config.load()
        sock = socket.socket()
        if self.sndbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.sndbuf)
        sock.bind(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]
        self.listener = await asyncio.get_running_loop().create_server(
            lambda: HttpToolsProtocol(config=config, server_state=self.state, app_state={}), sock=sock
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.listener is not None
        self.listener.close()
        for connection in list(self.state.connections):
            connection.transport.abort()  # type: ignore[union-attr]
        await self.hub.stop()
        await asyncio.sleep(0)  # lets the transports say that they are lost

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Let the loop run until something is so."""
        async with asyncio.timeout(10):
            while not is_so():  # noqa: ASYNC110 - any step of the loop may make it so
                await asyncio.sleep(0)

    def connection(self, account: str) -> Connection:
        """The one connection of `account`."""
        found = [c for c in self.state.connections if isinstance(c, Connection) and c.requester.account == account]
        assert len(found) == 1
        return found[0]

    def fast_forward(self, seconds: float) -> None:
        """Let time pass in whole seconds, as the hub's timer would see it."""
        for _ in range(round(seconds)):
            self.clock.now += 1.0
            self.hub.tick()

    def announce(self, *events: FeedEvent) -> None:
        self.hub.events(events)

    @asynccontextmanager
    async def client(
        self,
        account: str = "ann",
        role: str = "member",
        session: str | None = None,
        codec: Codec = Codec.MSGPACK,
        features: tuple[str, ...] = (),
        join: tuple[str, ...] = (),
        hello: bool = True,
        headers: Mapping[str, str] | None = None,
        path: str = "/live",
    ) -> AsyncIterator[Client]:
        sent = {"Authorization": f"{account}:{role}:{session or 'S-' + account}", **(headers or {})}
        async with connect(
            f"ws://127.0.0.1:{self.port}{path}",
            subprotocols=[Subprotocol(codec.subprotocol)],
            additional_headers=sent,
            compression=None,
            ping_interval=None,
            close_timeout=1,
            max_queue=None,
        ) as socket_:
            client = Client(socket_, codec)
            if hello:
                await client.say(Hello(client_id="hello-01", client="test", features=features))
                assert isinstance(await client.hear(), Welcome)
            for feed in join:
                await client.join(feed)
            yield client


class Client:
    """A client that speaks frames."""

    def __init__(self, socket_: ClientConnection, codec: Codec) -> None:
        self.socket = socket_
        self.codec = codec

    async def say(self, command: AnyCommand) -> None:
        await self.socket.send(self._bytes(command))

    def _bytes(self, command: AnyCommand) -> bytes | str:
        data = self.codec.encode(command)
        return data.decode() if self.codec.is_text else data

    async def hear_any(self) -> Any:
        data = await asyncio.wait_for(self.socket.recv(decode=False), 10)
        return self.codec.decode_reply(bytes(data))

    async def hear(self) -> AnyReply:
        frame: AnyReply = await self.hear_any()
        return frame

    async def hear_as(self, kind: type[R]) -> R:
        frame = await self.hear_any()
        assert isinstance(frame, kind), frame
        return frame

    async def events(self, count: int) -> list[Event]:
        return [await self.hear_as(Event) for _ in range(count)]

    async def bodies(self, count: int) -> list[str]:
        return [body_of(event.item) for event in await self.events(count)]

    async def join(self, feed: str = ROOM, after: Position | None = None) -> Joined:
        await self.say(Join(client_id="join-0001", feed=feed, after=after))
        return await self.hear_as(Joined)

    async def close_code(self) -> int:
        """Wait for the end; frames still under way are dropped."""
        await asyncio.wait_for(self.socket.wait_closed(), 10)
        assert self.socket.close_code is not None
        return self.socket.close_code


# --- raw frames -------------------------------------------------------------------------------------------------------


def masked(payload: bytes, opcode: int = 2, fin: bool = True, rsv: int = 0) -> bytes:
    """One frame as a client sends it."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = bytes((first, 0x80 | 126)) + struct.pack("!H", size)
    else:
        head = bytes((first, 0x80 | 127)) + struct.pack("!Q", size)
    mask = os.urandom(4)
    repeated = mask * (size // 4 + 1)
    body = (int.from_bytes(payload, "big") ^ int.from_bytes(repeated[:size], "big")).to_bytes(size, "big")
    return head + mask + body


class Raw:
    """A TCP connection on which the test writes bytes and reads frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.head = b""

    @classmethod
    @asynccontextmanager
    async def open(
        cls, stage: Stage, codec: Codec = Codec.MSGPACK, account: str = "ann", hello: bool = True, rcvbuf: int = 0
    ) -> AsyncIterator[Raw]:
        sock = socket.socket()
        if rcvbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", stage.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=1024 if rcvbuf else 1 << 16)
        raw = cls(reader, writer)
        try:
            writer.write(raw.request(codec.subprotocol, account))
            raw.head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            if hello:
                assert raw.head.startswith(b"HTTP/1.1 101"), raw.head
                raw.say(Hello(client_id="hello-01", client="raw"), codec)
                assert isinstance(await raw.hear(codec), Welcome)
            yield raw
        finally:
            writer.transport.abort()

    @staticmethod
    def request(subprotocol: str | None = "evenkeel.v1.msgpack", account: str = "ann", path: str = "/live") -> bytes:
        offer = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
        return (
            f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{offer}"
            f"Authorization: {account}:member:S-{account}\r\n\r\n"
        ).encode()

    def say(self, command: AnyCommand, codec: Codec = Codec.MSGPACK) -> None:
        self.writer.write(masked(codec.encode(command), opcode=1 if codec.is_text else 2))

    async def frame(self) -> tuple[int, bytes]:
        """(opcode, payload) of the next frame."""
        async with asyncio.timeout(10):
            first, size = await self.reader.readexactly(2)
            if size == 126:
                size = int.from_bytes(await self.reader.readexactly(2), "big")
            elif size == 127:
                size = int.from_bytes(await self.reader.readexactly(8), "big")
            return first & 15, await self.reader.readexactly(size)

    async def hear(self, codec: Codec = Codec.MSGPACK) -> Any:
        opcode, payload = await self.frame()
        assert opcode in (1, 2), (opcode, payload[:2])
        return codec.decode_reply(payload)

    async def close_code(self) -> int:
        """The code of the next frame, which must be a close; then the end of the stream."""
        opcode, payload = await self.frame()
        assert opcode == 8, (opcode, payload)
        assert await asyncio.wait_for(self.reader.read(), 10) == b""
        return int.from_bytes(payload[:2], "big") if payload else 1005
