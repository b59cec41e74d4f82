"""Readers that do not keep up: out of the fan-out, back by the log, and closed rather than given less."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from server.live.connection import Connection
from server.live.hub import Timings
from server.protocol.frames import AccessItem, Ack, Event, Join, Joined, Page, Placed, Send
from tests.live.support import ROOM, Client, Raw, Stage, body_of, shown

BIG = "x" * 3_000


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with Stage(sndbuf=8192) as made:
        yield made


@asynccontextmanager
async def slow_reader(stage: Stage) -> AsyncIterator[tuple[Raw, Connection]]:
    async with Raw.open(stage, account="slow", rcvbuf=4096) as raw:
        raw.say(Join(client_id="join-0001", feed=ROOM))
        assert isinstance(await raw.hear(), Joined)
        yield raw, stage.connection("slow")


async def fill(stage: Stage, slow: Connection, fast: Client) -> int:
    """Commit until `slow` takes no more, `fast` reading all of it; the number committed."""
    count = 0
    while not slow.paused:
        stage.announce(*(stage.log.say(BIG) for _ in range(5)))
        count += 5
        await fast.events(5)
    return count


async def test_a_slow_reader_leaves_and_comes_back_exactly_while_others_go_on(stage: Stage) -> None:
    """The others are given everything at once; the slow one gets each event once and in order, late."""
    async with stage.client("fast", join=(ROOM,)) as fast, slow_reader(stage) as (raw, slow):
        count = await fill(stage, slow, fast)
        before = slow.unsent_bytes
        stage.announce(*(stage.log.say(f"late {n}") for n in range(200)))
        assert len(await fast.events(200)) == 200
        assert slow.unsent_bytes <= before  # nothing was added for the one that does not read
        heard = [await raw.hear() for _ in range(count + 200)]
        assert [event.seq for event in heard] == list(range(1, count + 201))
        await stage.until(lambda: not slow.paused)
        stage.announce(stage.log.say("live again"))
        assert body_of((await raw.hear()).item) == "live again"
        assert await fast.bodies(1) == ["live again"]


async def test_what_happens_during_the_replay_comes_after_it(stage: Stage) -> None:
    """Events committed while the log is being read for the slow one are neither lost nor repeated."""

    async def commit(*_: Any) -> None:
        if stage.log.head(ROOM) < 500:
            stage.announce(stage.log.say("meanwhile"))

    async with stage.client("fast", join=(ROOM,)) as fast, slow_reader(stage) as (raw, slow):
        await fill(stage, slow, fast)
        stage.hub.delivery._feeds[ROOM].recent.clear()  # as after very many events: only the log has them
        stage.service.read_most = 7
        stage.announce(*(stage.log.say(BIG) for _ in range(50)))
        stage.hub.delivery._feeds[ROOM].recent.clear()
        stage.service.hooks["events_after"] = commit
        seqs = [(await raw.hear()).seq]
        while seqs[-1] < stage.log.head(ROOM):
            seqs.append((await raw.hear()).seq)
        assert seqs == list(range(1, len(seqs) + 1))
        assert stage.service.called("events_after") != []


async def test_a_reader_dropped_while_it_lags_is_given_nothing_after(stage: Stage) -> None:
    """The replay ends with the event that ends its access."""
    async with stage.client("fast", join=(ROOM,)) as fast, slow_reader(stage) as (raw, slow):
        count = await fill(stage, slow, fast)
        stage.announce(
            stage.log.say("still yours"),
            stage.log.commit(ROOM, AccessItem(account="slow"), drops="slow"),
            stage.log.say("not yours"),
        )
        heard = [await raw.hear() for _ in range(count + 2)]
        assert heard[-1].item == AccessItem(account="slow")
        await stage.until(lambda: slow.follows == {})
        raw.say(Send(client_id="send-0001", feed="room:R2", body="x"))
        assert isinstance(await raw.hear(), Ack)


async def test_a_reader_whose_last_event_fills_its_transport_is_given_nothing_after(stage: Stage) -> None:
    """Being written the end of one's access and becoming full by it is an end all the same."""
    async with slow_reader(stage) as (raw, slow):
        stage.announce(
            *(stage.log.say(BIG) for _ in range(400)),
            stage.log.commit(ROOM, AccessItem(account="slow"), drops="slow"),
        )
        assert slow.paused
        stage.announce(stage.log.say("not yours"))
        heard = [await raw.hear() for _ in range(401)]
        assert heard[-1].item == AccessItem(account="slow")
        await stage.until(lambda: not slow.paused)
        raw.say(Send(client_id="send-0001", feed="room:R2", body="x"))
        assert isinstance(await raw.hear(), Ack)


async def test_ten_seconds_behind_ends_the_connection(stage: Stage) -> None:
    """4001 after what was already under way; the client comes back by its position."""
    async with stage.client("fast", join=(ROOM,)) as fast, slow_reader(stage) as (raw, slow):
        await fill(stage, slow, fast)
        stage.fast_forward(9)
        assert slow.is_open
        stage.fast_forward(2)
        assert not slow.is_open
        frame = await raw.frame()
        while frame[0] == 2:
            frame = await raw.frame()
        assert (frame[0], int.from_bytes(frame[1][:2], "big")) == (8, 4001)
        stage.announce(stage.log.say("on"))
        assert await fast.bodies(1) == ["on"]


async def test_a_reader_to_which_not_even_the_close_can_be_written_is_cut(stage: Stage) -> None:
    """Two seconds after the close the TCP connection is gone, whatever is still in the buffer."""
    async with stage.client("fast", join=(ROOM,)) as fast, slow_reader(stage) as (_, slow):
        await fill(stage, slow, fast)
        stage.fast_forward(13)
        await stage.until(lambda: slow not in stage.state.connections)


async def test_answers_to_a_reader_that_does_not_read_are_bounded() -> None:
    """Asking for pages and never reading them ends with 4001 at the bound, not in memory."""
    async with Stage(sndbuf=8192, timings=Timings(unsent_bytes=200_000)) as stage:
        page = Page(re="", feed=ROOM, items=tuple(Placed(seq=n, item=shown(n, BIG)) for n in range(1, 16)), more=False)

        async def run(*_: Any) -> Page:
            return page

        stage.service.run = run  # type: ignore[method-assign,assignment]
        async with slow_reader(stage) as (raw, slow):
            for n in range(20):
                raw.say(Send(client_id=f"send-{n:04}", feed=ROOM, body="x"))
            await stage.until(lambda: not slow.is_open)
            assert slow.unsent_bytes < 400_000


async def test_a_burst_larger_than_the_buffer_arrives_whole(stage: Stage) -> None:
    """One flush far over the high-water mark is written once, and what follows is in order."""
    async with slow_reader(stage) as (raw, slow):
        stage.announce(*(stage.log.say(BIG) for _ in range(300)))
        await asyncio.sleep(0)
        stage.announce(*(stage.log.say(BIG) for _ in range(300)))
        heard = [await raw.hear() for _ in range(600)]
        assert all(isinstance(event, Event) for event in heard)
        assert [event.seq for event in heard] == list(range(1, 601))
        assert slow.is_open
