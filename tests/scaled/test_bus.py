"""The bus over a real Redis: what waits is bounded and the highest, nobody hears themselves, nothing ever blocks."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from moderation.types import RoomKind
from server.actions.post_message import post_message
from server.actions.rooms import belong, make_room, remove_from_room
from server.bus.port import Nudge
from server.bus.redis_bus import WAITING_MOST, RedisBus
from server.errors import NotFound
from server.feeds import FeedEvent
from server.ids import new_id
from server.protocol.frames import AccessItem, Send
from tests import harness
from tests.path.scene import CLEAN
from tests.servers import PostgresServer, RedisServer, running_redis

pytestmark = pytest.mark.timeout(60)
CHANNEL = "evenkeel:test"


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@dataclass
class Ear:
    """What one process on the bus was told."""

    bus: RedisBus
    events: list[FeedEvent] = field(default_factory=list)
    moved: list[tuple[str, int, int]] = field(default_factory=list)
    nudges: list[tuple[Nudge, tuple[str, ...]]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.bus.listen(self.events.extend, self._moved)
        for what in Nudge:
            self.bus.heed(what, lambda ids, what=what: self._nudged(what, ids))

    def _moved(self, feed: str, epoch: int, seq: int) -> None:
        self.moved.append((feed, epoch, seq))
        self.changed.set()

    def _nudged(self, what: Nudge, ids: Sequence[str]) -> None:
        self.nudges.append((what, tuple(ids)))
        self.changed.set()

    async def until(self, found: Callable[[], bool], within_s: float = 10.0) -> None:
        async with asyncio.timeout(within_s):
            while not found():
                self.changed.clear()
                await self.changed.wait()


@contextlib.asynccontextmanager
async def on_bus(server: RedisServer, channel: str = CHANNEL) -> AsyncIterator[Ear]:
    """A process on the bus that hears."""
    ear = Ear(RedisBus(server.url, channel))
    ear.bus.start()
    try:
        # Each subscription asks for a look at everything; what is said from then on is heard.
        await ear.until(lambda: ear.nudges == [(Nudge.EVERYTHING, ())])
        ear.nudges.clear()
        yield ear
    finally:
        await ear.bus.close()


def event(feed: str, seq: int) -> FeedEvent:
    return FeedEvent(feed, 1, seq, AccessItem(account="A"))


async def test_what_is_spent_is_told_to_the_others_once(redis: RedisServer) -> None:
    """Of allowances others hear the name and the number; whoever spent is not told again."""
    heard: list[tuple[str, str, int]] = []
    async with on_bus(redis) as one, on_bus(redis) as two:
        one.bus.heed_spent(lambda what, times: heard.append(("one", what, times)))
        two.bus.heed_spent(lambda what, times: heard.append(("two", what, times)))
        for _ in range(3):
            one.bus.spend("pace:say:A1")
        one.bus.nudge(Nudge.LADDERS)
        await two.until(lambda: (Nudge.LADDERS, ()) in two.nudges)
        one.bus.nudge(Nudge.SESSIONS, ["S1"])
        await two.until(lambda: (Nudge.SESSIONS, ("S1",)) in two.nudges)
        assert heard == [("two", "pace:say:A1", 3)]


async def test_others_are_told_where_and_oneself_is_given_what(redis: RedisServer) -> None:
    """The process that committed is handed its events at once; every other one hears the position; no third does."""
    async with on_bus(redis) as one, on_bus(redis) as other, on_bus(redis, "evenkeel:elsewhere") as stranger:
        committed = [event("room:A", 1), event("room:B", 7), event("room:A", 2)]
        one.bus.announce(committed)
        assert one.events == committed
        await other.until(lambda: len(other.moved) >= 2)
        assert sorted(other.moved) == [("room:A", 1, 2), ("room:B", 1, 7)]
        other.bus.nudge(Nudge.SESSIONS, ("S1", "S2"))
        await one.until(lambda: bool(one.nudges))
        assert one.nudges == [(Nudge.SESSIONS, ("S1", "S2"))]
        assert (one.moved, other.events, other.nudges) == ([], [], [])
        assert (stranger.moved, stranger.nudges) == ([], [])


async def test_what_waits_for_redis_is_one_position_for_each_feed(redis: RedisServer) -> None:
    """While Redis is away nothing blocks or fails; when it is back, others hear the highest seq of each feed, once."""
    async with on_bus(redis) as one, on_bus(redis) as other:
        redis.stop()
        for seq in range(1, 501):
            one.bus.announce([event("room:A", seq), event("room:B", seq)])
            if seq % 100 == 0:
                await asyncio.sleep(0.02)
        redis.start()
        await other.until(lambda: (Nudge.EVERYTHING, ()) in other.nudges)
        one.bus.announce([event("room:A", 501)])
        await other.until(lambda: ("room:A", 1, 501) in other.moved)
        assert set(other.moved) <= {("room:A", 1, 500), ("room:B", 1, 500), ("room:A", 1, 501)}
        assert len(other.moved) <= 3


async def test_too_much_that_waits_becomes_one_look_at_everything(redis: RedisServer) -> None:
    """Beyond its bound the waiting list is forgotten, and the others are told to look at everything instead."""
    async with on_bus(redis) as one, on_bus(redis) as other:
        one.bus.announce([event(f"room:{n}", 1) for n in range(WAITING_MOST + 1)])
        await other.until(lambda: (Nudge.EVERYTHING, ()) in other.nudges)
        assert (Nudge.LADDERS, ()) in other.nudges
        assert other.moved == []


async def test_a_frozen_redis_holds_nobody_up(redis: RedisServer) -> None:
    """Announcing to a Redis that does not answer takes no time, and closing has an end."""
    async with on_bus(redis) as one:
        redis.signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            for seq in range(1, 1001):
                one.bus.announce([event("room:A", seq)])
            assert time.monotonic() - began < 1.0
            assert len(one.events) == 1000
            await asyncio.wait_for(one.bus.close(), 10)
        finally:
            redis.signal(signal.SIGCONT)


async def test_what_is_not_ours_is_not_believed(redis: RedisServer) -> None:
    """Anything unreadable on the channel is passed over, and hearing goes on."""
    async with on_bus(redis) as one, on_bus(redis) as other:
        assert redis.command(f"PUBLISH {CHANNEL} rubbish") == b":2"
        one.bus.announce([event("room:A", 1)])
        await other.until(lambda: bool(other.moved))
        assert other.moved == [("room:A", 1, 1)]


async def test_a_removal_by_one_process_binds_another(postgres_server: PostgresServer) -> None:
    """What a process remembers of somebody's rights is not acted upon after another has taken them away."""
    url = postgres_server.create_database(harness.postgres_template(postgres_server))
    async with harness.open_services(url) as one, harness.open_services(url) as other:
        feed = await make_room(one, RoomKind.COMMUNITY, "The porch", "Quiet talk")
        robin = await harness.member(one, "Robin")
        await belong(other, robin, feed)
        await post_message(other, robin, Send(client_id=new_id(), feed=feed, body=CLEAN))
        assert other.room_cache.get(feed, robin.account) is not None
        await remove_from_room(one, robin.account, feed)
        with pytest.raises(NotFound):
            await post_message(other, robin, Send(client_id=new_id(), feed=feed, body=CLEAN))
    postgres_server.drop_database(url)
