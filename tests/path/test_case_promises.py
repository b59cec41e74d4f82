"""What a case promises its subject, its reporter and the people who act on it; on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from moderation.types import Role, RoomKind
from server.actions.cases import act_on_case
from server.actions.escalation import climb
from server.actions.messages import edit_message
from server.actions.post_message import post_message
from server.actions.reports import report_message
from server.actions.services import Services
from server.auth.requester import Requester
from server.errors import Conflict, Refused
from server.ids import new_id
from server.protocol.frames import (
    Act,
    Attention,
    Closing,
    Edit,
    HandlingItem,
    Held,
    MessageItem,
    PageItem,
    Person,
    Report,
    Send,
    Shown,
)
from server.store.schema import message, obligation
from tests.harness import fast_forward, staff
from tests.path.scene import CLEAN, URGENT, Scene, client_id, make_scene, on_shift


@pytest.fixture
async def scene(services: Services) -> Scene:
    return await make_scene(services)


async def states(scene: Scene) -> list[str]:
    """What Robin is told about what he last wrote."""
    (item,) = [i for i in await scene.items(scene.robin, "inbox") if isinstance(i, HandlingItem)]
    return [state.state for state in item.states]


async def held_message(scene: Scene, case: str) -> str:
    page = await scene.look(scene.sam, case)
    views = [p.item.view for p in page.items if isinstance(p.item, MessageItem) and isinstance(p.item.view, Held)]
    return views[-1].id


async def report(scene: Scene, message_id: str, body: str = "") -> None:
    command = Report(client_id=client_id(), feed=scene.feed, message=message_id, reason="worried", body=body)
    await report_message(scene.services, scene.wren, command, new_id())


async def test_a_therapy_matter_is_never_answered_in_the_moderators_room(services: Services) -> None:
    """On the care side there is no private reply: its room is one that every moderator reads."""
    scene = await make_scene(services, RoomKind.THERAPY)
    hughes = await staff(services, "Dr Hughes", Role.CLINICIAN)
    await scene.say(scene.robin, URGENT)
    (case,) = await scene.queue(hughes, "staff:clinical")
    await scene.act(hughes, case, "claim")
    assert "reply" not in (await scene.look(hughes, case.id)).allowed
    with pytest.raises(Refused):
        await scene.act(hughes, case, "reply", body="I read what you wrote")


async def test_a_new_cry_begins_with_nobody_having_opened_it(scene: Scene) -> None:
    """That a moderator opened an earlier message is no answer to the next one."""
    await scene.say(scene.robin, URGENT)
    (case,) = await scene.queue()
    await scene.look(scene.sam, case.id)
    assert await states(scene) == ["sent_to_team", "opened"]
    await fast_forward(scene.services, timedelta(hours=1))
    await scene.say(scene.robin, URGENT + " again")
    assert await states(scene) == ["sent_to_team"]
    await scene.look(scene.sam, case.id)
    assert await states(scene) == ["sent_to_team", "opened"]


async def test_what_followed_a_report_is_never_told_to_its_subject(scene: Scene) -> None:
    """Somebody who was reported and later writes in distress is told of that alone."""
    ack = await scene.say(scene.robin, CLEAN)
    await report(scene, ack.message)
    (case,) = await scene.queue()
    await scene.look(scene.sam, case.id)
    await fast_forward(scene.services, timedelta(minutes=1))
    await scene.say(scene.robin, URGENT)
    assert await states(scene) == ["sent_to_team"]
    before = len(scene.heard)
    await report(scene, ack.message)
    inbox = f"inbox:{scene.robin.account}"
    assert [e for e in scene.heard[before:] if e.feed == inbox] == []


async def test_a_reporter_in_distress_has_a_case_of_their_own(scene: Scene) -> None:
    """What the reporter writes about themselves opens their own case and is not held against the person reported."""
    ack = await scene.say(scene.robin, CLEAN)
    await report(scene, ack.message, URGENT)
    queue = {c.subject.name: c for c in await scene.queue()}
    assert set(queue) == {"Robin", "Wren"}
    assert (queue["Wren"].level, "S" in queue["Wren"].categories) == (3, True)
    assert (queue["Robin"].level, queue["Robin"].categories) == (2, ())


async def test_a_reply_is_refused_before_it_is_said_or_not_at_all(scene: Scene) -> None:
    """A reply on an old version is a conflict and nothing was posted; a repeat of a done one is answered alike."""
    await scene.say(scene.robin, URGENT)
    (case,) = await scene.queue()
    await scene.act(scene.sam, case, "claim")
    version = (await scene.look(scene.sam, case.id)).case.version
    stale = Act(client_id=client_id(), case=case.id, version=version - 1, act="reply", body="Hello")
    with pytest.raises(Conflict):
        await act_on_case(scene.services, scene.sam, stale, new_id())
    right = Act(client_id=client_id(), case=case.id, version=version, act="reply", body="Hello")
    first = await act_on_case(scene.services, scene.sam, right, new_id())
    assert await act_on_case(scene.services, scene.sam, right, new_id()) == first

    def replies(conn: object) -> int:
        query = select(func.count()).select_from(message).where(message.c.author == scene.sam.account)
        return int(conn.execute(query).scalar_one())  # type: ignore[attr-defined]

    assert await scene.services.store.read(replies) == 1


@pytest.mark.parametrize(("meanwhile", "then"), [("close", "met"), ("release_claim", "running")])
async def test_a_reply_moves_no_ladder_of_a_case_let_go_meanwhile(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, meanwhile: str, then: str
) -> None:
    """It was said, and is recorded; yet a closed case calls nobody again, and one given up goes on calling."""
    await scene.say(scene.robin, "I have been thinking about suicide a lot lately")
    (case,) = await scene.queue()
    await scene.act(scene.sam, case, "claim")

    async def say(services: Services, requester: Requester, command: Send) -> None:
        await post_message(services, requester, command)
        outcome = {"outcome": "supported"} if meanwhile == "close" else {}
        await scene.act(scene.sam, case, meanwhile, **outcome)

    monkeypatch.setattr("server.actions.cases.post_message", say)
    await scene.act(scene.sam, case, "reply", body="I am here")
    assert (await scene.look(scene.sam, case.id)).history[-1].what == "reply"
    duties = await scene.services.store.read(lambda conn: conn.execute(select(obligation)).all())
    assert [duty.state for duty in duties if duty.case == case.id] == [then]


async def test_taking_a_case_is_not_refused_because_it_grew(scene: Scene) -> None:
    """Whoever presses "I am dealing with this" on an old page has the case, unless somebody else took it."""
    await scene.say(scene.robin, URGENT)
    (case,) = await scene.queue()
    await scene.say(scene.robin, URGENT + " still")
    old = Act(client_id=client_id(), case=case.id, version=case.version, act="acknowledge")
    await act_on_case(scene.services, scene.sam, old, new_id())
    alex = await staff(scene.services, "Alex", Role.MODERATOR)
    late = Act(client_id=client_id(), case=case.id, version=case.version, act="acknowledge")
    with pytest.raises(Conflict):
        await act_on_case(scene.services, alex, late, new_id())


async def test_whoever_is_rung_may_answer_whatever_they_last_saw(scene: Scene) -> None:
    """A case that somebody has, and called the next person for, is answered from that person's page though it grew."""
    osei = await staff(scene.services, "Osei", Role.CLINICIAN)
    await on_shift(scene.services, osei)
    await scene.say(scene.robin, URGENT)
    (case,) = await scene.queue()
    await scene.act(scene.sam, case, "claim")
    await scene.act(scene.sam, case, "escalate")
    await climb(scene.services)
    (page,) = [item for item in await scene.items(osei, "inbox") if isinstance(item, PageItem)]
    await scene.say(scene.robin, URGENT + " still")
    answer = Act(client_id=client_id(), case=page.case, version=page.case_version, act="acknowledge")
    await act_on_case(scene.services, osei, answer, new_id())
    assert (await scene.look(scene.sam, case.id)).case.owner == Person(osei.account, "Osei", "clinician")


async def test_nothing_stays_held_behind_a_closed_case(scene: Scene) -> None:
    """A message that was held from the context belongs to the case: it can not be closed before it is decided."""
    plain = await scene.say(scene.robin, CLEAN)
    await scene.say(scene.robin, "I have been thinking about suicide a lot lately")
    (case,) = await scene.queue()
    await scene.act(scene.sam, case, "claim")
    await scene.act(scene.sam, case, "hold_message", message=plain.message)
    with pytest.raises(Refused) as refused:
        await scene.act(scene.sam, case, "close", outcome="no_concern")
    assert refused.value.error_code == "still_held"


async def test_the_words_before_an_edit_stay_with_the_case(scene: Scene) -> None:
    """Editing a flagged message away does not take it from the people on duty."""
    told = "I have been thinking about suicide a lot lately"
    ack = await scene.say(scene.robin, told)
    command = Edit(client_id=client_id(), feed=scene.feed, message=ack.message, body=CLEAN)
    await edit_message(scene.services, scene.robin, command)
    (case,) = await scene.queue()
    page = await scene.look(scene.sam, case.id)
    (old,) = page.earlier
    assert (old.message, old.body) == (ack.message, told)
    assert [told[found.start : found.end] for found in old.findings]
    (now,) = [placed.item.view for placed in page.items if isinstance(placed.item, MessageItem)]
    assert isinstance(now, Shown)
    assert now.edited_at == old.at
    assert now.attention == Attention(case.level, case=case.id)


async def test_a_case_says_how_it_was_closed(scene: Scene) -> None:
    """Outcome, note, who and when; opened again it still says why; a note is never taken for another closing's."""
    await scene.say(scene.robin, "I have been thinking about suicide a lot lately")
    (case,) = await scene.queue()
    first = await scene.look(scene.sam, case.id)
    assert first.closing is None
    assert first.first_read is not None
    assert first.first_read.by == Person(scene.sam.account, "Sam", "moderator")
    await scene.act(scene.sam, case, "claim")
    await scene.act(scene.sam, case, "close", outcome="supported", body="Talked.")
    alex = await staff(scene.services, "Alex", Role.MODERATOR)
    ended = await scene.look(alex, case.id)
    (line,) = [fact for fact in ended.history if fact.what == "close"]
    assert ended.closing == Closing("supported", "Talked.", line.at, line.by)
    assert ended.first_read == first.first_read
    await scene.act(scene.sam, case, "reopen")
    assert (await scene.look(alex, case.id)).closing == Closing("supported", "Talked.")
    await scene.act(scene.sam, case, "claim")
    await scene.act(scene.sam, case, "close", outcome="no_concern")
    closed = (await scene.look(alex, case.id)).closing
    assert closed is not None
    assert (closed.outcome, closed.note) == ("no_concern", "")


async def test_a_text_that_nobody_read_is_not_released(scene: Scene) -> None:
    """An edit between a moderator's look and their release changes the case's version: they look again first."""
    ack = await scene.say(scene.robin, URGENT)
    (case,) = await scene.queue()
    await scene.act(scene.sam, case, "claim")
    seen = (await scene.look(scene.sam, case.id)).case.version
    command = Edit(client_id=client_id(), feed=scene.feed, message=ack.message, body=CLEAN)
    await edit_message(scene.services, scene.robin, command)
    release = Act(client_id=client_id(), case=case.id, version=seen, act="release_message", message=ack.message)
    with pytest.raises(Conflict):
        await act_on_case(scene.services, scene.sam, release, new_id())


async def test_one_person_has_one_open_case_on_a_side(scene: Scene) -> None:
    """A closed case is not opened again beside a new one."""
    await scene.say(scene.robin, URGENT)
    (old,) = await scene.queue()
    await scene.act(scene.sam, old, "claim")
    await scene.act(scene.sam, old, "remove_message", message=await held_message(scene, old.id))
    await scene.act(scene.sam, old, "close", outcome="supported")
    await scene.say(scene.robin, URGENT + " once more")
    with pytest.raises(Refused):
        await scene.act(scene.sam, old, "reopen")
    assert len(await scene.queue()) == 1
