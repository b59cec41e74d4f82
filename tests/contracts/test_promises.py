"""The delivery contract, promise by promise, as a stranger can check it: HTTP and sockets, and nothing of the inside.

Each test runs unchanged on one process over SQLite, on three over PostgreSQL and Redis, and through a slow network. The
promises are those of clients/PROTOCOL.md, sections 3 to 6; tests/contracts/README.md has the list.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial

import pytest

from clients.sdk.client import Client, LinkChange, LinkState
from clients.sdk.connection import Timing
from ops.torture.proxy import FaultProxy
from tests.contracts.conftest import Stage
from tests.contracts.plain import Bearer, Ended, Frame, Plain, plain, shown
from tests.independent_client import IndependentClient

pytestmark = pytest.mark.timeout(120)

CLEAN = "I walked along the canal this morning and counted the boats"
URGENT = "I am going to kill myself tonight, I have said goodbye"
# The bounds of the contract itself: a poll, whatever becomes of nudges; the drain of a process; a reader that is slow.
POLLED_S = 6.0
SLOW_S = 15.0
# What a client waits for in its own time passes so many times as fast; how long it chooses to wait is measured in it.
HURRY = 5.0


@contextlib.asynccontextmanager
async def living(url: str, who: Bearer, feed: str) -> AsyncIterator[IndependentClient]:
    """A client that comes back by itself and keeps the feed by the rules of section 4, once it has joined."""
    client = IndependentClient(url, who.token, feed)
    running = asyncio.create_task(client.run())
    try:
        async with asyncio.timeout(POLLED_S * 2):
            await client.until(lambda: client.snapshots > 0)
        yield client
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def case_of(staff: Plain, account: str) -> Frame:
    """The open case of somebody, in the moderators' queue: there already, or as soon as it comes."""
    queue = await staff.join("staff:moderation")
    found = [place["item"] for place in queue.get("items", []) if place["item"]["subject"]["id"] == account]
    if found:
        return dict(found[0])
    event = await staff.until(lambda f: f["t"] == "event" and f["item"].get("subject", {}).get("id") == account)
    return dict(event["item"])


async def texts_at(url: str, who: Bearer, feed: str) -> list[tuple[int, str | None]]:
    """What a fresh join by that door is shown."""
    async with plain(url, who) as somebody:
        return shown((await somebody.join(feed)).get("items", []))


# --- an acknowledgement -----------------------------------------------------------------------------------------------


async def test_what_is_acknowledged_is_stored_screened_and_called_about(stage: Stage) -> None:
    """With the acknowledgement in hand, any door shows the message held, its case open and somebody called."""
    room, (sam, _) = stage.room(), stage.moderators
    author, reader, _ = room.members
    async with plain(stage.door(0), author) as writing:
        await writing.join(room.feed)
        ack = await writing.send(room.feed, URGENT)
    assert (ack["state"], ack["care"], ack["epoch"]) == ("held", "urgent", 1)
    assert ack["at"] > 0

    async with plain(stage.door(1), reader) as reading:
        place = (await reading.join(room.feed))["items"][-1]["item"]
        assert (place["of"], place["view"]) == (ack["seq"], {"state": "withheld"})
    async with plain(stage.door(2), sam, "console") as staff:
        case = await case_of(staff, author.account)
        page = await staff.ask("open_case", case=case["id"])
        assert (ack["seq"], URGENT) in shown(page["items"])
        assert page["case"]["level"] == 3
        inbox = await staff.join("inbox")
        calls = [place["item"] for place in inbox.get("items", [])]
        if not any(call["kind"] == "page" and call["case"] == case["id"] for call in calls):
            await staff.until(
                lambda f: f["t"] == "event" and f["item"]["kind"] == "page" and f["item"]["case"] == case["id"],
                within_s=5,
            )


async def test_sending_again_does_nothing_twice_by_whatever_door(stage: Stage) -> None:
    """A repeated `client_id` is given its first answer, also with another body; equal texts are two messages."""
    room = stage.room()
    author, other, _ = room.members
    named = uuid.uuid4().hex
    async with plain(stage.door(0), author) as here, plain(stage.door(1), author) as there:
        for somebody in (here, there):
            await somebody.join(room.feed)
        first = await here.send(room.feed, CLEAN, client_id=named)
        for door, body in ((there, CLEAN), (here, CLEAN), (there, "Something else")):
            again = await door.send(room.feed, body, client_id=named)
            assert {**again, "re": ""} == {**first, "re": ""}
        twice = [await door.send(room.feed, "ok") for door in (here, there)]
        same = {"client_id": uuid.uuid4().hex, "feed": room.feed, "body": "Please write to me."}
        asked = [await door.ask("help", **same) for door in (here, there)]
        assert asked[0] == asked[1], asked
        assert asked[0]["t"] == "done"
    assert await texts_at(stage.door(2), other, room.feed) == [
        (first["seq"], CLEAN),
        *((a["seq"], "ok") for a in twice),
    ]


# --- order and gaps ---------------------------------------------------------------------------------------------------


async def test_a_room_has_one_order_without_gaps(stage: Stage) -> None:
    """Three write at once by different doors; two readers are told 1, 2, 3 and so on, alike, held and removed too."""
    room = stage.room()
    one, two, reader = room.members
    each = 5

    async def write(door: int, who: Bearer, body: str) -> list[Frame]:
        async with plain(stage.door(door), who) as writing:
            await writing.join(room.feed)
            return [await writing.send(room.feed, f"{body} {n}") for n in range(each)]

    async with living(stage.door(2), reader, room.feed) as here, living(stage.door(0), reader, room.feed) as there:
        written = await asyncio.gather(write(0, one, CLEAN), write(1, two, CLEAN), write(2, one, URGENT))
        acks = [ack for batch in written for ack in batch]
        async with plain(stage.door(1), two) as removing:
            await removing.join(room.feed)
            await removing.ask("remove", feed=room.feed, message=written[1][0]["message"])
        last = len(acks) + 1
        async with asyncio.timeout(POLLED_S):
            for client in (here, there):
                await client.until(lambda client=client: last in client.applied)  # type: ignore[misc]
    assert sorted(ack["seq"] for ack in acks) == list(range(1, last))
    for client in (here, there):
        assert client.applied == list(range(1, last + 1))
    assert here.places == there.places
    assert {here.places[ack["seq"]]["state"] for ack in written[2]} == {"withheld"}
    assert here.places[written[1][0]["seq"]] == {"state": "removed", "by": "author"}
    for ack, n in zip(written[0], range(each), strict=True):
        assert here.places[ack["seq"]]["body"] == f"{CLEAN} {n}"


async def test_what_one_has_written_is_read_by_every_door_at_once(stage: Stage) -> None:
    """The moment that a command is answered, join, history and every other command by any door know of it."""
    room = stage.room()
    author, reader, _ = room.members
    async with contextlib.AsyncExitStack() as stack:
        mine = [await stack.enter_async_context(plain(stage.door(n), author)) for n in range(3)]
        others = [await stack.enter_async_context(plain(stage.door(n), reader)) for n in range(3)]
        for somebody in (*mine, *others):
            await somebody.join(room.feed)
        for n in range(4):
            ack = await mine[n % 3].send(room.feed, f"{CLEAN} {n}")
            seq = ack["seq"]
            page = await others[(n + 1) % 3].ask("history", feed=room.feed, before=seq + 1, limit=1)
            assert shown(page["items"]) == [(seq, f"{CLEAN} {n}")]
            assert (await others[(n + 2) % 3].join(room.feed))["seq"] == seq
            assert (await others[(n + 1) % 3].ask("read", feed=room.feed, seq=seq))["t"] == "done"
            edited = await mine[(n + 1) % 3].ask("edit", feed=room.feed, message=ack["message"], body=f"{n}, I meant")
            assert edited["t"] == "ack", edited
            assert shown((await others[n % 3].join(room.feed))["items"])[-1] == (seq, f"{n}, I meant")


# --- coming back ------------------------------------------------------------------------------------------------------


async def test_every_position_is_resumed_exactly_by_every_door(stage: Stage) -> None:
    """From each earlier position each door gives exactly the missing events, as they may be seen now."""
    room = stage.room()
    author, reader, _ = room.members
    async with plain(stage.door(0), author) as writing:
        await writing.join(room.feed)
        acks = [await writing.send(room.feed, f"{CLEAN} {n}") for n in range(5)]
        await writing.ask("remove", feed=room.feed, message=acks[1]["message"])
    head = len(acks) + 1
    for door in range(3):
        async with plain(stage.door(door), reader) as somebody:
            fresh = {place["item"]["of"]: place["item"]["view"] for place in (await somebody.join(room.feed))["items"]}
            for seq in range(head + 1):
                somebody.heard.clear()
                joined = await somebody.join(room.feed, (1, seq))
                assert (joined["recovered"], joined["seq"]) == (True, head)
                assert "items" not in joined
                if seq < head:
                    await somebody.event(room.feed, head)
                replayed = somebody.events(room.feed)
                assert [event["seq"] for event in replayed] == list(range(seq + 1, head + 1))
                assert all(event["item"]["view"] == fresh[event["item"]["of"]] for event in replayed)
        position = {"feed": room.feed, "epoch": 1, "seq": head - 2}
        async with plain(stage.door(door), reader, resume=[position]) as back:
            await back.event(room.feed, head)
            assert [event["seq"] for event in back.events(room.feed)] == [head - 1, head]


@pytest.mark.parametrize(("epoch", "ahead", "reason"), [(1, 1, "ahead"), (1, 1 << 50, "ahead"), (2, -1, "epoch")])
async def test_a_position_that_never_was_is_answered_with_a_snapshot_and_why(
    stage: Stage, epoch: int, ahead: int, reason: str
) -> None:
    """Nobody waits for a position of the future or of another history: a snapshot comes at once, and what follows."""
    room = stage.room()
    author, reader, _ = room.members
    async with plain(stage.door(0), author) as writing, plain(stage.door(1), reader) as somebody:
        await writing.join(room.feed)
        ack = await writing.send(room.feed, CLEAN)
        joined = await somebody.join(room.feed, (epoch, ack["seq"] + ahead))
        assert (joined["recovered"], joined["reason"], joined["seq"]) == (False, reason, ack["seq"])
        assert shown(joined["items"]) == [(ack["seq"], CLEAN)]
        following = await writing.send(room.feed, "And one more")
        assert (await somebody.event(room.feed, following["seq"]))["item"]["view"]["body"] == "And one more"


@pytest.mark.parametrize("seq", [-1, 1 << 53, "7", None])
async def test_what_is_no_position_is_refused_and_the_connection_stays(stage: Stage, seq: object) -> None:
    """A position that breaks the contract is refused by name, and nothing else happens."""
    room = stage.room()
    async with plain(stage.door(0), room.members[0]) as somebody:
        refused = await somebody.ask("join", feed=room.feed, after={"epoch": 1, "seq": seq})
        assert (refused["t"], refused["code"], refused["retry"]) == ("error", "bad_field", "never")
        assert (await somebody.join(room.feed))["t"] == "joined"


async def test_through_cuts_each_event_is_applied_once_and_only_reading_counts_as_read(stage: Stage) -> None:
    """A reader that is cut again and again applies every event once; what is unread stays so until it is read."""
    room = stage.room()
    author, reader, _ = room.members
    async with plain(stage.door(0), author) as writing, living(stage.door(1), reader, room.feed) as client:
        await writing.join(room.feed)
        for n in range(6):
            await writing.send(room.feed, f"{CLEAN} {n}")
            if n % 2:
                client.cut()
        async with asyncio.timeout(POLLED_S * 2):
            await client.until(lambda: 6 in client.applied)
        assert client.connections > 1
        assert client.applied == list(range(1, 7))
    async with plain(stage.door(0), reader) as again:
        joined = await again.join(room.feed)
        assert (joined.get("read", 0), joined["unread"]) == (0, 6)
        await again.ask("read", feed=room.feed, seq=4)
    async with plain(stage.door(1), reader) as later:
        joined = await later.join(room.feed)
        assert (joined["read"], joined["unread"]) == (4, 2)


# --- escalation -------------------------------------------------------------------------------------------------------


async def calls_about(inbox: Plain, case: str, count: int) -> list[Frame]:
    """The first `count` calls about a case on somebody's inbox, each as it was first told."""
    calls: dict[str, Frame] = {}
    while len(calls) < count:
        frame = await inbox.until(lambda f: f["t"] == "event" and f["item"].get("case") == case, within_s=30)
        calls.setdefault(frame["item"]["id"], frame["item"])
    return list(calls.values())


async def test_a_call_for_help_grows_until_a_named_person_ends_it(stage: Stage) -> None:
    """Unanswered, each next rung is called at its time; taking it ends the ringing, and only closing it ends it."""
    room, (sam, alex) = stage.room(), stage.moderators
    author = room.members[0]
    async with (
        plain(stage.door(0), author, "handling") as writing,
        plain(stage.door(1), sam, "console") as one,
        plain(stage.door(2), alex, "console") as two,
    ):
        for somebody, feed in ((writing, "inbox"), (writing, room.feed), (one, "inbox"), (two, "inbox")):
            await somebody.join(feed)
        await writing.send(room.feed, URGENT)
        case = (await case_of(one, author.account))["id"]
        first, second = await asyncio.gather(calls_about(one, case, 2), calls_about(two, case, 2))
        for calls in (first, second):
            assert calls[0]["rung"] != calls[1]["rung"]
            assert timedelta(milliseconds=calls[1]["at"] - calls[0]["at"]) >= timedelta(seconds=15)
            assert not any(rings_no_more(call["id"], frame) for call in calls for frame in (*one.heard, *two.heard))

        page = await one.ask("open_case", case=case)
        assert page["case"]["state"] == "open"
        done = await one.ask("act", case=case, version=page["case"]["version"], act="claim")
        assert done["t"] == "done", done
        for call in second:
            if not ended(two, call["id"]):
                await two.until(partial(rings_no_more, call["id"]))
        late = await two.ask("act", case=case, version=page["case"]["version"], act="claim")
        assert (late["t"], late["retry"]) == ("error", "never")

        # The same words again are not a repeat to be muted.
        await writing.send(room.feed, URGENT)
        raised = (await one.ask("open_case", case=case))["case"]
        assert raised["raised_at"] > page["case"]["raised_at"]
        for message in (await one.ask("open_case", case=case))["items"]:
            if message["item"]["view"]["state"] == "held":
                version = (await one.ask("open_case", case=case))["case"]["version"]
                name = message["item"]["view"]["id"]
                removed = await one.ask("act", case=case, version=version, act="remove_message", message=name)
                assert removed["t"] == "done", removed
        version = (await one.ask("open_case", case=case))["case"]["version"]
        closed = await one.ask("act", case=case, version=version, act="close", outcome="supported", body="Talked.")
        assert closed["t"] == "done", closed
        told = await writing.until(
            lambda f: f["t"] == "event" and [s["state"] for s in f["item"].get("states", [])][-1:] == ["closed"]
        )
        assert told["item"]["states"][0]["state"] == "sent_to_team"


def rings_no_more(call: str, frame: Frame) -> bool:
    """Whether the frame says that a call is over."""
    item = frame.get("item", {})
    return frame["t"] == "event" and item.get("id") == call and bool(item.get("state", "ringing") != "ringing")


def ended(somebody: Plain, call: str) -> bool:
    """Whether somebody was told already that a call is over."""
    return any(rings_no_more(call, frame) for frame in somebody.heard)


async def test_a_jump_of_the_clock_changes_no_order_and_makes_each_call_once(stage: Stage) -> None:
    """After an hour that nobody saw, what fell due is called about once; order goes on by number, backwards too."""
    room, (sam, _) = stage.room(), stage.moderators
    author, reader, _ = room.members
    async with plain(stage.door(0), author) as writing:
        await writing.join(room.feed)
        acks = [await writing.send(room.feed, CLEAN)]
        await writing.ask("help", feed=room.feed)
    async with plain(stage.door(1), sam, "console") as staff:
        case = (await case_of(staff, author.account))["id"]
    for step in (timedelta(hours=1), timedelta(seconds=-30)):
        await stage.house.jump(step)
        async with plain(stage.door(0), author) as writing:
            await writing.join(room.feed)
            acks += [await writing.send(room.feed, f"{CLEAN} {n}") for n in range(2)]
    assert [ack["seq"] for ack in acks] == [1, 2, 3, 4, 5]
    assert acks[1]["at"] - acks[0]["at"] >= 3_600_000
    assert [place for place, _ in await texts_at(stage.door(1), reader, room.feed)] == [1, 2, 3, 4, 5]
    async with plain(stage.door(2), sam, "console") as staff:
        calls: dict[str, Frame] = {}
        inbox = await staff.join("inbox")
        for place in inbox.get("items", []):
            if place["item"]["kind"] == "page" and place["item"]["case"] == case:
                calls[place["item"]["id"]] = place["item"]
        assert calls, "whoever was called is still called after the jump"
        assert len({(call["rung"], call["at"]) for call in calls.values()}) == len(calls)


# --- slowness, restarts, silence --------------------------------------------------------------------------------------


async def until_gone(somebody: Plain) -> float:
    """How many seconds it takes until the connection of somebody who reads nothing is gone."""
    began = time.monotonic()
    with contextlib.suppress(Ended):
        while True:
            # Only whoever writes learns of a reset that lies behind unread data.
            await somebody.say("beat", at={})
            await asyncio.sleep(0.2)
    return time.monotonic() - began


async def test_a_slow_reader_loses_its_connection_and_no_message(stage: Stage) -> None:
    """Whoever does not read is closed with 4001 within the bound, keeps nobody waiting, and resumes exactly."""
    room = stage.room()
    one, two, slow = room.members
    long = "\N{SLOTH}" * 3_900
    async with (
        plain(stage.door(0), one) as writing,
        plain(stage.door(0), two) as prompt,
        plain(stage.door(1), slow) as lagging,
    ):
        for somebody in (writing, prompt):
            await somebody.join(room.feed)
        for n in range(15):
            await writing.send(room.feed, f"{n} {long}")
        joined = await lagging.join(room.feed)
        behind = joined["seq"]
        # Eighty snapshots of more than 200 KB each are more than any buffer between us.
        for _ in range(80):
            await lagging.say("join", feed=room.feed)
        gone = asyncio.create_task(until_gone(lagging))
        while not gone.done():
            sent_at = time.monotonic()
            ack = await writing.send(room.feed, CLEAN)
            await prompt.event(room.feed, ack["seq"])
            assert time.monotonic() - sent_at < POLLED_S
            await asyncio.wait({gone}, timeout=0.5)  # the pace of a person: nobody may talk faster for long
        assert await gone < SLOW_S
    async with plain(stage.door(2), slow) as back:
        joined = await back.join(room.feed, (1, behind))
        assert joined["recovered"] is True
        if joined["seq"] > behind:
            await back.event(room.feed, joined["seq"])
        assert [event["seq"] for event in back.events(room.feed)] == list(range(behind + 1, joined["seq"] + 1))


async def test_a_restart_is_announced_and_what_was_begun_is_finished(stage: Stage) -> None:
    """Everybody is told their own time to go, commands are carried out until then, and nothing said is lost."""
    room = stage.room()
    cluster = stage.house.cluster
    author, reader, _ = room.members
    async with contextlib.AsyncExitStack() as stack:
        others = [await stack.enter_async_context(plain(stage.door(0), reader)) for _ in range(5)]
        writing = await stack.enter_async_context(plain(stage.door(0), author))
        await writing.join(room.feed)
        acks = [await writing.send(room.feed, CLEAN)]
        stopping = asyncio.create_task(cluster.stop(0))
        drains = [await one.until(lambda f: f["t"] == "drain") for one in (writing, *others)]
        acks.append(await writing.send(room.feed, "Before I go"))
        assert len({drain["after_ms"] for drain in drains}) > 1
        for one in (writing, *others):
            await one.close()
        assert await stopping == 0
    if stage.house.size > 1:
        assert len(await texts_at(stage.door(1), reader, room.feed)) == 2
    cluster.start(0)
    await cluster.until_ready(0)
    assert await texts_at(stage.door(0), reader, room.feed) == [
        (acks[0]["seq"], CLEAN),
        (acks[1]["seq"], "Before I go"),
    ]


async def test_coming_back_waits_longer_each_time_and_then_finds_everything(stage: Stage, network: FaultProxy) -> None:
    """While nobody lets it in a client waits a random time under a cap that doubles; back, it has missed nothing."""
    room = stage.room()
    author, reader, _ = room.members
    waits: list[float] = []
    enough = asyncio.Event()

    def note(change: LinkChange) -> None:
        if change.state is LinkState.DOWN:
            waits.append(change.wait_s)
            if len(waits) == 4:
                enough.set()

    timing = Timing(sleep=lambda seconds: asyncio.sleep(seconds / HURRY))
    async with Client(network.url, token=reader.token, on_link=note, timing=timing) as client:
        feed = await client.join(room.feed)
        network.refuse()
        network.reset()
        async with asyncio.timeout(30):
            await enough.wait()
        async with plain(stage.door(1), author) as writing:
            await writing.join(room.feed)
            ack = await writing.send(room.feed, CLEAN)
        network.heal()
        async with asyncio.timeout(30):
            async for message in feed.messages():
                assert message.body == CLEAN
                break
        assert feed.view.last == ack["seq"]
    assert all(0.5 <= wait <= min(30, 2**attempt) for attempt, wait in enumerate(waits)), waits
    assert len(set(waits)) == len(waits)


async def test_a_beat_is_answered_with_where_things_stand_and_with_what_is_missing(stage: Stage) -> None:
    """A client that says what it has applied is sent what it lacks (though it was sent before) and the time."""
    room = stage.room()
    author, reader, _ = room.members
    async with plain(stage.door(0), author) as writing, plain(stage.door(1), reader) as somebody:
        await writing.join(room.feed)
        await somebody.join(room.feed)
        acks = [await writing.send(room.feed, f"{CLEAN} {n}") for n in range(4)]
        await somebody.event(room.feed, acks[-1]["seq"])
        somebody.heard.clear()
        await somebody.say("beat", at={room.feed: 1})
        beat = await somebody.until(lambda f: f["t"] == "beat", within_s=10)
        assert beat["at"][room.feed]["epoch"] == 1
        await somebody.event(room.feed, 4)
        assert [event["seq"] for event in somebody.events(room.feed)] == [2, 3, 4]
        await somebody.say("beat", at={room.feed: 4})
        beat = await somebody.until(lambda f: f["t"] == "beat", within_s=10)
        assert beat["at"][room.feed] == {"epoch": 1, "seq": 4}
        assert beat["now"] >= acks[-1]["at"], "the service's own time, which need not be the machine's"
