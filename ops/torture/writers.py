"""`evenkeel torture writers`: many people write in the same rooms by way of three servers, and everybody reads along.

Eight writers on each server follow all rooms and write in all of them, one message after the other, without a pause. No
fault is planted: what is looked for is an order that differs from one reader to the next. Promised: what each client
was told of each room is the room's log as the database has it, with no gap, no repetition and in that order; and no
event comes over a socket before the one that precedes it.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from clients.sdk.client import Client
from clients.sdk.connection import Timing
from clients.sdk.errors import ConnectionEnded
from clients.sdk.feed import Feed
from ops.doctor import look
from ops.setup.postgres import running_postgres
from ops.setup.redis import running_redis
from ops.torture.clients import CLEAN, RETURN_S, Log, Told, words
from ops.torture.cluster import Cluster
from ops.torture.conditions import Conditions
from ops.torture.history import Violation, judge, outcome, read_stored
from ops.torture.people import settings_of
from ops.torture.scaled import SERVERS, share
from ops.trial import TrialPerson, make_trial
from server.protocol.codec import UnknownEvent
from server.protocol.frames import Event, Held, MessageItem, Shown

PER_SERVER: Final = 8
ROOMS: Final = 20
READ_S: Final = 60.0
SAYS_EVERY: Final = 5_000


@dataclass
class WriterCampaign:
    """What was done and what came of it.

    Attributes:
        wire_again, wire_gaps: events that came twice over a socket, or beyond the next one; the SDK drops the former
            and has the latter repaired.
    """

    seed: int
    writers: int = 0
    rooms: int = 0
    sent: int = 0
    acknowledged: int = 0
    told: int = 0
    rows: int = 0
    wire_again: int = 0
    wire_gaps: int = 0
    writing_s: float = 0.0
    answered_ms: list[float] = field(default_factory=list)
    duration_s: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """The campaign as plain values."""
        return {
            "campaign": "writers",
            "seed": self.seed,
            "writers": self.writers,
            "servers": SERVERS,
            "rooms": self.rooms,
            "sent": self.sent,
            "acknowledged": self.acknowledged,
            "rows": self.rows,
            "told": self.told,
            "events_again_on_a_socket": self.wire_again,
            "gaps_on_a_socket": self.wire_gaps,
            "messages_per_s": round(self.sent / self.writing_s) if self.writing_s else None,
            "answered_ms_p50": share(self.answered_ms, 0.5),
            "answered_ms_p99": share(self.answered_ms, 0.99),
            "duration_s": round(self.duration_s, 1),
            **outcome(self.violations),
        }


class _Work:
    """How much is still to be written in each room, and every text, held once for all who read it."""

    def __init__(self, rooms: tuple[str, ...], per_room: int, progress: Callable[[int, str], None]) -> None:
        self._left = dict.fromkeys(rooms, per_room)
        self._progress = progress
        self._count = 0

    def take(self, rng: random.Random) -> str | None:
        """A room that still wants a message; None: it is done."""
        if not self._left:
            return None
        room = rng.choice(list(self._left))
        self._left[room] -= 1
        if not self._left[room]:
            del self._left[room]
        self._count += 1
        if self._count % SAYS_EVERY == 0:
            self._progress(self._count, "messages of all rooms")
        return room


class _Writer:
    """Somebody in all rooms, with a log for each."""

    def __init__(self, url: str, person: TrialPerson, rooms: tuple[str, ...], rng: random.Random) -> None:
        self.logs = {room: Log(person.account, room) for room in rooms}
        self.ready = asyncio.Event()
        self.wire_again = self.wire_gaps = 0
        self._url, self._person, self._rng = url, person, rng
        self._on_wire: dict[str, int] = {}
        self._sent = 0

    def has_read(self, heads: dict[str, int]) -> bool:
        """Whether every room was told to its end."""
        return all((log.told[-1].of if log.told else 0) >= heads[room] for room, log in self.logs.items())

    async def run(self, work: _Work, begin: asyncio.Event, over: asyncio.Event) -> None:
        """Follow all rooms, write from `begin` on until nothing is left, and read until `over`."""
        client = Client(
            self._url,
            token=self._person.token,
            timing=Timing(uniform=lambda low, high: RETURN_S),
            on_event=self._wire,
            on_link=lambda change: self._on_wire.clear(),
        )
        try:
            async with client, asyncio.TaskGroup() as tasks:
                feeds = {}
                for name, log in self.logs.items():
                    feeds[name] = await client.join(name)
                    log.joined_at = feeds[name].view.last
                reading = [tasks.create_task(self._read(feed)) for feed in feeds.values()]
                self.ready.set()
                await begin.wait()
                while (room := work.take(self._rng)) is not None:
                    await self._write(feeds[room])
                await over.wait()
                for task in reading:
                    task.cancel()
        except* ConnectionEnded:
            for log in self.logs.values():
                log.gave_up = True
            self.ready.set()

    async def _write(self, feed: Feed) -> None:
        log = self.logs[feed.name]
        named = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        body = sys.intern(words(self._person.name, self._sent, self._rng.choice(CLEAN)))
        self._sent += 1
        log.sent[named], log.asked[named] = body, time.monotonic()
        log.acks[named] = [await feed.send(body, client_id=named)]
        log.answered[named] = time.monotonic()

    async def _read(self, feed: Feed) -> None:
        told = self.logs[feed.name].told
        async for item in feed.events():
            if isinstance(item, MessageItem) and item.change == "new":
                # Held once for all readers: there are millions.
                body = sys.intern(item.view.body) if isinstance(item.view, Shown | Held) else None
                told.append(Told(item.of, type(item.view).__name__.lower(), body, time.monotonic()))

    def _wire(self, event: Event | UnknownEvent) -> None:
        last = self._on_wire.get(event.feed, event.seq - 1)
        self.wire_again += event.seq <= last
        self.wire_gaps += event.seq > last + 1
        self._on_wire[event.feed] = max(last, event.seq)


async def run_writers(
    folder: Path,
    *,
    messages: int,
    seed: int,
    per_server: int = PER_SERVER,
    rooms: int = ROOMS,
    progress: Callable[[int, str], None] = lambda done, what: None,
) -> WriterCampaign:
    """Have `messages` written in each room, by everybody at once, and compare what everybody was told."""
    rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be kept secret
    began = time.monotonic()
    with running_postgres() as postgres, running_redis() as redis:
        url = postgres.create_database()
        trial = await make_trial(folder, url, rooms=rooms, per_room=per_server * SERVERS, everywhere=True)
        settings = settings_of(trial)
        work, begin, over = _Work(trial.rooms, messages, progress), asyncio.Event(), asyncio.Event()
        campaign = WriterCampaign(seed, writers=per_server * SERVERS, rooms=rooms)
        environ = {**trial.environ, "REDIS_URL": redis.url}
        async with (
            Cluster(SERVERS, environ, folder, conditions=Conditions(unpaced=True)) as cluster,
            asyncio.TaskGroup() as tasks,
        ):
            writers = [
                _Writer(cluster.urls[n % SERVERS], person, trial.rooms, random.Random(rng.getrandbits(64)))  # noqa: S311
                for n, person in enumerate(trial.members[0])
            ]
            running = [tasks.create_task(writer.run(work, begin, over)) for writer in writers]
            await asyncio.gather(*(writer.ready.wait() for writer in writers))
            writing_from = time.monotonic()
            begin.set()
            logs = [log for writer in writers for log in writer.logs.values()]
            while sum(len(log.acks) for log in logs) < messages * rooms and not all(task.done() for task in running):  # noqa: ASYNC110 - their logs
                await asyncio.sleep(0.1)
            campaign.writing_s = time.monotonic() - writing_from
            heads = (await look(settings, read_stored)).heads
            deadline = time.monotonic() + READ_S
            while time.monotonic() < deadline and not all(writer.has_read(heads) for writer in writers):  # noqa: ASYNC110 - their logs
                await asyncio.sleep(0.1)
            over.set()
        stored = await look(settings, read_stored)
        postgres.drop_database(url)
    campaign.sent = sum(len(log.sent) for log in logs)
    campaign.acknowledged = sum(len(log.acks) for log in logs)
    campaign.told = sum(len(log.told) for log in logs)
    campaign.rows = len(stored.messages)
    campaign.wire_again = sum(writer.wire_again for writer in writers)
    campaign.wire_gaps = sum(writer.wire_gaps for writer in writers)
    campaign.answered_ms = [spent for log in logs for spent in log.answered_ms]
    campaign.violations = judge(logs, [], stored)
    if campaign.rows != messages * rooms:
        campaign.violations.append(Violation("count", f"{campaign.rows} rows of {messages * rooms} messages"))
    if campaign.wire_gaps:
        # The SDK has them mended. But no fault was planted, and the server promises each socket every event in order.
        campaign.violations.append(Violation("wire", f"{campaign.wire_gaps} events came beyond the next one"))
    campaign.duration_s = time.monotonic() - began
    return campaign
