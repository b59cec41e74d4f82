"""What becomes of a text that was refused for its rate: a call for help where it needs a person, else nothing."""

from __future__ import annotations

from server.actions import dispatch
from server.actions.screening import Screening, digest
from server.actions.services import Services
from server.ids import new_id
from server.live.dispatch import LiveVerbs
from server.protocol.frames import Edit, Report
from tests.path.scene import CLEAN, URGENT, client_id, make_scene


async def test_the_refused_command_can_still_be_sent_again(services: Services) -> None:
    """The call for help that a refused edit or report became leaves the command's own id free."""
    scene = await make_scene(services)
    verbs = LiveVerbs(services)
    said = await scene.say(scene.robin, CLEAN)
    edit = Edit(client_id=client_id(), feed=scene.feed, message=said.message, body=URGENT)
    report = Report(client_id=client_id(), feed=scene.feed, message=said.message, reason="worried", body=URGENT)
    await verbs.screen_only(scene.robin, edit)
    await verbs.screen_only(scene.wren, report)
    assert len(await scene.queue()) == 2
    await dispatch.run(services, scene.robin, edit, new_id())
    await dispatch.run(services, scene.wren, report, new_id())


async def test_two_commands_with_like_ids_are_two_calls(services: Services) -> None:
    """Ids that differ in their last character only never hide one call for help behind another."""
    scene = await make_scene(services)
    verbs = LiveVerbs(services)
    said = await scene.say(scene.robin, CLEAN)
    for last in "ab":
        command = Edit(client_id="x" * 63 + last, feed=scene.feed, message=said.message, body=URGENT)
        await verbs.screen_only(scene.robin, command)
    (case,) = await scene.queue()
    assert (await scene.look(scene.sam, case.id)).case.messages == 2


async def test_a_text_that_could_not_be_checked_counts_as_high_need(services: Services) -> None:
    """A check that failed is never read as "nothing found": somebody is called."""
    scene = await make_scene(services)
    verbs = LiveVerbs(services)
    said = await scene.say(scene.robin, CLEAN)
    text = "A text that no check came to an end with"
    services.screening = Screening(services.screening._pipeline, lambda name: None, {digest(text): 2})
    await verbs.screen_only(scene.robin, Edit(client_id=client_id(), feed=scene.feed, message=said.message, body=text))
    assert len(await scene.queue()) == 1
