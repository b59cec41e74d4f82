"""The second stage in the life of a message: it only adds, it changes nothing that was said, and it is off unless asked
for; on both databases.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence

import pytest
from sqlalchemy import Row, select

from moderation.types import Level, Role, RoomKind
from server.actions.feeds import follow
from server.actions.messages import edit_message, remove_message
from server.actions.second_look import TEXTS, SecondLook
from server.actions.services import Services
from server.feeds import FeedEvent
from server.ids import STAFF_CLINICAL, STAFF_MODERATION, new_id
from server.protocol.frames import CaseItem, Edit, MessageItem, Remove, Shown
from server.settings import Settings
from server.store.messages import SECOND_STAGE
from server.store.schema import case_message, event, finding, message, obligation, review_case
from tests.harness import staff
from tests.path.scene import CLEAN, URGENT, Scene, client_id, make_scene
from tests.second import installed, raising

pytestmark = installed
GREY = "what is the point anymore"


@pytest.fixture
async def scene(services: Services) -> Scene:
    return await make_scene(services)


async def rows(scene: Scene, query: object) -> Sequence[Row[tuple[object, ...]]]:
    return await scene.services.store.read(lambda conn: conn.execute(query).all())  # type: ignore[call-overload, no-any-return]


async def read_on(scene: Scene, look: SecondLook) -> None:
    """Let the second stage read all that was said: what was told is told before the next turn of the loop ends."""
    await asyncio.sleep(0)
    await look.read_on()


def counted(outcome: str) -> float:
    return float(TEXTS.labels(outcome)._value.get())


async def test_what_only_the_second_stage_finds_opens_a_case(scene: Scene) -> None:
    """A message that the first stage called clean has a case with a running timer once the second has read it."""
    look = SecondLook(scene.services, raising(2))
    await scene.say(scene.robin, CLEAN)
    assert await scene.queue() == []
    await read_on(scene, look)
    (case,) = await scene.queue()
    assert (case.level, case.origin, case.subject.name) == (Level.HIGH_NEED, "second", "Robin")
    assert case.categories[0] == "S"
    (duty,) = await rows(scene, select(obligation))
    assert (duty.level, duty.state) == (Level.HIGH_NEED, "running")
    (found,) = await rows(scene, select(finding).where(finding.c.check == SECOND_STAGE))
    assert (found.level, found.start, found.end) == (Level.HIGH_NEED, 0, 0)
    assert found.entry_id.startswith("second:")


async def test_the_acknowledgement_and_the_room_stay_as_they_were(scene: Scene) -> None:
    """The same send is answered as at first, its row is untouched, and the room is told nothing."""
    look = SecondLook(scene.services, raising(2))
    first = await scene.say(scene.robin, CLEAN, re="second-0001")
    before = await rows(scene, select(message))
    log = await rows(scene, select(event).where(event.c.feed == scene.feed))
    shown = await scene.items(scene.sam)
    await read_on(scene, look)
    assert len(await scene.queue()) == 1
    assert await scene.say(scene.robin, CLEAN, re="second-0001") == first
    assert await rows(scene, select(message)) == before
    assert await rows(scene, select(event).where(event.c.feed == scene.feed)) == log
    assert await scene.items(scene.sam) == shown


async def test_whoever_answers_the_case_reads_why(scene: Scene) -> None:
    """On the case's page the message is marked, at the level that was raised and with the reason."""
    look = SecondLook(scene.services, raising(2))
    await scene.say(scene.robin, CLEAN)
    await read_on(scene, look)
    (case,) = await scene.queue()
    page = await scene.look(scene.sam, case.id)
    (view,) = [placed.item.view for placed in page.items if isinstance(placed.item, MessageItem)]
    assert isinstance(view, Shown)
    assert view.attention is not None
    assert view.attention.level == Level.HIGH_NEED
    assert "suicide" in view.attention.findings[0].reason


async def test_the_author_is_told_that_somebody_will_look(scene: Scene) -> None:
    """Help reaches the author's inbox as it would have with the acknowledgement, had it been found then."""
    look = SecondLook(scene.services, raising(2))
    await scene.say(scene.robin, CLEAN)
    await read_on(scene, look)
    (handling,) = (await follow(scene.services, scene.robin, f"inbox:{scene.robin.account}", None)).joined.items
    assert getattr(handling.item, "care", None) == "notice"


async def test_a_grey_message_is_raised(scene: Scene) -> None:
    """The case that a grey message opened becomes a high need, and the message stays in it as what it was."""
    look = SecondLook(scene.services, raising(2))
    await scene.say(scene.robin, GREY)
    (case,) = await scene.queue()
    assert case.level == Level.GREY
    await read_on(scene, look)
    (raised,) = await scene.queue()
    assert (raised.id, raised.level) == (case.id, Level.HIGH_NEED)
    (kept,) = await rows(scene, select(case_message))
    assert kept.origin == "message"


async def test_what_is_urgent_already_is_not_read(scene: Scene) -> None:
    """A message of level 3 has nothing to gain: it is left alone."""
    look = SecondLook(scene.services, raising(2))
    await scene.say(scene.robin, URGENT)
    before = counted("read")
    await read_on(scene, look)
    assert counted("read") == before
    (case,) = await scene.queue()
    assert case.level == Level.URGENT
    assert await rows(scene, select(finding).where(finding.c.check == SECOND_STAGE)) == []


async def test_what_staff_write_is_not_read(scene: Scene) -> None:
    """Staff name the dangers that they answer."""
    look = SecondLook(scene.services, raising(2))
    await scene.say(scene.sam, CLEAN)
    await read_on(scene, look)
    assert await scene.queue() == []


async def test_reading_twice_finds_once(scene: Scene) -> None:
    """A message that is heard of twice has one finding, and its case rises once."""
    look = SecondLook(scene.services, raising(2))
    await scene.say(scene.robin, CLEAN)
    await asyncio.sleep(0)
    look.hear([told for told in scene.heard if told.feed == scene.feed])
    await read_on(scene, look)
    assert len(await rows(scene, select(finding).where(finding.c.check == SECOND_STAGE))) == 1
    (case,) = await scene.queue()
    assert case.messages == 1


async def test_a_text_that_was_replaced_raises_nothing(scene: Scene) -> None:
    """Edited before it was read, a message is read as it is now, once; removed, not at all."""
    look = SecondLook(scene.services, raising(2))
    edited = await scene.say(scene.robin, CLEAN)
    removed = await scene.say(scene.wren, CLEAN)
    await edit_message(
        scene.services,
        scene.robin,
        Edit(client_id=client_id(), feed=scene.feed, message=edited.message, body="The bread was rye"),
    )
    await remove_message(
        scene.services, scene.wren, Remove(client_id=client_id(), feed=scene.feed, message=removed.message), new_id()
    )
    await read_on(scene, look)
    (found,) = await rows(scene, select(finding).where(finding.c.check == SECOND_STAGE))
    assert (found.message, found.version) == (edited.message, 2)


async def test_a_therapy_room_keeps_to_its_side(services: Services) -> None:
    """What is found in a therapy room is the clinicians' alone: moderators are told nothing of it."""
    scene = await make_scene(services, RoomKind.THERAPY)
    clara = await staff(services, "Clara", Role.CLINICIAN)
    look = SecondLook(services, raising(2))
    await scene.say(scene.robin, CLEAN)
    await read_on(scene, look)
    assert await scene.queue() == []
    (case,) = await scene.queue(clara, STAFF_CLINICAL)
    assert (case.side, case.level) == ("care", Level.HIGH_NEED)
    assert not [told for told in scene.heard if told.feed == STAFF_MODERATION]


async def test_what_finds_no_room_is_counted(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """More texts than may wait are not waited for and not forgotten either: a number says how many were not read."""
    monkeypatch.setattr("server.actions.second_look.WAITING_MOST", 1)
    look = SecondLook(scene.services, raising(2))
    before = counted("unread")
    for who in (scene.robin, scene.wren):
        await scene.say(who, CLEAN)
    await read_on(scene, look)
    assert counted("unread") == before + 1
    assert len(await scene.queue()) == 1


async def test_a_worker_finds_it_by_itself(scene: Scene) -> None:
    """Running beside the service, it hears, reads and raises with nobody asking, and the staff's feed says so."""
    raised = asyncio.Event()

    def hear(events: Sequence[FeedEvent]) -> None:
        if any(told.feed == STAFF_MODERATION and isinstance(told.member, CaseItem) for told in events):
            raised.set()

    scene.services.bus.listen(hear, lambda feed, epoch, seq: None)
    running = asyncio.create_task(SecondLook(scene.services, raising(2)).run())
    try:
        await scene.say(scene.robin, CLEAN)
        async with asyncio.timeout(20):
            await raised.wait()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert len(await rows(scene, select(review_case))) == 1


def test_it_is_off_unless_asked_for() -> None:
    """By default nothing of it is even loaded by a whole worker."""
    assert Settings(kind="test").second_stage is False
    code = "import sys, server.worker; print({'numpy', 'watchwords.second'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
