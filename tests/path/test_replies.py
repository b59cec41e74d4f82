"""What a message may answer, and who is in a community room by office."""

from __future__ import annotations

import pytest

from moderation.types import Role, RoomKind
from server.actions.post_message import post_message
from server.actions.rooms import make_room
from server.actions.services import Services
from server.errors import BadRequest, NotFound
from server.ids import new_id
from server.protocol.frames import Send, Shown
from tests.harness import staff
from tests.path.scene import CLEAN, belong, client_id, make_scene


async def test_a_message_answers_only_one_of_its_own_room(services: Services) -> None:
    """A reply to another room's message, or to none, is refused and not stored; to one of the same room it stands."""
    scene = await make_scene(services)
    other = await make_room(services, RoomKind.COMMUNITY, "The garden", "Plants", None)
    await belong(services, other, scene.robin)
    here, there = await scene.say(scene.robin, CLEAN), await scene.say(scene.robin, CLEAN, feed=other)

    async def answer(reply_to: str) -> None:
        command = Send(client_id=client_id(), feed=scene.feed, body=CLEAN, reply_to=reply_to)
        await post_message(services, scene.wren, command)

    for wrong in (there.message, new_id()):
        with pytest.raises(BadRequest) as refused:
            await answer(wrong)
        assert refused.value.field == "reply_to"
    await answer(here.message)
    items = [item.view for item in await scene.items(scene.robin)]  # type: ignore[union-attr]
    assert [view.reply_to for view in items if isinstance(view, Shown)] == [None, here.message]


async def test_a_facilitator_is_not_in_a_community_room_by_office(services: Services) -> None:
    """Facilitators run groups; a community room is not theirs to read or to write in."""
    scene = await make_scene(services)
    finn = await staff(services, "Finn", Role.FACILITATOR)
    with pytest.raises(NotFound):
        await scene.join(finn)
    with pytest.raises(NotFound):
        await scene.say(finn, CLEAN)
