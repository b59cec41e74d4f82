"""What a follower is given: everything once, in order, whatever happens between the log and the hub."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from server.errors import Unavailable
from server.feeds import FeedEvent
from server.live.delivery import LARGE_FLUSH, TURNS_AFTER, Delivery
from server.live.hub import Timings
from server.protocol.codec import Codec, UnknownEvent
from server.protocol.frames import (
    AccessItem,
    Ack,
    Attention,
    Beat,
    BeatReply,
    CaseItem,
    Error,
    Event,
    HandlingItem,
    Held,
    Join,
    Joined,
    Leave,
    Left,
    MessageItem,
    Person,
    Position,
    Send,
    Shown,
    Withheld,
)
from tests.live.support import ROOM, PaperReader, Service, Stage, body_of, shown


async def test_every_member_is_given_what_was_committed(stage: Stage) -> None:
    """A committed event reaches each follower, in both encodings, with its place."""
    async with stage.client("ann", join=(ROOM,)) as ann, stage.client("ben", codec=Codec.JSON, join=(ROOM,)) as ben:
        stage.announce(stage.log.say("one"), stage.log.say("two"))
        for client in (ann, ben):
            events = await client.events(2)
            assert [(e.feed, e.epoch, e.seq, body_of(e.item)) for e in events] == [
                (ROOM, 1, 1, "one"),
                (ROOM, 1, 2, "two"),
            ]


async def test_an_event_beyond_the_next_waits_for_what_is_missing(stage: Stage) -> None:
    """A hub that hears of seq 3 before 1 and 2 delivers 1, 2, 3: it reads the gap from the log."""
    async with stage.client(join=(ROOM,)) as ann:
        stage.log.say("one")
        stage.log.say("two")
        third = stage.log.say("three")
        stage.announce(third)
        assert await ann.bodies(3) == ["one", "two", "three"]
        assert stage.service.called("events_after") == [({ROOM: 0},)]


async def test_a_parked_event_follows_when_the_missing_one_comes_by_itself(stage: Stage) -> None:
    """While the log can not be read, the late event alone heals the gap, and nothing comes twice."""
    reading = asyncio.Event()

    async def wait(positions: dict[str, int]) -> None:
        await reading.wait()

    async with stage.client(join=(ROOM,)) as ann:
        stage.service.hooks["events_after"] = wait
        first, second = stage.log.say("one"), stage.log.say("two")
        stage.announce(second)
        stage.announce(first)
        assert await ann.bodies(2) == ["one", "two"]
        reading.set()
        stage.announce(first, second, stage.log.say("three"))
        assert await ann.bodies(1) == ["three"]


async def test_a_failing_log_is_asked_again(stage: Stage) -> None:
    """A read that fails loses nothing: it is tried until it answers."""
    left = 3

    async def fail(positions: dict[str, int]) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise Unavailable("The store is away.")

    async with stage.client(join=(ROOM,)) as ann:
        stage.service.hooks["events_after"] = fail
        stage.log.say("one")
        stage.hub.moved(ROOM, 1, 1)
        assert await ann.bodies(1) == ["one"]
        assert len(stage.service.called("events_after")) == 4


async def test_a_foreign_position_is_enough(stage: Stage) -> None:
    """Another process only says how far the feed is; several feeds are read in one call."""
    async with stage.client(join=(ROOM, "room:R2")) as ann:
        stage.log.say("one")
        stage.log.say("two", "room:R2")
        stage.hub.moved(ROOM, 1, 1)
        stage.hub.moved("room:R2", 1, 1)
        assert sorted(await ann.bodies(2)) == ["one", "two"]
        assert stage.service.called("events_after") == [({ROOM: 0, "room:R2": 0},)]


async def test_a_lost_nudge_is_found_by_the_look(stage: Stage) -> None:
    """What nobody announced is delivered after the next look at the heads."""
    async with stage.client(join=(ROOM,)) as ann:
        stage.log.say("one")
        await stage.hub.look()
        assert await ann.bodies(1) == ["one"]


async def test_a_look_that_failed_is_soon_made_again() -> None:
    """When the store was away at the time of a look, what was lost is not left until the time of the next one."""
    failures = iter((ConnectionError(), TimeoutError()))

    async def away(*_: object) -> None:
        if (error := next(failures, None)) is not None:
            raise error

    async with Stage(Timings(look_s=3600, again_s=0.01)) as stage, stage.client(join=(ROOM,)) as ann:
        stage.service.hooks["heads"] = away
        stage.hub.start()
        stage.log.say("one")
        with capture_logs():
            stage.hub.look_soon()
            assert await ann.bodies(1) == ["one"]


async def test_a_position_that_was_never_committed_stops_nothing(stage: Stage) -> None:
    """A claim beyond the log is given up after some reads, and what comes later is delivered."""
    async with stage.client(join=(ROOM,)) as ann:
        stage.hub.moved(ROOM, 1, 40)
        stage.announce(stage.log.say("one"))
        assert await ann.bodies(1) == ["one"]


async def test_what_is_committed_while_joining_comes_after_joined(stage: Stage) -> None:
    """Between the read of the position and `joined` nothing is lost and nothing comes twice."""
    stage.log.say("before")

    async def commit(*_: object) -> None:
        stage.announce(stage.log.say("meanwhile"))

    async with stage.client() as ann:
        stage.service.hooks["followed"] = commit
        joined = await ann.join()
        assert joined.seq == 1
        stage.announce(stage.log.say("after"))
        events = await ann.events(2)
        assert [(e.seq, body_of(e.item)) for e in events] == [(2, "meanwhile"), (3, "after")]


async def test_a_reader_that_joined_further_than_the_hub_is_told_nothing_twice(stage: Stage) -> None:
    """Joining at a seq that this hub has not heard of gives the newcomer only what follows, the others all of it."""
    async with stage.client("ann", join=(ROOM,)) as ann, stage.client("ben") as ben:
        stage.log.say("one")
        stage.log.say("two")
        assert (await ben.join()).seq == 2
        stage.announce(stage.log.say("three"))
        assert await ann.bodies(3) == ["one", "two", "three"]
        assert await ben.bodies(1) == ["three"]


async def test_resume_gives_exactly_the_missing_events(stage: Stage) -> None:
    """A join with a position is answered with the events after it, then the live ones."""
    for n in range(1, 6):
        stage.log.say(f"n{n}")
    async with stage.client() as ann:
        joined = await ann.join(after=Position(epoch=1, seq=3))
        assert (joined.recovered, joined.seq) == (True, 5)
        stage.announce(stage.log.say("n6"))
        assert [e.seq for e in await ann.events(3)] == [4, 5, 6]


async def test_leaving_ends_delivery(stage: Stage) -> None:
    """After `left` comes nothing more of that feed, while the others go on."""
    async with stage.client(join=(ROOM, "room:R2")) as ann:
        await ann.say(Leave(client_id="leave-01", feed=ROOM))
        assert await ann.hear() == Left(re="leave-01", feed=ROOM)
        stage.announce(stage.log.say("here"), stage.log.say("there", "room:R2"))
        assert await ann.bodies(1) == ["there"]


async def test_no_more_than_64_feeds(stage: Stage) -> None:
    """The 65th feed is refused and the others stay."""
    async with stage.client(join=tuple(f"room:{n}" for n in range(64))) as ann:
        await ann.say(Join(client_id="join-0065", feed="room:64"))
        refused = await ann.hear_as(Error)
        assert (refused.re, refused.code) == ("join-0065", "bad_request")
        stage.announce(stage.log.say("still here", "room:63"))
        assert await ann.bodies(1) == ["still here"]


async def test_a_refused_join_leaves_nothing_behind(stage: Stage) -> None:
    """Who may not follow is told so, and is given no event."""
    stage.service.banned.add(("ann", ROOM))
    async with stage.client(join=("room:R2",)) as ann:
        await ann.say(Join(client_id="join-0002", feed=ROOM))
        assert (await ann.hear_as(Error)).code == "not_found"
        stage.announce(stage.log.say("not yours"), stage.log.say("yours", "room:R2"))
        assert await ann.bodies(1) == ["yours"]
        assert stage.hub.delivery.followed() == ["room:R2"]


async def test_the_author_of_a_held_message_sees_it_whole_and_others_do_not(stage: Stage) -> None:
    """One event, three views: withheld for members, whole for its author on each socket and for staff; in order."""

    def held(seq: int) -> Held:
        return Held(id=f"M{seq}", author=Person(id="ann", name="Ann"), body="mine", at=seq, reason="check")

    async with (
        stage.client("ann", join=(ROOM,)) as ann,
        stage.client("ann", codec=Codec.JSON, join=(ROOM,)) as ann_too,
        stage.client("ben", join=(ROOM,)) as ben,
        stage.client("mo", role="moderator", features=("console",), join=(ROOM,)) as mo,
    ):
        first = stage.log.say("before")
        event = stage.log.commit(
            ROOM,
            lambda seq: MessageItem(of=seq, change="new", view=Withheld()),
            staff=MessageItem(of=2, change="new", view=replace_attention(held(2))),
            author="ann",
            for_author=MessageItem(of=2, change="new", view=held(2)),
        )
        stage.announce(first, event, stage.log.say("after"))
        for client in (ann, ann_too, ben, mo):
            events = await client.events(3)
            assert [e.seq for e in events] == [1, 2, 3]
            item = events[1].item
            assert isinstance(item, MessageItem)
            if client is ben:
                assert item.view == Withheld()
            else:
                assert isinstance(item.view, Held)
                assert item.view.body == "mine"
                assert (item.view.attention is not None) is (client is mo)


def replace_attention(view: Held) -> Held:
    return Held(
        id=view.id, author=view.author, body=view.body, at=view.at, reason=view.reason, attention=Attention(level=3)
    )


async def test_features_decide_what_is_sent_and_every_seq_still_comes(stage: Stage) -> None:
    """Without "handling" or "console" such items are passed over at their place; attention is left out."""
    case = CaseItem(
        id="C1", version=1, state="open", level=3, side="moderation", subject=Person(id="ann", name="Ann"),
        origin="filter", opened_at=1, raised_at=1,
    )  # fmt: skip
    flagged = Shown(
        id="M3", author=Person(id="ben", name="Ben"), body="look", at=3, attention=Attention(level=2, case="C1")
    )
    async with (
        stage.client("mo", role="moderator", join=("inbox",)) as plain,
        stage.client("mo", role="moderator", features=("handling", "console"), join=("inbox",)) as full,
    ):
        stage.announce(
            stage.log.commit("inbox:mo", HandlingItem(id="H1", care="notice")),
            stage.log.commit("inbox:mo", case),
            stage.log.commit("inbox:mo", MessageItem(of=3, change="new", view=flagged)),
        )
        got = [await plain.hear_any() for _ in range(3)]
        assert [type(frame) for frame in got] == [UnknownEvent, UnknownEvent, Event]
        assert [frame.seq for frame in got] == [1, 2, 3]
        assert got[2].item.view.attention is None
        events = await full.events(3)
        assert [type(e.item) for e in events] == [HandlingItem, CaseItem, MessageItem]
        assert events[2].item == MessageItem(of=3, change="new", view=flagged)
        assert {e.feed for e in events} == {"inbox"}


async def test_somebody_dropped_is_given_that_event_and_nothing_after(stage: Stage) -> None:
    """The event that ends one's access is the last of that feed, on each socket; others read on."""
    async with (
        stage.client("ann", join=(ROOM, "room:R2")) as ann,
        stage.client("ann", codec=Codec.JSON, join=(ROOM, "room:R2")) as ann_too,
        stage.client("ben", join=(ROOM,)) as ben,
    ):
        stage.announce(
            stage.log.say("one"),
            stage.log.commit(ROOM, AccessItem(account="ann"), drops="ann"),
            stage.log.say("secret"),
            stage.log.say("elsewhere", "room:R2"),
        )
        for client in (ann, ann_too):
            one, out, other = await client.events(3)
            assert (one.seq, out.seq, out.item) == (1, 2, AccessItem(account="ann"))
            assert body_of(other.item) == "elsewhere"
        assert [e.seq for e in await ben.events(3)] == [1, 2, 3]


async def test_somebody_let_in_again_resumes_across_the_end_of_their_access(stage: Stage) -> None:
    """An earlier end of access in the resumed stretch ends nothing: access was checked at the join."""
    stage.announce(
        stage.log.say("one"), stage.log.commit(ROOM, AccessItem(account="ann"), drops="ann"), stage.log.say("three")
    )
    async with stage.client("ann") as ann:
        await ann.join(after=Position(epoch=1, seq=0))
        stage.announce(stage.log.say("four"))
        assert [e.seq for e in await ann.events(4)] == [1, 2, 3, 4]


async def test_a_new_epoch_starts_every_follower_again(stage: Stage) -> None:
    """When history was replaced, each follower is given a new `joined`, then what follows it."""
    stage.log.say("one")
    stage.log.say("lost by the restore")
    async with stage.client("ann", join=(ROOM,)) as ann, stage.client("ben", join=(ROOM,)) as ben:
        stage.log.new_epoch(ROOM, keep=1)
        await stage.hub.look()
        for client in (ann, ben):
            joined = await client.hear_as(Joined)
            assert (joined.epoch, joined.seq, joined.recovered, joined.re) == (2, 1, False, None)
        stage.announce(FeedEvent(feed=ROOM, epoch=1, seq=3, member=shown(3, "of the old one")))
        stage.announce(stage.log.say("new"))
        for client in (ann, ben):
            event = (await client.events(1))[0]
            assert (event.epoch, event.seq, body_of(event.item)) == (2, 2, "new")


async def test_an_event_known_before_an_answer_comes_before_it(stage: Stage) -> None:
    """One's own event, announced before the ack was made, is on the wire before the ack."""
    async with stage.client(join=(ROOM,)) as ann:
        await ann.say(Send(client_id="send-0001", feed=ROOM, body="hello"))
        event = await ann.hear_as(Event)
        ack = await ann.hear_as(Ack)
        assert (event.seq, ack.seq) == (1, 1)


async def test_a_beat_brings_what_the_client_lacks(stage: Stage) -> None:
    """A client that says it has applied less than it was sent is sent the rest again, and told where it stands."""
    async with stage.client(join=(ROOM,)) as ann:
        stage.announce(stage.log.say("one"), stage.log.say("two"), stage.log.say("three"))
        await ann.events(3)
        await ann.say(Beat(at={ROOM: 1}))
        frames = [await ann.hear_any() for _ in range(3)]
        assert [frame.seq for frame in frames if isinstance(frame, Event)] == [2, 3]
        await ann.say(Beat(at={ROOM: 3}))
        reply = await ann.hear_as(BeatReply)
        assert reply.at == {ROOM: Position(epoch=1, seq=3)}
        stage.announce(stage.log.say("four"))
        assert await ann.bodies(1) == ["four"]


async def test_an_event_that_can_not_be_encoded_stops_nobody(stage: Stage) -> None:
    """A damaged record is shown as unreadable at its place, and what follows comes."""
    async with stage.client(join=(ROOM,)) as ann:
        stage.announce(stage.log.say("\ud800"), stage.log.say("fine"))
        broken, fine = await ann.events(2)
        assert isinstance(broken.item, MessageItem)
        assert type(broken.item.view).__name__ == "Unreadable"
        assert body_of(fine.item) == "fine"


@pytest.mark.parametrize(("readers", "writes"), [(LARGE_FLUSH, 2), (LARGE_FLUSH - 1, 1 + TURNS_AFTER)])
async def test_after_a_large_flush_what_comes_is_gathered(readers: int, writes: int) -> None:
    """Behind a flush to very many, the messages of the next turns leave together; in a smaller room each at once."""
    service = Service()
    delivery = Delivery(service, asyncio.ensure_future)
    room = [PaperReader(f"member{n}", Codec.MSGPACK, delivery) for n in range(readers)]
    for reader in room:
        await delivery.join(reader, ROOM, None, None)
    joined = [reader.writes for reader in room]
    delivery.events([service.log.say("first")])
    await asyncio.sleep(0)
    for n in range(TURNS_AFTER):
        delivery.events([service.log.say(f"then {n}")])
        await asyncio.sleep(0)
    for _ in range(TURNS_AFTER):
        await asyncio.sleep(0)
    assert {reader.writes - before for reader, before in zip(room, joined, strict=True)} == {writes}
    assert {len(reader.frames) for reader in room} == {2 + TURNS_AFTER}
