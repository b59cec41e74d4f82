"""A worrying message beside those before it, in the path of the message; on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from moderation.types import Level, Role, RoomKind
from server.actions.messages import edit_message
from server.actions.rooms import make_room
from server.actions.services import Services
from server.auth.requester import Requester
from server.protocol.frames import Edit
from server.store.schema import case_message, obligation
from tests.harness import fast_forward, member, staff
from tests.path.scene import Scene, belong, client_id, make_scene

# Each is grey by itself.
GREY, ANOTHER = "what is the point anymore", "i feel worthless"


@pytest.fixture
async def scene(services: Services) -> Scene:
    return await make_scene(services)


async def levels(scene: Scene) -> list[int]:
    """The level at which each message came into a case, in the order of the messages."""
    query = select(case_message.c.level).order_by(case_message.c.at, case_message.c.message)
    return list(await scene.services.store.read(lambda conn: conn.execute(query).scalars().all()))


async def acts(scene: Scene, case: str) -> list[str]:
    return [fact.what for fact in (await scene.look(scene.sam, case)).history]


async def test_a_single_grey_message_stays_grey(scene: Scene) -> None:
    """What the lists call grey is worth noticing, and no more, when it stands alone."""
    await scene.say(scene.robin, GREY)
    (case,) = await scene.queue()
    assert case.level == Level.GREY
    assert not {"run", "spread"} & set(await acts(scene, case.id))


async def test_two_grey_messages_within_the_hour_are_a_high_need(scene: Scene) -> None:
    """The second raises the case and its ladder, and the case says why."""
    await scene.say(scene.robin, GREY)
    await fast_forward(scene.services, timedelta(minutes=20))
    await scene.say(scene.robin, ANOTHER)
    (case,) = await scene.queue()
    assert case.level == Level.HIGH_NEED
    assert "run" in await acts(scene, case.id)
    duty = await scene.services.store.read(lambda conn: conn.execute(select(obligation)).one())
    assert duty.level == Level.HIGH_NEED
    assert await levels(scene) == [Level.GREY, Level.HIGH_NEED]


async def test_a_worry_of_long_ago_raises_nothing(scene: Scene) -> None:
    """After the window a second grey message is a single one again."""
    await scene.say(scene.robin, GREY)
    await fast_forward(scene.services, timedelta(hours=2))
    await scene.say(scene.robin, ANOTHER)
    assert await levels(scene) == [Level.GREY, Level.GREY]


async def test_two_people_are_not_one(scene: Scene) -> None:
    """Somebody else's grey message is no memory of mine."""
    await scene.say(scene.robin, GREY)
    await scene.say(scene.wren, ANOTHER)
    assert await levels(scene) == [Level.GREY, Level.GREY]


async def test_an_edit_is_not_beside_its_own_earlier_text(scene: Scene) -> None:
    """Who puts a word right has still said one thing."""
    ack = await scene.say(scene.robin, GREY)
    command = Edit(client_id=client_id(), feed=scene.feed, message=ack.message, body=ANOTHER)
    await edit_message(scene.services, scene.robin, command)
    assert await levels(scene) == [Level.GREY]
    (case,) = await scene.queue()
    assert case.level == Level.GREY


async def test_what_a_person_judged_to_be_no_concern_is_forgotten(scene: Scene) -> None:
    """A moderator who closes a case so has weighed that message; it does not raise the next."""
    await scene.say(scene.robin, GREY)
    (case,) = await scene.queue()
    await scene.act(scene.sam, case, "claim")
    await scene.act(scene.sam, case.id, "close", outcome="no_concern")
    await scene.say(scene.robin, ANOTHER)
    assert await levels(scene) == [Level.GREY, Level.GREY]


async def test_memory_never_crosses_the_wall(services: Services) -> None:
    """What was said to the therapist raises nothing in the community, and the other way round."""
    scene = await make_scene(services)
    therapy = await make_scene_of(services, scene)
    await scene.say(scene.robin, GREY, feed=therapy)
    await scene.say(scene.robin, ANOTHER)
    assert await levels(scene) == [Level.GREY, Level.GREY]


async def make_scene_of(services: Services, scene: Scene) -> str:
    """A therapy room of Robin's."""
    feed = await make_room(services, RoomKind.THERAPY, "Fifty minutes", "", scene.robin.account)
    await belong(services, feed, scene.robin)
    return feed


async def crowd(scene: Scene, count: int) -> list[Requester]:
    people = [await member(scene.services, f"Guest {n}") for n in range(count)]
    for who in people:
        await belong(scene.services, scene.feed, who)
    return people


async def test_several_people_with_one_theme_are_told_to_staff(scene: Scene) -> None:
    """Three different people who speak of ending their lives within two hours: the third's case says so."""
    first, second, third = await crowd(scene, 3)
    for who in (first, first, second):
        await scene.say(who, "I keep thinking about killing myself")
    await fast_forward(scene.services, timedelta(hours=1))
    await scene.say(third, "I keep thinking about killing myself too")
    spread = {item.subject.name: "spread" in await acts(scene, item.id) for item in await scene.queue()}
    assert spread == {first.name: False, second.name: False, third.name: True}


async def test_another_room_and_staff_are_no_spread(scene: Scene) -> None:
    """Only members of the same room count."""
    (robin,) = await crowd(scene, 1)
    kit = await staff(scene.services, "Kit", Role.FACILITATOR)
    await scene.say(scene.wren, "I keep thinking about killing myself")
    await belong(scene.services, scene.feed, kit)
    await scene.say(kit, "Is anybody here thinking about killing myself, as the song has it?")
    await scene.say(robin, "I keep thinking about killing myself too")
    assert not any(["spread" in await acts(scene, item.id) for item in await scene.queue()])
