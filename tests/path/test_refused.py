"""What becomes of a text that was refused unread: a call for help where it needs a person, else nothing."""

from __future__ import annotations

from server.actions import dispatch
from server.actions.refused import hear_refused
from server.actions.screening import Screening, digest
from server.actions.services import Services
from server.ids import new_id
from server.protocol.frames import Edit, Help, Report, Send
from tests.path.scene import CLEAN, URGENT, client_id, make_scene


async def test_the_refused_command_can_still_be_sent_again(services: Services) -> None:
    """The call for help that a refused edit or report became leaves the command's own id free."""
    scene = await make_scene(services)
    said = await scene.say(scene.robin, CLEAN)
    edit = Edit(client_id=client_id(), feed=scene.feed, message=said.message, body=URGENT)
    report = Report(client_id=client_id(), feed=scene.feed, message=said.message, reason="worried", body=URGENT)
    await hear_refused(services, scene.robin, edit, new_id())
    await hear_refused(services, scene.wren, report, new_id())
    assert len(await scene.queue()) == 2
    await dispatch.run(services, scene.robin, edit, new_id())
    await dispatch.run(services, scene.wren, report, new_id())


async def test_two_commands_with_like_ids_are_two_calls(services: Services) -> None:
    """Ids that differ in their last character only never hide one call for help behind another."""
    scene = await make_scene(services)
    said = await scene.say(scene.robin, CLEAN)
    for last in "ab":
        command = Edit(client_id="x" * 63 + last, feed=scene.feed, message=said.message, body=URGENT)
        await hear_refused(services, scene.robin, command, new_id())
    (case,) = await scene.queue()
    assert (await scene.look(scene.sam, case.id)).case.messages == 2


async def test_a_text_that_could_not_be_checked_counts_as_high_need(services: Services) -> None:
    """A check that failed is never read as "nothing found": somebody is called."""
    scene = await make_scene(services)
    said = await scene.say(scene.robin, CLEAN)
    text = "A text that no check came to an end with"
    services.screening = Screening(services.screening._pipeline, lambda name: None, {digest(text): 2}.__getitem__)
    edit = Edit(client_id=client_id(), feed=scene.feed, message=said.message, body=text)
    await hear_refused(services, scene.robin, edit, new_id())
    assert len(await scene.queue()) == 1


async def test_a_refused_call_for_help_is_a_call_for_help(services: Services) -> None:
    """Whatever it says, it opens an urgent case; sent again it is the same call."""
    scene = await make_scene(services)
    command = Help(client_id=client_id(), feed=scene.feed, body=CLEAN)
    await hear_refused(services, scene.robin, command, new_id())
    await dispatch.run(services, scene.robin, command, new_id())
    (case,) = await scene.queue()
    assert (case.level, (await scene.look(scene.sam, case.id)).case.messages) == (3, 1)


async def test_a_refused_text_that_needs_nobody_leaves_nothing(services: Services) -> None:
    """Nothing of it is posted or kept."""
    scene = await make_scene(services)
    await hear_refused(services, scene.robin, Send(client_id=client_id(), feed=scene.feed, body=CLEAN), new_id())
    assert await scene.queue() == []
    assert await scene.items(scene.wren) == []
