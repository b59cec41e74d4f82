"""A facilitator answers for their own groups: called first, and kept to what was said there."""

from __future__ import annotations

from datetime import timedelta

import pytest

from moderation.types import Role, RoomKind
from server.actions.cases import act_on_case
from server.actions.escalation import climb
from server.actions.feeds import cases_of_own_groups
from server.actions.reports import report_message
from server.actions.rooms import make_room
from server.actions.services import Services
from server.auth.requester import Requester
from server.errors import NotFound
from server.ids import new_id
from server.protocol.frames import Act, CaseItem, MessageItem, PageItem, Report, Shown
from tests.harness import fast_forward, staff
from tests.path.scene import CLEAN, URGENT, Scene, belong, client_id, make_scene, on_shift


@pytest.fixture
async def scene(services: Services) -> Scene:
    """A group with Robin and Wren in it, and a moderator on shift."""
    made = await make_scene(services, RoomKind.GROUP)
    await on_shift(services, made.sam)
    return made


async def facilitator(scene: Scene, name: str, feed: str) -> Requester:
    who = await staff(scene.services, name, Role.FACILITATOR)
    await belong(scene.services, feed, who)
    return who


async def only_case(scene: Scene) -> CaseItem:
    (case,) = await scene.queue()
    return case


async def calls(scene: Scene, who: Requester) -> list[str]:
    return [item.rung for item in await scene.items(who, "inbox") if isinstance(item, PageItem)]


async def test_the_facilitator_of_the_group_is_called_first(scene: Scene) -> None:
    """For an urgent message in their group they ring at once, before any moderator; another group's never does."""
    finn = await facilitator(scene, "Finn", scene.feed)
    other = await facilitator(scene, "Ines", await make_room(scene.services, RoomKind.GROUP, "Tuesdays", "Another"))
    await scene.say(scene.robin, URGENT)
    await climb(scene.services)
    assert [await calls(scene, who) for who in (finn, other, scene.sam)] == [["facilitator"], [], []]


async def test_a_matter_about_one_facilitator_is_not_given_to_another(scene: Scene) -> None:
    """What is reported of staff in a group goes to the clinical lead alone: no facilitator is called or sees it."""
    finn, ines = await facilitator(scene, "Finn", scene.feed), await facilitator(scene, "Ines", scene.feed)
    lead = await staff(scene.services, "Lea", Role.CLINICAL_LEAD)
    ack = await scene.say(finn, CLEAN)
    told = Report(client_id=client_id(), feed=scene.feed, message=ack.message, reason="unkind")
    await report_message(scene.services, scene.wren, told, new_id())
    for _ in range(3):
        await fast_forward(scene.services, timedelta(hours=3))
        await climb(scene.services)
    assert await calls(scene, lead)
    (case,) = await scene.queue(lead, "staff:lead")
    for who in (finn, ines):
        assert await calls(scene, who) == []
        assert await cases_of_own_groups(scene.services, who) == ()
        with pytest.raises(NotFound):
            await scene.look(who, case.id)


async def test_without_a_facilitator_the_moderators_are_called_at_once(scene: Scene) -> None:
    """An empty first rung costs no time."""
    await scene.say(scene.robin, URGENT)
    await climb(scene.services)
    assert await calls(scene, scene.sam) == ["moderators_on_shift"]


async def test_a_facilitator_works_the_cases_of_their_own_groups(scene: Scene) -> None:
    """They see the case, take it, publish and close it; the facilitator of another group is told there is none."""
    finn = await facilitator(scene, "Finn", scene.feed)
    other = await facilitator(scene, "Ines", await make_room(scene.services, RoomKind.GROUP, "Tuesdays", "Another"))
    ack = await scene.say(scene.robin, URGENT)
    case = await only_case(scene)
    assert await cases_of_own_groups(scene.services, finn) == (case,)
    assert await cases_of_own_groups(scene.services, other) == ()
    with pytest.raises(NotFound):
        await scene.look(other, case.id)
    await scene.act(finn, case, "claim")
    assert set((await scene.look(finn, case.id)).allowed) == {
        *("release_claim", "release_message", "hold_message", "acknowledge", "escalate", "close")
    }
    await scene.act(finn, case, "release_message", message=ack.message)
    await scene.act(finn, case, "close", outcome="supported", body="Spoke in the break.")
    assert await cases_of_own_groups(scene.services, finn) == ()
    (item,) = await scene.items(scene.wren)
    assert isinstance(item, MessageItem)
    assert isinstance(item.view, Shown)


async def test_a_facilitator_is_shown_nothing_from_beyond_their_group(scene: Scene) -> None:
    """Not what moderators and member write privately, no report from another group, and no message there is decided."""
    tuesdays = await make_room(scene.services, RoomKind.GROUP, "Tuesdays", "Another")
    for who in (scene.robin, scene.wren):
        await belong(scene.services, tuesdays, who)
    there = await scene.say(scene.robin, CLEAN, feed=tuesdays)
    told = Report(client_id=client_id(), feed=tuesdays, message=there.message, reason="worried", body="He sounds low")
    await report_message(scene.services, scene.wren, told, new_id())
    await scene.act(scene.sam, await only_case(scene), "claim")
    await scene.act(scene.sam, await only_case(scene), "reply", body="Hello, this is Sam.")
    await scene.say(scene.robin, URGENT)
    finn = await facilitator(scene, "Finn", scene.feed)
    case = await only_case(scene)
    for who, sees in ((scene.sam, True), (finn, False)):
        page = await scene.look(who, case.id)
        assert bool(page.private) is bool(page.private_feed) is bool(page.report) is sees
    await scene.act(finn, case, "claim")
    version = (await scene.look(finn, case.id)).case.version
    hold = Act(client_id=client_id(), case=case.id, version=version, act="hold_message", message=there.message)
    with pytest.raises(NotFound):
        await act_on_case(scene.services, finn, hold, new_id())
