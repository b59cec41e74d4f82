"""A feed that a client follows: what can be done in it, and its news as an iterator.

Decided here: what happens when a program reads its news more slowly than they come. Not decided here: what the news are
(`view`) and how a feed is joined again (`client`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from clients.sdk.errors import ClientError
from clients.sdk.view import Change, FeedView, Outcome
from server.protocol.codec import UnknownEvent
from server.protocol.frames import (
    PAGE_SIZE,
    Ack,
    AnyItem,
    Done,
    Edit,
    Event,
    History,
    Joined,
    Left,
    MessageItem,
    Page,
    Read,
    Remove,
    Report,
    ReportReason,
    RoomItem,
    Send,
    Shown,
)

if TYPE_CHECKING:
    from clients.sdk.client import Client


class News:
    """Bounded news of one feed, for one reader.

    While nobody reads, the oldest give way to newer ones: they are in the view. Once somebody reads, nothing is
    dropped: a full queue asks that the feed be paused, and it is resumed by position when half of it has been read.
    """

    def __init__(self, bound: int, resume: Callable[[], None]) -> None:
        self._changes: deque[Change] = deque()
        self._bound = bound
        self._resume = resume
        self._wake = asyncio.Event()
        self._has_reader = False
        self._end: ClientError | None = None
        self._is_over = False
        self.is_paused = False

    def put(self, change: Change) -> None:
        self._changes.append(change)
        self._wake.set()
        if len(self._changes) >= self._bound:
            if self._has_reader:
                self.is_paused = True
            else:
                self._changes.popleft()

    def end(self, error: ClientError | None) -> None:
        """Nothing comes any more: iterators stop, or raise `error`, once they have given what is there."""
        self._is_over, self._end = True, error
        self._wake.set()

    async def read(self) -> AsyncIterator[Change]:
        self._has_reader = True
        while True:
            while not self._changes:
                if self._end is not None:
                    raise self._end
                if self._is_over:
                    return
                self._wake.clear()
                await self._wake.wait()
            change = self._changes.popleft()
            if self.is_paused and len(self._changes) <= self._bound // 2:
                self.is_paused = False
                self._resume()
            yield change


class Feed:
    """A followed feed: a room, the inbox or a staff feed. Made by `Client.join`.

    Attributes:
        view: what this client holds of it now.
        room: name, kind and purpose, for a room.
        needs_join: there is a gap to repair; the client sees to it.
    """

    def __init__(self, client: Client, feed: str, *, bound: int, repair: Callable[[], None]) -> None:
        self._client = client
        self._repair = repair
        self._news = News(bound, self._resume)
        self.view = FeedView(feed)
        self.room: RoomItem | None = None
        self.needs_join = False

    @property
    def name(self) -> str:
        """The full name of the feed, such as "room:ID"."""
        return self.view.feed

    async def send(self, body: str, *, reply_to: str | None = None, client_id: str | None = None) -> Ack:
        """Post a message, again and again with the same `client_id` until it is acknowledged.

        Raises:
            CommandRefused: the server will not take it.
            ConnectionEnded: there will be no connection any more; it may or may not have been stored.
        """
        named = client_id or self._client.new_client_id()
        return await self._client.ask(Send(client_id=named, feed=self.name, body=body, reply_to=reply_to), Ack)

    async def edit(self, message: str, body: str) -> Ack:
        """Replace the text of one's own message."""
        named = self._client.new_client_id()
        return await self._client.ask(Edit(client_id=named, feed=self.name, message=message, body=body), Ack)

    async def remove(self, message: str) -> Done:
        """Take one's own message away."""
        return await self._client.ask(
            Remove(client_id=self._client.new_client_id(), feed=self.name, message=message), Done
        )

    async def report(self, message: str, reason: ReportReason, body: str = "") -> Done:
        """Tell the moderators about a message."""
        named = self._client.new_client_id()
        return await self._client.ask(
            Report(client_id=named, feed=self.name, message=message, reason=reason, body=body), Done
        )

    async def read(self, seq: int) -> Done:
        """Move one's private read cursor forward to `seq`."""
        return await self._client.ask(Read(client_id=self._client.new_client_id(), feed=self.name, seq=seq), Done)

    async def history(self, before: int, limit: int = PAGE_SIZE) -> Page:
        """The places just before `before`; they are in the view from then on."""
        named = self._client.new_client_id()
        page = await self._client.ask(History(client_id=named, feed=self.name, before=before, limit=limit), Page)
        self.view.page(page)
        return page

    async def leave(self) -> Left:
        """Follow the feed no longer; its iterators stop."""
        return await self._client.leave(self.name)

    async def messages(self) -> AsyncIterator[Shown]:
        """Each message once, in order, from the join on: when it is posted, or released if it was held.

        A feed has one reader: use `messages` or `events`, once. After so long a cut that the server sends a snapshot,
        the messages before its first are not given; `history` has them.

        Raises:
            ConnectionEnded: there will be no connection any more.
        """
        async for change in self._news.read():
            item = change.item
            if change.is_new_text and isinstance(item, MessageItem) and isinstance(item.view, Shown):
                yield item.view

    async def events(self) -> AsyncIterator[AnyItem]:
        """Every item once, in order, from the join on."""
        async for change in self._news.read():
            yield change.item

    def take_joined(self, joined: Joined) -> None:
        """Apply the answer to a join. Called by the client alone."""
        self.needs_join = False
        if joined.room is not None:
            self.room = joined.room
        for change in self.view.joined(joined):
            self._news.put(change)

    def take_event(self, event: Event | UnknownEvent) -> bool:
        """Apply an event; False where it was not applied. Called by the client alone."""
        if self._news.is_paused or self.needs_join:
            return False
        step = self.view.event(event)
        if step.outcome is Outcome.GAP:
            self._resume()
        if step.change is not None:
            self._news.put(step.change)
        return step.outcome is Outcome.APPLIED

    def take_place(self, epoch: int, seq: int) -> None:
        """The server stands at (epoch, seq): repair the feed if it is behind. Called by the client alone."""
        is_behind = self.view.epoch != epoch or self.view.last < seq
        if is_behind and not self._news.is_paused and not self.needs_join:
            self._resume()

    def end(self, error: ClientError | None = None) -> None:
        """Nothing comes any more. Called by the client alone."""
        self._news.end(error)

    def _resume(self) -> None:
        self.needs_join = True
        self._repair()
