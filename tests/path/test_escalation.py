"""From a flagged message to a named person: ladders, cases, acknowledgement; on both databases."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from moderation.types import Role
from server.actions.escalation import OutsideCalls, climb
from server.actions.invariants import check_obligations
from server.actions.messages import edit_message
from server.actions.reports import ask_for_help, report_message
from server.actions.services import Services
from server.auth.requester import Requester
from server.errors import Conflict, NotFound, Refused
from server.ids import new_id
from server.notify import Delivery, Notice
from server.protocol.frames import (
    Act,
    CaseItem,
    HandlingItem,
    Held,
    Help,
    MessageItem,
    PageItem,
    Report,
    RoomItem,
    Shown,
    Withheld,
)
from server.store.schema import audit, case_history, notice, obligation
from tests.harness import fast_forward, member, staff
from tests.path.scene import CLEAN, URGENT, Scene, belong, client_id, make_scene, on_shift


class Phone:
    """An outside channel that remembers whom it called, and fails or hangs as told."""

    def __init__(self, answer: Delivery | Exception = Delivery.SENT, *, hangs: bool = False) -> None:
        self.answer = answer
        self.calls: list[Notice] = []
        self.freed = asyncio.Event()
        if not hangs:
            self.freed.set()

    async def send(self, notice: Notice) -> Delivery:
        self.calls.append(notice)
        await self.freed.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
async def scene(services: Services) -> Scene:
    return await make_scene(services)


async def handling(scene: Scene, who: Requester) -> HandlingItem:
    (item,) = [i for i in await scene.items(who, "inbox") if isinstance(i, HandlingItem)]
    return item


async def pages(scene: Scene, who: Requester) -> list[PageItem]:
    return [i for i in await scene.items(who, "inbox") if isinstance(i, PageItem)]


async def climb_after(scene: Scene, seconds: float) -> None:
    await fast_forward(scene.services, timedelta(seconds=seconds))
    await climb(scene.services)


async def audiences(scene: Scene) -> list[str]:
    """The rungs that were called or found empty, in order."""
    rows = await scene.services.store.read(
        lambda c: c.execute(
            select(case_history.c.act, case_history.c.detail)
            .where(case_history.c.act.in_(["rung", "nobody"]))
            .order_by(case_history.c.case, case_history.c.n)
        ).all()
    )
    return [f"{row.act}:{row.detail}" for row in rows]


async def test_an_unanswered_urgent_message_climbs_to_the_clinician(scene: Scene) -> None:
    """Level 3: the on-call moderator at once, all moderators at 15 s, the duty clinician at 30 s."""
    hughes = await staff(scene.services, "Dr Hughes", Role.CLINICIAN)
    for who in (scene.sam, hughes):
        await on_shift(scene.services, who)
    await scene.say(scene.robin, URGENT)
    await climb(scene.services)
    assert len(await pages(scene, scene.sam)) == 1
    assert await pages(scene, hughes) == []
    await climb_after(scene, 15.1)
    await climb_after(scene, 15.1)
    assert await audiences(scene) == ["rung:on_call_moderator", "rung:moderators_on_shift", "rung:duty_clinician"]
    (page,) = await pages(scene, hughes)
    assert (page.level, page.state, page.rung) == (3, "ringing", "duty_clinician")


async def test_nobody_on_duty_is_skipped_at_once_and_told_to_the_author(scene: Scene) -> None:
    """With an empty rota every rung is skipped in one round down to the fallback list, and the author is told."""
    await scene.say(scene.robin, URGENT)
    await climb(scene.services)
    assert (await audiences(scene))[-1] == "rung:fallback"
    states = [s.state for s in (await handling(scene, scene.robin)).states]
    assert states == ["sent_to_team", "nobody_on_duty", "next_called"]


async def test_a_ladder_never_stops_by_itself(scene: Scene) -> None:
    """After the last rung the fallback list is called again every minute, and the interval never grows."""
    phone = Phone()
    scene.services.notifiers["phone"] = phone
    await scene.say(scene.robin, URGENT)
    await climb(scene.services)
    for _ in range(5):
        await climb_after(scene, 60.1)
    assert len(phone.calls) == 6


async def test_claiming_stops_the_ladder_and_its_ringing(scene: Scene) -> None:
    """A named person's claim ends the calls while an acknowledgement is good, and names them to the author."""
    await on_shift(scene.services, scene.sam)
    await scene.say(scene.robin, URGENT)
    await climb(scene.services)
    (case,) = await scene.queue()
    await scene.act(scene.sam, case, "claim")
    assert await pages(scene, scene.sam) == []
    before = await audiences(scene)
    await climb_after(scene, 300)
    assert await audiences(scene) == before
    item = await handling(scene, scene.robin)
    opened = next(s for s in item.states if s.state == "opened")
    assert opened.by is not None
    assert (opened.by.name, opened.by.role) == ("Sam", "moderator")


async def test_a_call_that_goes_out_after_the_claim_does_not_ring_again(scene: Scene) -> None:
    """What was planned before somebody took the case and called after it is answered, whatever the ladder does next."""
    await on_shift(scene.services, scene.sam)
    await scene.say(scene.robin, URGENT)
    planned_only = iter((True, False))
    await climb(scene.services, OutsideCalls(lambda: next(planned_only)))
    (case,) = await scene.queue()
    await scene.act(scene.sam, case, "claim")
    await climb(scene.services)
    await scene.act(scene.sam, case, "release_claim")
    assert await pages(scene, scene.sam) == []
    await climb_after(scene, 60.1)
    assert {page.state for page in await pages(scene, scene.sam)} == {"ringing"}


async def test_an_acknowledgement_runs_out(scene: Scene) -> None:
    """A case that its owner has not closed in time is nobody's again and climbs from the first rung."""
    await on_shift(scene.services, scene.sam)
    await scene.say(scene.robin, URGENT)
    await climb(scene.services)
    (case,) = await scene.queue()
    await scene.act(scene.sam, case, "claim")
    await climb_after(scene, 601)
    (again,) = await scene.queue()
    assert (again.state, again.owner) == ("open", None)
    assert (await audiences(scene)).count("rung:on_call_moderator") == 2


async def test_two_moderators_can_not_both_act(scene: Scene) -> None:
    """The second act on the same version of a case is refused, whoever it is from."""
    alex = await staff(scene.services, "Alex", Role.MODERATOR)
    await scene.say(scene.robin, URGENT)
    (case,) = await scene.queue()
    version = (await scene.look(scene.sam, case.id)).case.version
    version = (await scene.look(alex, case.id)).case.version

    async def claim(who: Requester) -> object:
        command = Act(client_id=client_id(), case=case.id, version=version, act="claim")
        from server.actions.cases import act_on_case

        return await act_on_case(scene.services, who, command, new_id())

    results = await asyncio.gather(claim(scene.sam), claim(alex), return_exceptions=True)
    assert sorted(type(r).__name__ for r in results) == ["Conflict", "Done"]
    assert any(isinstance(r, Conflict) for r in results)


async def test_a_private_reply_reaches_the_author_alone(scene: Scene) -> None:
    """A reply opens the member's room with the team, through the same path; nobody else may follow it."""
    await scene.say(scene.robin, URGENT)
    (case,) = await scene.queue()
    await scene.act(scene.sam, case, "claim")
    await scene.act(scene.sam, case, "reply", body="Hello Robin, I am Sam. I am glad that you wrote.")
    (room,) = [i for i in await scene.items(scene.robin, "inbox") if isinstance(i, RoomItem)]
    feed = f"room:{room.id}"
    (item,) = await scene.items(scene.robin, feed)
    assert isinstance(item, MessageItem)
    assert isinstance(item.view, Shown)
    assert item.view.author.name == "Sam"
    with pytest.raises(NotFound):
        await scene.join(scene.wren, feed)
    assert "answered" in [s.state for s in (await handling(scene, scene.robin)).states]
    answer = await scene.say(scene.robin, URGENT, feed=feed)
    assert answer.state == "published"
    assert (await scene.queue())[0].messages == 2


async def test_a_case_can_not_be_closed_while_a_message_is_held(scene: Scene) -> None:
    """Closing is refused until the held message is released or removed; afterwards the timer is met."""
    await scene.say(scene.robin, URGENT)
    (case,) = await scene.queue()
    await scene.act(scene.sam, case, "claim")
    with pytest.raises(Refused) as refused:
        await scene.act(scene.sam, case, "close", outcome="supported")
    assert refused.value.error_code == "still_held"
    view = (await scene.look(scene.sam, case.id)).items[0].item
    assert isinstance(view, MessageItem)
    assert isinstance(view.view, Held)
    await scene.act(scene.sam, case, "remove_message", message=view.view.id)
    await scene.act(scene.sam, case, "close", outcome="supported", body="Spoke at length; will look in tomorrow.")
    assert await scene.queue() == []
    states = await scene.services.store.read(lambda c: list(c.execute(select(obligation.c.state)).scalars()))
    assert states == ["met"]


async def test_help_opens_an_urgent_case_without_the_filter(scene: Scene) -> None:
    """ "I need help now" with no word at all opens a level 3 case and tells the author so."""
    done = await ask_for_help(scene.services, scene.robin, Help(client_id=client_id()), new_id())
    assert done.care == "urgent"
    (case,) = await scene.queue()
    assert (case.level, case.origin) == (3, "help")
    assert (await handling(scene, scene.robin)).care == "urgent"


async def test_help_from_a_room_that_one_may_not_see_is_still_help(scene: Scene) -> None:
    """A feed that the person can not read is no reason to refuse a call for help."""
    command = Help(client_id=client_id(), feed="room:ELSEWHERE", body="please")
    assert (await ask_for_help(scene.services, scene.robin, command, new_id())).care == "urgent"
    assert len(await scene.queue()) == 1


async def test_a_report_opens_a_case_and_tells_its_subject_nothing(scene: Scene) -> None:
    """The reported member sees no handling, no name and no event; the reporter's words are in the case, unnamed."""
    ack = await scene.say(scene.robin, CLEAN)
    command = Report(
        client_id=client_id(), feed=scene.feed, message=ack.message, reason="worried", body="He sounds very low"
    )
    await report_message(scene.services, scene.wren, command, new_id())
    (case,) = await scene.queue()
    assert (case.subject.name, case.origin, case.level) == ("Robin", "report", 2)
    assert await scene.items(scene.robin, "inbox") == []
    page = await scene.look(scene.sam, case.id)
    assert "He sounds very low" in page.report
    assert scene.wren.name not in page.report
    assert await scene.items(scene.robin, "inbox") == []


async def test_a_report_about_staff_goes_to_the_clinical_lead_alone(scene: Scene) -> None:
    """Neither the person reported nor any moderator sees it."""
    lead = await staff(scene.services, "Lee", Role.CLINICAL_LEAD)
    ack = await scene.say(scene.sam, CLEAN)
    command = Report(client_id=client_id(), feed=scene.feed, message=ack.message, reason="unkind", body="")
    await report_message(scene.services, scene.wren, command, new_id())
    assert await scene.queue() == []
    (case,) = await scene.queue(lead, "staff:lead")
    with pytest.raises(NotFound):
        await scene.look(scene.sam, case.id)
    await climb_after(scene, 301)
    assert await pages(scene, scene.sam) == []
    assert len(await pages(scene, lead)) == 1


async def test_a_failed_channel_is_tried_again_and_the_other_one_is_not_kept_waiting(scene: Scene) -> None:
    """The page rings though the phone fails; the phone is tried again every few seconds while nobody has the case."""
    phone = Phone(Delivery.FAILED)
    scene.services.notifiers["phone"] = phone
    await on_shift(scene.services, scene.sam)
    await scene.say(scene.robin, URGENT)
    await climb(scene.services)
    assert len(await pages(scene, scene.sam)) == 1
    await climb_after(scene, 5.1)
    assert [call.attempt for call in phone.calls] == [1, 2]


async def test_a_hanging_channel_delays_no_page_and_no_round(scene: Scene) -> None:
    """While the phone hangs, the next rung's page rings and each call is under way once; it is recorded at its end."""
    phone = Phone(hangs=True)
    scene.services.notifiers["phone"] = phone
    hughes = await staff(scene.services, "Dr Hughes", Role.CLINICIAN)
    for who in (scene.sam, hughes):
        await on_shift(scene.services, who)
    await scene.say(scene.robin, URGENT)
    outside = OutsideCalls()
    await climb(scene.services, outside)
    assert len(await pages(scene, scene.sam)) == 1
    await climb(scene.services, outside)
    assert len(phone.calls) == 1
    await fast_forward(scene.services, timedelta(seconds=31))
    await climb(scene.services, outside)
    assert len(await pages(scene, hughes)) == 1
    phone.freed.set()
    await outside.wait(5)
    assert outside.under_way == []
    states = await scene.services.store.read(
        lambda c: c.execute(select(notice.c.state).where(notice.c.channel == "phone")).scalars().all()
    )
    assert "pending" not in states
    await outside.close()


async def test_a_channel_that_breaks_is_tried_again_and_still_late(scene: Scene) -> None:
    """Whatever a channel raises is a failed call; its retries keep the time at which it first fell due."""
    phone = Phone(ValueError("anything"))
    scene.services.notifiers["phone"] = phone
    await on_shift(scene.services, scene.sam)
    await scene.say(scene.robin, "I have been thinking about suicide a lot lately")
    await climb_after(scene, 300.5)
    for _ in range(4):
        await climb_after(scene, 5.1)
    assert [call.attempt for call in phone.calls] == [1, 2, 3, 4, 5]
    assert [call.late for call in phone.calls] == [False, False, False, True, True]
    assert len({call.due_at for call in phone.calls}) == 1


async def test_a_newer_call_ends_the_retries_of_an_older_one(scene: Scene) -> None:
    """Somebody whose phone fails is called once for each moment, not once more for every rung that named them."""
    phone = Phone(Delivery.FAILED)
    scene.services.notifiers["phone"] = phone
    await on_shift(scene.services, scene.sam)
    await scene.say(scene.robin, URGENT)
    await climb(scene.services)
    await climb_after(scene, 15.1)
    phone.calls.clear()
    await climb_after(scene, 5.1)
    assert [call.rung for call in phone.calls] == ["moderators_on_shift"]


async def test_a_call_due_long_ago_is_made_and_marked_late(scene: Scene) -> None:
    """After ten minutes without a ladder job every due rung fires at once; each call says that it is late."""
    phone = Phone()
    scene.services.notifiers["phone"] = phone
    hughes = await staff(scene.services, "Dr Hughes", Role.CLINICIAN)
    for who in (scene.sam, hughes):
        await on_shift(scene.services, who)
    await scene.say(scene.robin, URGENT)
    await climb_after(scene, 600)
    assert {call.rung for call in phone.calls} >= {"on_call_moderator", "moderators_on_shift", "duty_clinician"}
    assert all(call.late for call in phone.calls)


async def test_a_new_message_raises_attention_again(scene: Scene) -> None:
    """A further urgent message of somebody whose case is owned starts the ladder again."""
    await on_shift(scene.services, scene.sam)
    await scene.say(scene.robin, URGENT)
    await climb(scene.services)
    (case,) = await scene.queue()
    await scene.act(scene.sam, case, "claim")
    await scene.say(scene.robin, URGENT + " now")
    await climb(scene.services)
    assert len(await pages(scene, scene.sam)) == 1


async def test_a_second_message_never_moves_a_running_timer_back(scene: Scene) -> None:
    """What is due stays due: more messages at the same level leave the running obligation alone."""
    await scene.say(scene.robin, URGENT)
    due = await scene.services.store.read(lambda c: c.execute(select(obligation.c.due_at)).scalar_one())
    await fast_forward(scene.services, timedelta(seconds=5))
    await scene.say(scene.robin, URGENT)
    assert await scene.services.store.read(lambda c: c.execute(select(obligation.c.due_at)).scalar_one()) == due


async def test_a_held_message_waits_no_longer_than_its_ceiling(scene: Scene) -> None:
    """A held attack, whose ladder calls nobody for 5 minutes, is escalated at 120 s and never released by itself."""
    await on_shift(scene.services, scene.sam)
    ack = await scene.say(scene.robin, "you are worthless and everyone here should hate you")
    assert ack.state == "held"
    await climb_after(scene, 90)
    assert await audiences(scene) == []
    await climb_after(scene, 31)
    assert await audiences(scene) == ["rung:moderators_on_shift"]
    await climb_after(scene, 1000)
    (item,) = await scene.items(scene.wren)
    assert isinstance(item, MessageItem)
    assert item.view == Withheld()


async def test_a_flagged_message_that_is_not_held_keeps_its_own_times(scene: Scene) -> None:
    """The ceiling is for what nobody can see yet: a published level 2 message calls its first rung at 5 minutes."""
    await on_shift(scene.services, scene.sam)
    ack = await scene.say(scene.robin, "I have been thinking about suicide a lot lately")
    assert ack.state == "published"
    await climb_after(scene, 200)
    assert await audiences(scene) == []
    await climb_after(scene, 101)
    assert await audiences(scene) == ["rung:moderators_on_shift"]


async def test_a_case_without_a_timer_is_found_and_given_one(scene: Scene) -> None:
    """The invariant check finds an orphaned case, however it came to be, and makes it due now."""
    await scene.say(scene.robin, URGENT)
    await scene.services.store.write(
        lambda tx: tx.conn.execute(update(obligation).values(state="met", due_at=None)) is None
    )
    assert await check_obligations(scene.services) == 1
    assert await check_obligations(scene.services) == 0
    await climb(scene.services)
    assert (await audiences(scene))[-1] == "rung:fallback"


async def test_reading_a_case_leaves_an_audit_row(scene: Scene) -> None:
    """Every look at a case is in the audit chain with who looked."""
    await scene.say(scene.robin, URGENT)
    (case,) = await scene.queue()
    for _ in range(2):
        await scene.look(scene.sam, case.id)
    rows = await scene.services.store.read(
        lambda c: c.execute(select(audit.c.actor).where(audit.c.act == "case_read")).scalars().all()
    )
    assert rows == [scene.sam.account] * 2


async def test_a_member_can_not_open_or_act_on_a_case(scene: Scene) -> None:
    """Members are refused, also for their own case."""
    await scene.say(scene.robin, URGENT)
    (case,) = await scene.queue()
    with pytest.raises(Refused):
        await scene.look(scene.robin, case.id)
    outsider = await member(scene.services, "Jay")
    with pytest.raises(Refused):
        await scene.act(outsider, case, "claim")


async def test_every_flag_has_its_case_and_timer_whatever_raises_it(scene: Scene) -> None:
    """Message, edit, report and help: after each there is an open case with a running timer."""
    from server.protocol.frames import Edit

    jay, kim = await member(scene.services, "Jay"), await member(scene.services, "Kim")
    for who in (jay, kim):
        await belong(scene.services, scene.feed, who)
    await scene.say(jay, URGENT)
    reported = await scene.say(kim, CLEAN)
    command = Report(client_id=client_id(), feed=scene.feed, message=reported.message, reason="worried", body="")
    await report_message(scene.services, scene.wren, command, new_id())
    ack = await scene.say(scene.wren, CLEAN)
    edit = Edit(client_id=client_id(), feed=scene.feed, message=ack.message, body=URGENT)
    await edit_message(scene.services, scene.wren, edit)
    await ask_for_help(scene.services, scene.robin, Help(client_id=client_id()), new_id())
    queue: list[CaseItem] = await scene.queue()
    assert sorted((c.subject.name, c.origin) for c in queue) == [
        ("Jay", "message"),
        ("Kim", "report"),
        ("Robin", "help"),
        ("Wren", "edit"),
    ]
    timers = await scene.services.store.read(
        lambda c: c.execute(select(obligation.c.case, obligation.c.state, obligation.c.due_at)).all()
    )
    assert {row.case for row in timers} == {c.id for c in queue}
    assert all(row.state == "running" and row.due_at is not None for row in timers)
    planned = await scene.services.store.read(lambda c: c.execute(select(notice.c.id)).all())
    assert planned == []
