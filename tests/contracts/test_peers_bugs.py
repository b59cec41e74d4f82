"""Faults that services like this one have had on the wire, each as a test that would have found it, in all settings.

tests/contracts/README.md says which fault of which list; those that can be shown without a network have their tests
where their code is.
"""

from __future__ import annotations

import asyncio
import time
import uuid

import pytest

from clients.sdk.client import Client, LinkChange, LinkState
from clients.sdk.connection import Timing
from ops.torture.proxy import FaultProxy, Way
from tests.contracts.conftest import Stage
from tests.contracts.plain import Ended, Frame, plain, shown

pytestmark = pytest.mark.timeout(120)

CLEAN = "The bus was late, so I read two chapters at the stop"
# To notice a line on which nothing comes back, in the client's own time; and to show what was missed, once healed.
DEAF_S = 25.0
HEALED_S = 5.0
HURRY = 4.0


async def test_an_answer_that_is_cut_after_the_commit_doubles_nothing(stage: Stage, network: FaultProxy) -> None:
    """However much of the answer came through before the cut, sending it again gives one message and one answer."""
    room = stage.room()
    first: dict[str, Frame] = {}
    unanswered = 0
    for n in range(21):
        who, named = room.members[n % 3], uuid.uuid4().hex
        async with plain(network.url, who) as writing:
            await writing.join(room.feed)
            network.cut_after(n * 11)
            await writing.say("send", client_id=named, feed=room.feed, body=f"{CLEAN} {n}")
            try:
                first[named] = await writing.until(lambda f, named=named: f.get("re") == named)  # type: ignore[misc]
            except Ended:
                unanswered += 1
            network.heal()
        async with plain(stage.door(n), who) as again:
            await again.join(room.feed)
            ack = await again.send(room.feed, f"{CLEAN} {n}", client_id=named)
            assert ack == first.setdefault(named, ack)
            assert ack["seq"] == n + 1
    assert unanswered >= 5
    async with plain(stage.door(1), room.members[0]) as reading:
        places = (await reading.join(room.feed))["items"]
    assert shown(places) == [(n + 1, f"{CLEAN} {n}") for n in range(21)]


async def test_coming_back_often_still_gives_each_message_once(stage: Stage) -> None:
    """After thirty connections that ended without a word, and joins of a feed that is followed already: one event."""
    room = stage.room()
    author, reader, _ = room.members
    async with plain(stage.door(0), author) as writing:
        await writing.join(room.feed)
        for n in range(30):
            async with plain(stage.door(n), reader) as passing:
                await passing.join(room.feed)
        async with plain(stage.door(1), reader) as staying:
            for _ in range(4):
                await staying.join(room.feed)
            acks = [await writing.send(room.feed, f"{CLEAN} {n}") for n in range(3)]
            await staying.event(room.feed, acks[-1]["seq"])
            # What is answered comes behind every event that was known before it.
            await staying.ask("history", feed=room.feed, before=2)
            assert [event["seq"] for event in staying.events(room.feed)] == [1, 2, 3]


async def test_a_reader_who_lands_elsewhere_each_time_misses_nothing(stage: Stage) -> None:
    """A client that changes doors between any two messages, half of which it does not wait for, is told all of them."""
    room = stage.room()
    author, reader, _ = room.members
    applied: list[int] = []
    async with plain(stage.door(0), author) as writing:
        await writing.join(room.feed)
        for n in range(14):
            position = {"feed": room.feed, "epoch": 1, "seq": len(applied)}
            async with plain(stage.door(n), reader, resume=[position]) as reading:
                ack = await writing.send(room.feed, f"{CLEAN} {n}")
                if n % 2:
                    await reading.event(room.feed, ack["seq"])
                seqs = [event["seq"] for event in reading.events(room.feed)]
            assert seqs == list(range(len(applied) + 1, len(applied) + 1 + len(seqs)))
            applied += seqs
    assert applied == list(range(1, 15))


async def test_a_line_that_takes_and_gives_nothing_is_noticed(stage: Stage, network: FaultProxy) -> None:
    """Who can send and not hear is not connected within 25 s of its time; healed, it is shown what it missed in 5."""
    room = stage.room()
    author, deaf, _ = room.members
    down = asyncio.Event()

    def note(change: LinkChange) -> None:
        if change.state is LinkState.DOWN:
            down.set()

    timing = Timing(monotonic=lambda: time.monotonic() * HURRY, sleep=lambda seconds: asyncio.sleep(seconds / HURRY))
    async with (
        plain(stage.door(1), author) as writing,
        Client(network.url, token=deaf.token, on_link=note, timing=timing) as client,
    ):
        await writing.join(room.feed)
        feed = await client.join(room.feed)
        network.hold(Way.DOWN)
        missed = await writing.send(room.feed, CLEAN)
        said = asyncio.create_task(feed.send("Can you hear me?"))
        heard = await writing.event(room.feed, missed["seq"] + 1)
        assert heard["item"]["view"]["body"] == "Can you hear me?"
        async with asyncio.timeout(DEAF_S / HURRY):
            await down.wait()
        assert not client.is_connected
        assert not said.done()
        network.heal()
        async with asyncio.timeout(HEALED_S):
            assert (await said).seq == missed["seq"] + 1
            async for message in feed.messages():
                assert message.body == CLEAN
                break
        assert feed.view.last == missed["seq"] + 1
