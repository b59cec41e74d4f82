"""The people of a campaign: they send, are cut off, come back and send again, and keep a log of what they were told.

Each is an SDK client over a real socket. Its log is what the checker believes; nothing is asked of the server.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from clients.sdk.client import Client, LinkChange, LinkState
from clients.sdk.connection import Timing
from clients.sdk.errors import CommandRefused, ConnectionEnded
from clients.sdk.feed import Feed
from ops.trial import TrialPerson
from server.protocol.frames import Ack, CaseItem, Held, MessageItem, PageItem, Shown

CLEAN: Final = (
    "I walked to the allotment this morning and the beans have come up",
    "Has anybody tried the new library? They let you sit there all day",
    "Made soup from what was left in the fridge and it was not bad at all",
    "My sister rang, we talked about the holiday and it went well",
)
URGENT: Final = "I am going to kill myself tonight, I have said goodbye"
RETURN_S: Final = 0.05


def words(name: str, n: int, text: str) -> str:
    """A text that nobody else says, and they not twice: told in a wrong place, it is found out."""
    return f"{text}. {name}, {n}"


@dataclass(frozen=True, slots=True)
class Told:
    """One new place of a room as a client was told of it; `body` only where the view showed one.

    `at` and every other time of a log is a moment of `time.monotonic`.
    """

    of: int
    view: str
    body: str | None
    at: float


@dataclass
class Log:
    """What one client did and saw.

    Attributes:
        sent: client id -> text, in the order of sending.
        acks: client id -> every acknowledgement that came for it, also repeated ones.
        asked, answered: client id -> when it was first sent, and when its first acknowledgement came.
        told: new places, each as it was first told, in the order of telling.
        skipped: places (first, last) that a client was told to read up instead of being told each.
        pages: ids of calls that reached this person's page.
        gave_up: the client ended for ever, though the server came back each time.
        steady: since when it had been following and reading without a break when it was told of a place, by place.
        jumps: events that were neither the next one nor known, on a line that loses nothing.
    """

    account: str
    feed: str
    joined_at: int = 0
    sent: dict[str, str] = field(default_factory=dict)
    acks: dict[str, list[Ack]] = field(default_factory=dict)
    asked: dict[str, float] = field(default_factory=dict)
    answered: dict[str, float] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)
    skipped: list[tuple[int, int]] = field(default_factory=list)
    pages: set[str] = field(default_factory=set)
    links: int = 0
    gave_up: bool = False
    steady: dict[int, float] = field(default_factory=dict)
    jumps: list[str] = field(default_factory=list)

    @property
    def answered_ms(self) -> list[float]:
        """How long each message took from being sent to its first acknowledgement."""
        return [(at - self.asked[named]) * 1000 for named, at in self.answered.items()]


class Chatter:
    """A member who talks in a room, now and then in distress, until told to stop; or who only listens.

    Args:
        urgent: share of messages that are.
        talks: False: it only listens.
        rest_s: the longest pause between two messages.
        timing: of the client; None: it comes back at once.
        on_link: told what becomes of the connection.
    """

    def __init__(
        self,
        url: str,
        person: TrialPerson,
        feed: str,
        rng: random.Random,
        urgent: float,
        *,
        talks: bool = True,
        rest_s: float = 0.5,
        timing: Timing | None = None,
        on_link: Callable[[LinkChange], None] = lambda change: None,
    ) -> None:
        self.log = Log(person.account, feed)
        self.connected = asyncio.Event()
        self.client = _client(url, person, self._link, features=("handling",), timing=timing)
        self._name = person.name
        self._feed_name = feed
        self._rng = rng
        self._urgent = urgent
        self._rest_s, self._on_link = rest_s, on_link
        self._stop = asyncio.Event()
        self.talks = talks
        if not talks:
            self._stop.set()
        self.feed: Feed | None = None

    def _link(self, change: LinkChange) -> None:
        if change.state is LinkState.UP:
            self.log.links += 1
            self.connected.set()
        self._on_link(change)

    def stop(self) -> None:
        """Send nothing new; what was sent is seen through."""
        self._stop.set()

    async def run(self, until: asyncio.Event) -> None:
        """Talk until `stop`, listen until `until`."""
        try:
            async with self.client as client, asyncio.TaskGroup() as tasks:
                self.feed = await client.join(self._feed_name)
                self.log.joined_at = self.feed.view.last
                reading = tasks.create_task(self._read(self.feed))
                await self._talk(self.feed)
                await until.wait()
                reading.cancel()
        except* ConnectionEnded:
            self.log.gave_up = True  # a client that does not come back is for the judge, not the end of the campaign

    async def _read(self, feed: Feed) -> None:
        async for item in feed.events():
            if isinstance(item, MessageItem) and item.change == "new":
                body = item.view.body if isinstance(item.view, Shown | Held) else None
                self.log.told.append(Told(item.of, type(item.view).__name__.lower(), body, time.monotonic()))

    async def _talk(self, feed: Feed) -> None:
        while not self._stop.is_set():
            body = words(
                self._name, len(self.log.sent), URGENT if self._rng.random() < self._urgent else self._rng.choice(CLEAN)
            )
            named = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
            self.log.sent[named], self.log.asked[named] = body, time.monotonic()
            ack = await feed.send(body, client_id=named)
            self.log.acks.setdefault(named, []).append(ack)
            self.log.answered[named] = time.monotonic()
            if self._rng.random() < 0.2:
                # A client that lost the answer: the same again must be answered with the same.
                self.log.acks[named].append(await feed.send(body, client_id=named))
            await _either(self._stop, 0.05 + self._rng.random() * self._rest_s)


class Moderator:
    """Somebody on duty, who takes most of what comes up."""

    def __init__(self, url: str, person: TrialPerson, rng: random.Random) -> None:
        self.log = Log(person.account, "inbox")
        self._rng = rng
        self._client = _client(url, person, lambda change: None, features=("console",))
        self.inbox: Feed | None = None

    async def run(self, until: asyncio.Event) -> None:
        """Answer calls until `until`."""
        try:
            async with self._client as client, asyncio.TaskGroup() as tasks:
                self.inbox = await client.join("inbox")
                queue = await client.join("staff:moderation")
                reading = [tasks.create_task(self._calls(self.inbox)), tasks.create_task(self._cases(client, queue))]
                await until.wait()
                for task in reading:
                    task.cancel()
        except* ConnectionEnded:
            self.log.gave_up = True

    async def _calls(self, inbox: Feed) -> None:
        async for item in inbox.events():
            if isinstance(item, PageItem):
                self.log.pages.add(item.id)

    async def _cases(self, client: Client, queue: Feed) -> None:
        async for item in queue.events():
            if isinstance(item, CaseItem) and item.state == "open" and self._rng.random() < 0.9:
                try:
                    await client.act(item.id, item.version, "claim")
                except CommandRefused:
                    continue  # somebody, or something, was faster; the case comes again as it is now


def _client(
    url: str,
    person: TrialPerson,
    link: Callable[[LinkChange], None],
    features: tuple[str, ...],
    timing: Timing | None = None,
) -> Client:
    chosen = timing or Timing(uniform=lambda low, high: RETURN_S)
    return Client(url, token=person.token, features=features, timing=chosen, on_link=link)


async def _either(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
