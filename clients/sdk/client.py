"""The client: one account's connection to a server, kept up for as long as it is wanted.

Decided here: what is sent again after a cut, in which order, and when a program is told that it is over. Not decided
here: how a connection is made (`connection`), what is held of a feed (`view`), how its news are read (`feed`).

Every task belongs to the task group that `async with` opens; leaving it closes the connection.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Final, Self, TypeVar

from clients.sdk import http_api
from clients.sdk.connection import Backoff, Link, Lost, Timing
from clients.sdk.errors import ClientError, CommandRefused, ConnectionEnded
from clients.sdk.feed import Feed
from clients.sdk.view import Outbox
from server.protocol.codec import Codec, ReplyOrUnknown, UnknownEvent, UnknownFrame
from server.protocol.codes import CloseCode, close_advice
from server.protocol.frames import (
    FEATURES,
    AccessItem,
    Act,
    AnyCommand,
    AnyItem,
    AnyReply,
    Beat,
    BeatReply,
    CasePage,
    Done,
    Drain,
    Error,
    Event,
    Hello,
    Help,
    Join,
    Joined,
    Leave,
    Left,
    OpenCase,
    Person,
    Welcome,
)

R = TypeVar("R")
BUILD: Final = "evenkeel-sdk/0.1"
# News of a feed that wait for their reader.
NEWS_BOUND: Final = 1_000
# A beat that is not answered so soon ends the connection; at most half the time between beats.
BEAT_ANSWER_S: Final = 10.0
# Between two sendings of a command that the server asked for again at once.
SAME_AGAIN_S: Final = 0.5


class LinkState(Enum):
    UP = "up"
    DOWN = "down"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class LinkChange:
    """What became of the connection, for `on_link`. DOWN: another is made after `wait_s` seconds."""

    state: LinkState
    close_code: int | None = None
    wait_s: float = 0.0


class Client:
    """A connection that comes back by itself.

        async with Client("https://chat.example", token=TOKEN) as client:
            room = await client.join("room:ID")

    Args:
        url: the server's address, http or https.
        token: of a session (`http_api.sign_in`).
        codec: the subprotocol.
        features: what this program understands (section 7 of PROTOCOL.md); all that this SDK decodes unless told less.
        client: name and version of this program.
        connect_timeout_s: how long `async with` waits for the first `welcome`, over all attempts.
        on_event: called with every event frame as it arrives, before it is applied; must not raise or block.
        on_link: called when the connection comes up, goes down or ends; must not raise or block.
        timing: clock, wait and dice; for simulators.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        codec: Codec = Codec.MSGPACK,
        features: tuple[str, ...] = FEATURES,
        client: str = BUILD,
        connect_timeout_s: float = 60.0,
        news_bound: int = NEWS_BOUND,
        on_event: Callable[[Event | UnknownEvent], None] | None = None,
        on_link: Callable[[LinkChange], None] | None = None,
        timing: Timing | None = None,
    ) -> None:
        self._address = http_api.socket_address(url)
        self._token = token
        self._codec = codec
        self._features = features
        self._name = client
        self._connect_timeout_s = connect_timeout_s
        self._news_bound = news_bound
        self._on_event = on_event
        self._on_link = on_link
        self._timing = timing or Timing()
        self._tasks = asyncio.TaskGroup()
        self._runner: asyncio.Task[None] | None = None
        self._link: Link | None = None
        self._welcome: Welcome | None = None
        self._first_welcome = asyncio.Event()
        self._ended: ConnectionEnded | None = None
        self._drain_at: float | None = None
        self._feeds: dict[str, Feed] = {}
        self._outbox = Outbox()
        self._answers: dict[str, asyncio.Future[AnyReply]] = {}
        self._repairs: dict[str, str] = {}
        self._gap_found = asyncio.Event()
        self._is_caught_up = False

    @classmethod
    async def sign_in(cls, url: str, pseudonym: str, password: str, *, codec: Codec = Codec.MSGPACK) -> Self:
        """A client with a new session, to be used with `async with`."""
        signed_in = await http_api.sign_in(url, pseudonym, password)
        return cls(url, token=signed_in.token, codec=codec)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._runner = self._tasks.create_task(self._run())
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await self._first_welcome.wait()
            if self._ended is not None:
                raise self._ended
        except TimeoutError:
            await self._stop(None)
            raise ConnectionEnded("The server did not answer in time.") from None
        except BaseException as exc:
            await self._stop(exc)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop(exc)

    @property
    def you(self) -> Person:
        """Who this client is to others."""
        return self.welcome.you

    @property
    def welcome(self) -> Welcome:
        """The latest welcome."""
        if self._welcome is None:
            raise ClientError("Use the client within `async with`.")
        return self._welcome

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now: what a person must be shown."""
        return self._link is not None

    @staticmethod
    def new_client_id() -> str:
        """A fresh id that begins with the time, as the server likes them; sortable by the millisecond."""
        return f"{time.time_ns() // 1_000_000:012x}-{secrets.token_hex(10)}"

    # --- verbs --------------------------------------------------------------------------------------------------------

    async def join(self, feed: str) -> Feed:
        """Follow a feed, from now on and across reconnects, until it is left."""
        joined = await self.ask(Join(client_id=self.new_client_id(), feed=feed), Joined)
        return self._feeds[joined.feed]

    async def leave(self, feed: str) -> Left:
        """Follow a feed no longer."""
        gone = self._feeds.pop(feed, None)
        if gone is not None:
            gone.end()
        return await self.ask(Leave(client_id=self.new_client_id(), feed=feed), Left)

    async def events(self, feed: str) -> AsyncIterator[AnyItem]:
        """Join a feed and give every item once, in order."""
        followed = await self.join(feed)
        async for item in followed.events():
            yield item

    async def help(self, body: str = "", *, feed: str | None = None) -> Done:
        """ "I need help now": opens an urgent case."""
        return await self.ask(Help(client_id=self.new_client_id(), feed=feed, body=body), Done)

    async def open_case(self, case: str) -> CasePage:
        """Staff: read a case with the conversation around it."""
        return await self.ask(OpenCase(client_id=self.new_client_id(), case=case), CasePage)

    async def act(
        self,
        case: str,
        version: int,
        act: str,
        *,
        message: str | None = None,
        outcome: str | None = None,
        body: str = "",
        client_id: str | None = None,
    ) -> Done:
        """Staff: act on a case as it was at `version`; `conflict` if somebody was faster."""
        named = client_id or self.new_client_id()
        command = Act(client_id=named, case=case, version=version, act=act, message=message, outcome=outcome, body=body)
        return await self.ask(command, Done)

    async def ask(self, command: AnyCommand, kind: type[R]) -> R:
        """`call`, where the answer is of one kind."""
        reply = await self.call(command)
        if not isinstance(reply, kind):
            raise ClientError(f"The server answered with {type(reply).__name__}, not {kind.__name__}.")
        return reply

    async def call(self, command: AnyCommand) -> AnyReply:
        """Send any command but `hello` and `beat`, again and again with its own `client_id` until it is answered.

        Raises:
            ProtocolError: the command breaks the contract; nothing was sent.
            CommandRefused: the server answered that it will not.
            ConnectionEnded: there will be no connection any more.
        """
        if isinstance(command, Hello | Beat):
            raise ClientError("The client says hello and beats by itself.")
        self._codec.decode_command(self._codec.encode(command))
        named = command.client_id
        while True:
            if self._ended is not None:
                raise self._ended
            if self._outbox.is_full or named in self._answers:
                raise ClientError("Too many commands without an answer, or one client_id used for two at a time.")
            reply = await self._ask_once(named, command)
            if not isinstance(reply, Error):
                return reply
            if reply.retry == "never":
                raise CommandRefused(reply)
            await self._timing.sleep(max(SAME_AGAIN_S, (reply.retry_after_ms or 0) / 1_000))

    async def _ask_once(self, named: str, command: AnyCommand) -> AnyReply:
        answer: asyncio.Future[AnyReply] = asyncio.get_running_loop().create_future()
        self._answers[named] = answer
        self._outbox.add(named, command)
        try:
            if self._link is not None and self._is_caught_up:
                await self._link.send(command)
            return await answer
        finally:
            self._outbox.answered(named)
            del self._answers[named]

    # --- the connection -----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Keep a connection up until it must not be made again."""
        backoff = Backoff(self._timing)
        while True:
            lasted_s = 0.0
            try:
                hello = Hello(client_id=self.new_client_id(), client=self._name, features=self._features)
                link, welcome = await Link.open(self._address, self._token, hello, self._codec, self._timing)
            except Lost as exc:
                lost = exc
            else:
                lost = await self._serve(link, welcome)
                lasted_s = link.lasted_s
            # A close that we began ourselves says "normal"; it is `drain` that told us to come back.
            moves = self._drain_at is not None and lost.code == CloseCode.NORMAL
            floor_s = self._take_drain()
            if not lost.advice.reconnect and not moves:
                self._end(lost)
                return
            wait_s = backoff.after(lost.advice, lasted_s=lasted_s, floor_s=floor_s, moves=moves)
            self._tell(LinkChange(LinkState.DOWN, lost.code, wait_s))
            await self._timing.sleep(wait_s)

    def _take_drain(self) -> float:
        """Seconds until the moment that `drain` gave to this client; 0 without one."""
        drain_at, self._drain_at = self._drain_at, None
        return 0.0 if drain_at is None else max(0.0, drain_at - self._timing.monotonic())

    async def _serve(self, link: Link, welcome: Welcome) -> Lost:
        """Use a connection until it ends."""
        self._link, self._welcome, self._is_caught_up = link, welcome, False
        self._repairs.clear()
        for feed in self._feeds.values():
            feed.needs_join = True
        self._first_welcome.set()
        self._tell(LinkChange(LinkState.UP))
        lost = Lost(CloseCode.LOST, close_advice(CloseCode.LOST))
        try:
            async with asyncio.TaskGroup() as tasks:
                beside = [tasks.create_task(self._catch_up(link)), tasks.create_task(self._beat(link, welcome))]
                try:
                    async for reply in link.replies():
                        if isinstance(reply, Drain):
                            self._drain_at = self._timing.monotonic() + reply.after_ms / 1_000
                            beside.append(tasks.create_task(self._move(link, reply.after_ms / 1_000)))
                        else:
                            self._take(reply)
                except Lost as exc:
                    lost = exc
                finally:
                    for task in beside:
                        task.cancel()
        finally:
            self._link = None
        return lost

    async def _catch_up(self, link: Link) -> None:
        """Join every feed again and resend what was not answered; then repair gaps as they are found."""
        while True:
            for name, feed in list(self._feeds.items()):
                if feed.needs_join and name not in self._repairs.values():
                    named = self.new_client_id()
                    self._repairs[named] = name
                    await link.send(Join(client_id=named, feed=name, after=feed.view.position))
            if not self._is_caught_up:
                await self._resend(link)
            self._gap_found.clear()
            if not any(f.needs_join and name not in self._repairs.values() for name, f in self._feeds.items()):
                await self._gap_found.wait()

    async def _resend(self, link: Link) -> None:
        sent: set[int] = set()
        while waiting := [command for command in self._outbox.waiting if id(command) not in sent]:
            for command in waiting:
                sent.add(id(command))
                await link.send(command)
        self._is_caught_up = True

    async def _beat(self, link: Link, welcome: Welcome) -> None:
        """Beat, and cut a connection on which nothing comes back."""
        beat_s = welcome.limits.beat_ms / 1_000
        answer_s = min(BEAT_ANSWER_S, beat_s / 2)
        while True:
            await self._timing.sleep(beat_s - answer_s)
            asked_at = self._timing.monotonic()
            at = {name: feed.view.last for name, feed in self._feeds.items()}
            try:
                async with asyncio.timeout(answer_s):
                    await link.send(Beat(at=at))
            except TimeoutError:
                link.cut()
                return
            await self._timing.sleep(answer_s)
            if link.heard_at < asked_at:
                link.cut()
                return
            # A join that was answered by "later" is tried again now.
            self._gap_found.set()

    async def _move(self, link: Link, after_s: float) -> None:
        """The server is about to restart: go when it said."""
        await self._timing.sleep(after_s)
        await link.close()

    def _take(self, reply: ReplyOrUnknown) -> None:
        """Apply one frame."""
        if isinstance(reply, Event | UnknownEvent):
            self._take_event(reply)
            return
        if isinstance(reply, BeatReply):
            for name, place in reply.at.items():
                if name in self._feeds:
                    self._feeds[name].take_place(place.epoch, place.seq)
            return
        if isinstance(reply, Drain):
            return
        if isinstance(reply, Joined):
            self._take_joined(reply)
        if reply.re is None:
            return
        repaired = self._repairs.pop(reply.re, None)
        if repaired is not None and isinstance(reply, Error) and reply.retry == "never":
            self._drop(repaired, CommandRefused(reply))
        answer = self._answers.get(reply.re)
        if answer is not None and not answer.done():
            self._outbox.answered(reply.re)
            if isinstance(reply, UnknownFrame):
                answer.set_exception(ClientError(f"The server answered with `{reply.t}`, unknown to this client."))
            else:
                answer.set_result(reply)

    def _take_joined(self, joined: Joined) -> None:
        feed = self._feeds.get(joined.feed)
        if feed is None:
            if joined.re not in self._answers:
                # Left while a repair was on its way.
                return
            feed = Feed(self, joined.feed, bound=self._news_bound, repair=self._gap_found.set)
            self._feeds[joined.feed] = feed
        feed.take_joined(joined)

    def _take_event(self, event: Event | UnknownEvent) -> None:
        if self._on_event is not None:
            self._on_event(event)
        feed = self._feeds.get(event.feed)
        if feed is None or not feed.take_event(event):
            return
        if isinstance(event, Event) and isinstance(event.item, AccessItem) and event.item.account == self.you.id:
            feed.view.forget()
            self._drop(event.feed, None)

    def _drop(self, name: str, error: ClientError | None) -> None:
        feed = self._feeds.pop(name, None)
        if feed is not None:
            feed.end(error)

    def _end(self, lost: Lost) -> None:
        """No other connection is made: tell everybody who waits."""
        text = lost.error.message if lost.error is not None else lost.advice.meaning
        self._ended = ConnectionEnded(text, close_code=lost.code, sign_in=lost.advice.sign_in)
        self._finish(self._ended)
        self._tell(LinkChange(LinkState.ENDED, lost.code))

    def _finish(self, error: ConnectionEnded) -> None:
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
        for feed in self._feeds.values():
            feed.end(error)
        self._first_welcome.set()

    def _tell(self, change: LinkChange) -> None:
        if self._on_link is not None:
            self._on_link(change)

    async def _stop(self, exc: BaseException | None) -> None:
        """Close the connection and end every task. What a failed task raised comes out here."""
        if self._ended is None:
            self._ended = ConnectionEnded("The client was closed.")
            self._finish(self._ended)
        if self._link is not None:
            await self._link.close()
        if self._runner is not None:
            self._runner.cancel()
        if isinstance(exc, asyncio.CancelledError):
            await self._tasks.__aexit__(type(exc), exc, exc.__traceback__)
        else:
            await self._tasks.__aexit__(None, None, None)
