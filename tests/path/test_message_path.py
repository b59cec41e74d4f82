"""The life of a message, through the actions, on both databases."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from moderation.types import Level, Role, RoomKind
from server.actions.feeds import events_after, follow
from server.actions.messages import edit_message, remove_message
from server.actions.rooms import remove_from_room
from server.actions.services import Services
from server.errors import NotFound, Refused
from server.feeds import Audience
from server.ids import new_id
from server.protocol.frames import Edit, Held, MessageItem, Position, Remove, Removed, Shown, Withheld
from server.store.cases import RUNNING
from server.store.schema import event, message, obligation, review_case
from tests.harness import staff
from tests.path.scene import CLEAN, URGENT, Scene, client_id, make_scene


@pytest.fixture
async def scene(services: Services) -> Scene:
    return await make_scene(services)


def view_of(item: object) -> object:
    assert isinstance(item, MessageItem)
    return item.view


async def test_a_clean_message_is_stored_acknowledged_and_told(scene: Scene) -> None:
    """A clean message is published at the next seq, and its followers are told exactly once."""
    ack = await scene.say(scene.robin, CLEAN)
    await asyncio.sleep(0)
    assert (ack.seq, ack.state, ack.care) == (1, "published", "none")
    told = [e for e in scene.heard if e.feed == scene.feed]
    assert [e.seq for e in told] == [1]
    shown = view_of(told[0].item_for(Audience.MEMBER, scene.wren.account))
    assert isinstance(shown, Shown)
    assert (shown.body, shown.author.name, shown.attention) == (CLEAN, "Robin", None)


async def test_the_same_client_id_is_answered_with_the_first_acknowledgement(scene: Scene) -> None:
    """A repeated send stores nothing and is answered alike, even with another text."""
    first = await scene.say(scene.robin, CLEAN, re="repeat-0001")
    again = await scene.say(scene.robin, "something else entirely", re="repeat-0001")
    assert again == first
    count = await scene.services.store.read(lambda c: c.execute(select(func.count()).select_from(message)).scalar_one())
    assert count == 1


async def test_two_authors_may_use_the_same_client_id(scene: Scene) -> None:
    """A client id belongs to its author."""
    one = await scene.say(scene.robin, CLEAN, re="shared-0001")
    two = await scene.say(scene.wren, CLEAN, re="shared-0001")
    assert (one.seq, two.seq) == (1, 2)


async def test_seq_has_no_gaps_under_concurrent_writers(scene: Scene) -> None:
    """Sixty messages sent at once by two people stand at 1 to 60, in the log and in what was told."""
    acks = await asyncio.gather(
        *(scene.say(who, f"{CLEAN} {n}") for n in range(30) for who in (scene.robin, scene.wren))
    )
    await asyncio.sleep(0)
    assert sorted(ack.seq for ack in acks) == list(range(1, 61))
    assert [e.seq for e in scene.heard if e.feed == scene.feed] == list(range(1, 61))


async def test_an_urgent_message_is_held_with_case_and_running_timer(scene: Scene) -> None:
    """A level 3 message in a community room is withheld from members, and its case and timer are stored with it."""
    ack = await scene.say(scene.robin, URGENT)
    await asyncio.sleep(0)
    assert (ack.state, ack.care) == ("held", "urgent")
    told = next(e for e in scene.heard if e.feed == scene.feed)
    assert isinstance(view_of(told.item_for(Audience.MEMBER, scene.wren.account)), Withheld)
    own = view_of(told.item_for(Audience.MEMBER, scene.robin.account))
    assert isinstance(own, Held)
    assert (own.body, own.attention) == (URGENT, None)
    seen_by_staff = view_of(told.item_for(Audience.STAFF, scene.sam.account))
    assert isinstance(seen_by_staff, Held)
    assert seen_by_staff.attention is not None
    assert seen_by_staff.attention.level == 3
    cases = await scene.queue()
    assert [(c.level, c.state, c.subject.name) for c in cases] == [(3, "open", "Robin")]
    timers = await scene.services.store.read(
        lambda c: c.execute(select(obligation.c.state, obligation.c.due_at, obligation.c.opened_at)).all()
    )
    assert [(t.state, t.due_at == t.opened_at) for t in timers] == [(RUNNING, True)]


async def test_a_withheld_message_tells_a_member_nothing(scene: Scene) -> None:
    """The member's rendering of a held message carries no author, time or text, live and in a replay."""
    await scene.say(scene.robin, URGENT)
    replay = (await events_after(scene.services, {scene.feed: 0}))[scene.feed]
    for told in (*[e for e in scene.heard if e.feed == scene.feed], *replay):
        item = told.item_for(Audience.MEMBER, scene.wren.account)
        assert view_of(item) == Withheld()


async def test_release_shows_the_message_at_its_own_place(scene: Scene) -> None:
    """A released message is an event with its own seq that carries the message and the place that it is of."""
    await scene.say(scene.robin, URGENT)
    await scene.say(scene.wren, CLEAN)
    (case,) = await scene.queue()
    await scene.act(scene.sam, case, "claim")
    held = next(p.item for p in (await scene.look(scene.sam, case.id)).items)
    assert isinstance(held, MessageItem)
    assert isinstance(held.view, Held)
    await scene.act(scene.sam, case, "release_message", message=held.view.id)
    await asyncio.sleep(0)
    told = [e for e in scene.heard if e.feed == scene.feed][-1]
    item = told.item_for(Audience.MEMBER, scene.wren.account)
    assert isinstance(item, MessageItem)
    assert (told.seq, item.of, item.change) == (3, 1, "release")
    assert isinstance(item.view, Shown)


async def test_removal_leaves_a_tombstone_and_no_body_in_any_replay(scene: Scene) -> None:
    """After a removal no reader is given the body again: not members, not the author, not staff on the feed."""
    await scene.say(scene.robin, URGENT)
    (case,) = await scene.queue()
    await scene.act(scene.sam, case, "claim")
    page = await scene.look(scene.sam, case.id)
    view = view_of(page.items[0].item)
    assert isinstance(view, Held)
    await scene.act(scene.sam, case, "remove_message", message=view.id)
    for told in (await events_after(scene.services, {scene.feed: 0}))[scene.feed]:
        for audience, who in (
            (Audience.MEMBER, scene.robin),
            (Audience.MEMBER, scene.wren),
            (Audience.STAFF, scene.sam),
        ):
            assert view_of(told.item_for(audience, who.account)) == Removed(by="moderator")
    kept = view_of((await scene.look(scene.sam, case.id)).items[0].item)
    assert isinstance(kept, Held)
    assert kept.body == URGENT


async def test_what_nothing_can_read_is_read_by_a_person_within_two_minutes(scene: Scene) -> None:
    """A message in another language is published, and never clean: somebody is called before two minutes are over."""
    ack = await scene.say(scene.robin, "main bahut thak gayi hoon ab aur nahi hota")
    assert ack.state == "published"
    (case,) = await scene.queue()
    assert (case.level, case.categories) == (Level.HIGH_NEED, ())
    duty = await scene.services.store.read(lambda conn: conn.execute(select(obligation)).one())
    assert duty.due_at - duty.opened_at == timedelta(minutes=2)


async def test_what_is_not_wholly_screened_is_read_by_a_person_within_two_minutes(scene: Scene) -> None:
    """A message of more strange words than are worked out is published, and never clean: somebody is called to it."""
    rng = random.Random(3)
    strange = (f"{''.join(rng.choices('bcdfgklmnprstvz', k=9))} and the" for _ in range(80))
    ack = await scene.say(scene.robin, f"so there we all were {' '.join(strange)}, see you there")
    assert ack.state == "published"
    (case,) = await scene.queue()
    assert (case.level, case.categories) == (Level.HIGH_NEED, ())
    duty = await scene.services.store.read(lambda conn: conn.execute(select(obligation)).one())
    assert duty.due_at - duty.opened_at == timedelta(minutes=2)


async def test_an_edit_goes_through_the_filter(scene: Scene) -> None:
    """A clean message that is edited into an urgent one is held, opens a case and is withheld from members."""
    ack = await scene.say(scene.robin, CLEAN)
    command = Edit(client_id=client_id(), feed=scene.feed, message=ack.message, body=URGENT)
    edited = await edit_message(scene.services, scene.robin, command)
    assert (edited.state, edited.care, edited.seq) == ("held", "urgent", 2)
    assert len(await scene.queue()) == 1
    for told in (await events_after(scene.services, {scene.feed: 0}))[scene.feed]:
        assert view_of(told.item_for(Audience.MEMBER, scene.wren.account)) == Withheld()


async def test_an_edit_never_publishes_what_is_held(scene: Scene) -> None:
    """Editing a held message into a clean one leaves it held: somebody has to look first."""
    ack = await scene.say(scene.robin, URGENT)
    command = Edit(client_id=client_id(), feed=scene.feed, message=ack.message, body=CLEAN)
    assert (await edit_message(scene.services, scene.robin, command)).state == "held"


async def test_an_edited_away_body_is_never_replayed(scene: Scene) -> None:
    """After an edit every replayed event renders the new text."""
    ack = await scene.say(scene.robin, CLEAN)
    command = Edit(client_id=client_id(), feed=scene.feed, message=ack.message, body="It was rye bread")
    await edit_message(scene.services, scene.robin, command)
    bodies = [
        view_of(e.item_for(Audience.MEMBER, scene.wren.account))
        for e in (await events_after(scene.services, {scene.feed: 0}))[scene.feed]
    ]
    assert [getattr(view, "body", None) for view in bodies] == ["It was rye bread"] * 2


async def test_nobody_edits_or_removes_what_another_wrote(scene: Scene) -> None:
    """Another author's message answers as one that does not exist."""
    ack = await scene.say(scene.robin, CLEAN)
    with pytest.raises(NotFound):
        await edit_message(
            scene.services,
            scene.wren,
            Edit(client_id=client_id(), feed=scene.feed, message=ack.message, body="mine now"),
        )
    with pytest.raises(NotFound):
        await remove_message(
            scene.services, scene.wren, Remove(client_id=client_id(), feed=scene.feed, message=ack.message), new_id()
        )


async def test_a_therapy_message_is_always_delivered_and_never_a_moderators_matter(services: Services) -> None:
    """In a therapy room an urgent message is published, and its case is on the clinical side alone."""
    scene = await make_scene(services, RoomKind.THERAPY)
    lead = await staff(services, "Lee", Role.CLINICAL_LEAD)
    ack = await scene.say(scene.robin, URGENT)
    assert (ack.state, ack.care) == ("published", "urgent")
    assert await scene.queue() == []
    assert [c.side for c in await scene.queue(lead, "staff:clinical")] == ["care"]
    with pytest.raises(NotFound):
        await scene.join(scene.sam)


async def test_somebody_removed_from_a_room_can_not_post_even_from_a_warm_cache(scene: Scene) -> None:
    """Rights are compared under the feed's lock: what this process remembers of them is never acted upon."""
    await scene.say(scene.robin, CLEAN)
    cached = scene.services.room_cache.get(scene.feed, scene.robin.account)
    await remove_from_room(scene.services, scene.robin.account, scene.feed)
    assert cached is not None
    scene.services.room_cache.put(scene.feed, scene.robin.account, cached)
    with pytest.raises(NotFound):
        await scene.say(scene.robin, CLEAN)


async def test_resume_gives_exactly_what_was_missed(scene: Scene) -> None:
    """Joining with a position gives the events behind it; a position of the future gets a snapshot and is told so."""
    for n in range(4):
        await scene.say(scene.robin, f"{CLEAN} {n}")
    following = await follow(scene.services, scene.wren, scene.feed, Position(1, 2))
    assert following.joined.recovered
    assert [e.seq for e in following.events] == [3, 4]
    ahead = (await follow(scene.services, scene.wren, scene.feed, Position(1, 9))).joined
    assert (ahead.recovered, ahead.reason, len(ahead.items)) == (False, "ahead", 4)


async def test_another_epoch_is_answered_with_a_snapshot(scene: Scene) -> None:
    """A position of another epoch can not be resumed; the answer says why and carries a snapshot."""
    await scene.say(scene.robin, CLEAN)
    joined = (await follow(scene.services, scene.wren, scene.feed, Position(7, 1))).joined
    assert (joined.recovered, joined.reason, len(joined.items)) == (False, "epoch", 1)


async def test_unread_counts_published_messages_of_others(scene: Scene) -> None:
    """What is held does not count as unread, and one's own messages never do."""
    await scene.say(scene.robin, CLEAN)
    await scene.say(scene.robin, URGENT)
    await scene.say(scene.wren, CLEAN)
    assert (await scene.join(scene.wren)).unread == 1
    assert (await scene.join(scene.robin)).unread == 1


async def test_a_failing_unit_never_fails_its_batch(scene: Scene) -> None:
    """Units that are refused or break leave their neighbours in the same batch untouched."""

    def broken(tx: object) -> None:
        raise RuntimeError("planted")

    sent = [scene.say(scene.robin, f"{CLEAN} {n}") for n in range(5)]
    results = await asyncio.gather(*sent[:2], scene.services.store.write(broken), *sent[2:], return_exceptions=True)
    assert [type(r).__name__ for r in results] == ["Ack", "Ack", "Unavailable", "Ack", "Ack", "Ack"]
    seqs = await scene.services.store.read(
        lambda c: list(c.execute(select(event.c.seq).where(event.c.feed == scene.feed).order_by(event.c.seq)).scalars())
    )
    assert seqs == [1, 2, 3, 4, 5]


async def test_a_second_message_joins_the_open_case(scene: Scene) -> None:
    """One person has one open case on a side; it rises with what they write and counts it."""
    await scene.say(scene.robin, URGENT)
    await scene.say(scene.robin, URGENT + " and I mean it")
    (case,) = await scene.queue()
    assert case.messages == 2
    count = await scene.services.store.read(
        lambda c: c.execute(select(func.count()).select_from(review_case)).scalar_one()
    )
    assert count == 1


async def test_a_room_that_one_may_not_see_does_not_exist(scene: Scene) -> None:
    """A foreign private room and an invented one are answered alike."""
    for feed in ("room:NOSUCHROOM", "staff:moderation", "inbox:" + scene.sam.account):
        with pytest.raises((NotFound, Refused)):
            await scene.join(scene.wren, feed)
