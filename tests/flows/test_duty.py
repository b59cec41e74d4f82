"""A shift begins with an answer and ends with a hand-over; on both databases, with a clock that is stepped."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Row, select

from moderation.replay import fold
from moderation.types import Level, Role
from server.actions import handovers, reach
from server.actions.escalation import climb
from server.actions.invariants import check_obligations
from server.actions.services import Services
from server.auth.requester import Requester
from server.errors import BadRequest, Conflict, NotFound, Refused
from server.ids import new_id
from server.jobs.duty import look
from server.protocol.frames import PageItem
from server.store import cases, duty
from server.store.accounts import AccountState, change_account
from server.store.duty import insert_shift
from server.store.replaying import events_of
from server.store.rota import RowKind, add_row
from server.store.schema import case_history, duty_check, handover, notice, review_case
from server.store.unit import Tx
from tests import harness
from tests.harness import fast_forward
from tests.path.scene import URGENT, Scene, belong, client_id, make_scene
from tests.path.test_escalation import Phone
from tests.properties.test_replay_equals_case import rows_of

GREY = "what is the point anymore"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@dataclass
class Watch:
    """A room with Robin and Wren; Sam and Kit moderate, Dr Adeyemi leads; a telephone beside the page."""

    scene: Scene
    kit: Requester
    boss: Requester
    phone: Phone

    @property
    def services(self) -> Services:
        return self.scene.services

    @property
    def sam(self) -> Requester:
        return self.scene.sam

    async def put_on(self, who: Requester, begins_in: timedelta, lasts: timedelta = 8 * HOUR) -> datetime:
        """A shift on the rota; one from now has begun."""

        def unit(tx: Tx) -> datetime:
            insert_shift(tx, who.account, who.role, tx.now + begins_in, tx.now + begins_in + lasts)
            return tx.now + begins_in

        return await self.services.store.write(unit)

    async def after(self, step: timedelta) -> None:
        """Time passes, and the jobs look once."""
        await fast_forward(self.services, step)
        await self.look()

    async def look(self) -> None:
        await look(self.services)
        await climb(self.services)

    async def on_duty(self) -> set[str]:
        shifts = await self.services.store.read(lambda conn: duty.on_duty_at(conn, self.services.clock.now()))
        return {shift.account for shift in shifts}

    async def questions(self, who: Requester) -> list[Row[Any]]:
        return list(await self.services.store.read(lambda conn: duty.open_checks(conn, who.account)))

    async def answer(self, who: Requester, check: str) -> None:
        await reach.answer(self.services, who, client_id(), check, new_id())

    async def rows(self, table: Any) -> list[Row[Any]]:
        return list(await self.services.store.read(lambda conn: conn.execute(select(table)).all()))

    async def called(self) -> set[str]:
        """Who was called for a case so far."""
        return {row.recipient for row in await self.rows(notice)}

    async def unowned(self) -> list[str]:
        """Open cases that nobody on duty holds and that call nobody either."""
        on_duty, now = await self.on_duty(), self.services.clock.now()
        waits = self.services.ladders.waits

        def read(conn: Any) -> list[str]:
            lost: list[str] = []
            for row in conn.execute(select(review_case).where(review_case.c.state != "closed")):
                held = cases.obligation_of(conn, row.id)
                calls = (
                    held is not None
                    and held.state == cases.RUNNING
                    and row.claimed_by is None
                    and held.due_at is not None
                    and held.due_at <= now + waits[Level(held.level)].for_call
                )
                if not calls and row.claimed_by not in on_duty:
                    lost.append(row.id)
            return lost

        return await self.services.store.read(read)

    async def taken(self, who: Requester) -> str:
        """A case about Robin that this person has claimed: theirs for four hours, if nobody asks for it sooner."""
        await self.scene.say(self.scene.robin, GREY)
        (case,) = await self.scene.queue()
        await self.scene.act(who, case, "claim")
        return case.id

    async def the_offer(self) -> str:
        (row,) = await self.rows(handover)
        return str(row.id)


@pytest.fixture
async def watch(services: Services) -> Watch:
    scene = await make_scene(services)
    kit = await harness.staff(services, "Kit", Role.MODERATOR)
    boss = await harness.staff(services, "Dr Adeyemi", Role.CLINICAL_LEAD)
    phone = services.notifiers["phone"] = Phone()
    return Watch(scene, kit, boss, phone)


# --- before a shift ---------------------------------------------------------------------------------------------------


async def test_the_question_comes_before_the_shift_by_every_channel(watch: Watch) -> None:
    """Half an hour before, not sooner: one row, one call by the telephone; unanswered it is asked again."""
    await watch.put_on(watch.sam, HOUR)
    await watch.after(29 * MINUTE)
    assert (await watch.questions(watch.sam), watch.phone.calls) == ([], [])
    await watch.after(2 * MINUTE)
    (check,) = await watch.questions(watch.sam)
    (call,) = watch.phone.calls
    assert (call.recipient, call.case, call.rung) == (watch.sam.account, "", "reachability")
    await watch.look()
    assert len(watch.phone.calls) == 1
    await watch.after(watch.services.rota.ask_again)
    assert [one.attempt for one in watch.phone.calls] == [1, 2]
    await watch.answer(watch.sam, check.id)
    await watch.after(watch.services.rota.ask_again)
    assert len(watch.phone.calls) == 2
    assert await watch.questions(watch.sam) == []


async def test_a_shift_begins_with_the_answer_and_not_by_the_clock(watch: Watch) -> None:
    """Sam has not answered: when the shift's hour has come nobody is on duty; with the answer Sam is, from then on."""
    await watch.put_on(watch.sam, HOUR)
    await watch.after(31 * MINUTE)
    (check,) = await watch.questions(watch.sam)
    await watch.after(30 * MINUTE)
    assert await watch.on_duty() == set()
    await watch.scene.say(watch.scene.robin, URGENT)
    await climb(watch.services)
    by = {row.audience for row in await watch.rows(notice) if row.recipient == watch.sam.account}
    assert by <= {"fallback"}
    await watch.answer(watch.sam, check.id)
    assert await watch.on_duty() == {watch.sam.account}


async def test_an_answer_before_the_shift_begins_it_at_its_hour(watch: Watch) -> None:
    """Who has answered is on duty from the shift's first moment until its last, and is called."""
    await watch.put_on(watch.sam, HOUR, lasts=2 * HOUR)
    await watch.after(31 * MINUTE)
    (check,) = await watch.questions(watch.sam)
    await watch.answer(watch.sam, check.id)
    assert await watch.on_duty() == set()
    await watch.after(29 * MINUTE)
    assert await watch.on_duty() == {watch.sam.account}
    await watch.scene.say(watch.scene.robin, URGENT)
    await climb(watch.services)
    assert watch.sam.account in await watch.called()
    await watch.after(2 * HOUR)
    assert await watch.on_duty() == set()


async def test_no_answer_is_told_to_whoever_leads_before_the_shift(watch: Watch) -> None:
    """Ten minutes before, the clinical lead is called, once, for a case about Sam; the next rung answers for Sam's."""
    hughes = await harness.staff(watch.services, "Dr Hughes", Role.CLINICIAN)
    await watch.put_on(hughes, timedelta(0))
    await watch.put_on(watch.sam, HOUR)
    await watch.after(49 * MINUTE)
    assert await watch.called() == set()
    await watch.after(MINUTE)
    await watch.look()
    (about,) = await watch.rows(review_case)
    assert (about.subject, about.origin) == (watch.sam.account, reach.UNANSWERED)
    assert await watch.called() == {watch.boss.account}
    await watch.after(10 * MINUTE)
    await watch.scene.say(watch.scene.robin, URGENT)
    await climb(watch.services)
    assert hughes.account in await watch.called()
    assert len([row for row in await watch.rows(review_case) if row.origin == reach.UNANSWERED]) == 1


async def test_a_shift_that_is_joined_to_one_that_runs_needs_no_second_answer(watch: Watch) -> None:
    """Sam is there until the next shift after all: the question about it is put away, and nobody is called for it."""
    await watch.put_on(watch.sam, timedelta(0), lasts=HOUR)
    await watch.put_on(watch.sam, 80 * MINUTE)
    await watch.after(51 * MINUTE)
    assert len(await watch.questions(watch.sam)) == 1
    now, who = watch.services.clock.now(), watch.sam.account
    between: dict[str, Any] = {"account": who, "role": "moderator", "starts_at": now, "ends_at": now + 30 * MINUTE}
    await watch.services.store.write(lambda tx: add_row(tx, RowKind.EXTRA, "", **between))
    await watch.after(25 * MINUTE)
    assert await watch.questions(watch.sam) == []
    assert (await watch.called(), await watch.on_duty()) == (set(), {watch.sam.account})


async def test_only_the_person_who_is_asked_answers(watch: Watch) -> None:
    """Another moderator's answer and a lead's are refused; an answer after the shift is, too; one twice is one."""
    await watch.put_on(watch.sam, HOUR, lasts=HOUR)
    await watch.after(31 * MINUTE)
    (check,) = await watch.questions(watch.sam)
    for other in (watch.kit, watch.boss):
        with pytest.raises(NotFound):
            await watch.answer(other, check.id)
    await watch.answer(watch.sam, check.id)
    first = (await watch.rows(duty_check))[0].answered_at
    await fast_forward(watch.services, MINUTE)
    await watch.answer(watch.sam, check.id)
    assert (await watch.rows(duty_check))[0].answered_at == first
    await fast_forward(watch.services, 2 * HOUR)
    with pytest.raises(Refused):
        await watch.answer(watch.sam, check.id)


async def test_a_question_rings_on_the_page_until_it_is_answered_or_its_shift_is_gone(watch: Watch) -> None:
    """Sam's inbox is told of the question, of the answer, and of a shift that is over; a fresh look says the same."""

    async def rings() -> tuple[str, ...]:
        items = [item for item in await watch.scene.items(watch.sam, "inbox") if isinstance(item, PageItem)]
        told = [event.member for event in watch.scene.heard if isinstance(event.member, PageItem)]
        latest = {item.id: item for item in told}
        assert [item.id for item in items] == [id_ for id_, item in latest.items() if item.state == "ringing"]
        assert all((item.case, item.rung) == ("", "reachability") for item in told)
        return tuple(item.state for item in latest.values())

    await watch.put_on(watch.sam, HOUR, lasts=HOUR)
    await watch.put_on(watch.sam, 10 * HOUR, lasts=HOUR)
    await watch.after(31 * MINUTE)
    assert await rings() == ("ringing",)
    (check,) = await watch.questions(watch.sam)
    await watch.answer(watch.sam, check.id)
    assert await rings() == ("acknowledged",)
    await watch.after(9 * HOUR)
    assert await rings() == ("acknowledged", "ringing")
    await watch.after(3 * HOUR)
    assert await rings() == ("acknowledged", "over")


async def test_leave_ends_the_question_and_taking_it_back_asks_anew(watch: Watch) -> None:
    """A shift that is there no more is not asked about; once it is there again, it is, by the telephone too."""
    starts_at = await watch.put_on(watch.sam, HOUR)
    await watch.after(31 * MINUTE)
    args: dict[str, Any] = {"account": watch.sam.account, "starts_at": starts_at, "ends_at": starts_at + 8 * HOUR}
    leave = await watch.services.store.write(lambda tx: add_row(tx, RowKind.LEAVE, "", **args))
    await watch.look()
    assert await watch.questions(watch.sam) == []
    calls = len(watch.phone.calls)
    await watch.after(watch.services.rota.ask_again)
    assert len(watch.phone.calls) == calls
    await watch.services.store.write(lambda tx: add_row(tx, RowKind.WITHDRAWN, "", of=leave.n))
    await watch.look()
    assert len(await watch.questions(watch.sam)) == 1
    assert len(watch.phone.calls) == calls + 1


async def test_a_telephone_that_fails_is_tried_again_and_answers_for_nobody(watch: Watch) -> None:
    """A channel that raises leaves the question open, is tried again soon, and the shift does not begin by it."""
    watch.phone.answer = ConnectionError("line down")
    await watch.put_on(watch.sam, 31 * MINUTE)
    await watch.after(2 * MINUTE)
    await watch.after(cases.RETRY_AFTER)
    assert len(watch.phone.calls) == 2
    await watch.after(40 * MINUTE)
    assert await watch.on_duty() == set()


async def test_a_shift_that_has_run_for_weeks_is_not_asked_about_again(watch: Watch) -> None:
    """Somebody who is on for a month answered once, and stays on duty also past every look back."""
    await watch.put_on(watch.sam, timedelta(0), lasts=timedelta(days=30))
    for _ in range(3):
        await watch.after(timedelta(days=6))
        assert await watch.on_duty() == {watch.sam.account}
    assert len(await watch.rows(duty_check)) == 1


# --- the end of a shift -----------------------------------------------------------------------------------------------


async def test_what_somebody_holds_is_handed_over_by_name(watch: Watch) -> None:
    """Before the end the case is offered with facts and Sam's words; Kit accepts and has it; nothing calls anybody."""
    await watch.put_on(watch.sam, timedelta(0), lasts=HOUR)
    await watch.put_on(watch.kit, timedelta(0))
    case = await watch.taken(watch.sam)
    await watch.after(45 * MINUTE)
    (mine,) = await handovers.offers(watch.services, watch.sam, new_id())
    assert mine.mine
    await handovers.write_words(watch.services, watch.sam, mine.id, "Spoke to Robin, sister is there.", new_id())
    (offered,) = await handovers.offers(watch.services, watch.kit, new_id())
    assert (offered.case, offered.leaver, offered.words) == (case, "Sam", "Spoke to Robin, sister is there.")
    for fact in (f"Case {case}", "level 1", "opened 45 minutes ago", "last act: claim"):
        assert fact in offered.facts
    assert GREY not in offered.facts
    await handovers.accept(watch.services, watch.kit, client_id(), offered.id, "", new_id())
    row = (await watch.rows(review_case))[0]
    assert row.claimed_by == watch.kit.account
    assert await handovers.offers(watch.services, watch.kit, new_id()) == []
    calls = len(await watch.rows(notice))
    await watch.after(20 * MINUTE)
    assert ((await watch.rows(review_case))[0].claimed_by, await watch.unowned()) == (watch.kit.account, [])
    assert len(await watch.rows(notice)) == calls
    assert await harness.audited(watch.services, "handed_over") == [(watch.kit.account, case, "")]


async def test_a_hand_over_can_not_be_skipped(watch: Watch) -> None:
    """Sam goes and nobody has accepted: the case is Sam's no more, Kit is called at once, and it stays on offer."""
    await watch.put_on(watch.sam, timedelta(0), lasts=HOUR)
    await watch.put_on(watch.kit, timedelta(0))
    case = await watch.taken(watch.sam)
    await watch.after(59 * MINUTE)
    assert (await watch.rows(review_case))[0].claimed_by == watch.sam.account
    before = len(await watch.rows(notice))
    await watch.after(MINUTE)
    row = (await watch.rows(review_case))[0]
    assert (row.claimed_by, row.state) == (None, "open")
    since = (await watch.rows(notice))[before:]
    assert watch.kit.account in {one.recipient for one in since}
    assert await watch.unowned() == []
    (offered,) = await handovers.offers(watch.services, watch.kit, new_id())
    assert (offered.case, offered.called) == (case, True)
    await handovers.accept(watch.services, watch.kit, client_id(), offered.id, "Robin, urgent; I write now.", new_id())
    assert (await watch.rows(review_case))[0].claimed_by == watch.kit.account


async def test_whoever_may_work_no_more_keeps_nothing(watch: Watch) -> None:
    """Sam's account is closed in the middle of a shift: what Sam held is called out at the next look."""
    await watch.put_on(watch.sam, timedelta(0))
    await watch.put_on(watch.kit, timedelta(0))
    await watch.taken(watch.sam)
    await fast_forward(watch.services, MINUTE)
    await watch.services.store.write(lambda tx: change_account(tx, watch.sam.account, state=AccountState.DISABLED))
    await watch.look()
    assert (await watch.rows(review_case))[0].claimed_by is None
    assert watch.kit.account in await watch.called()
    assert await watch.unowned() == []


async def test_no_obligation_is_unowned_after_a_change_of_shift(watch: Watch) -> None:
    """Two held, one let go, one untouched: whoever was there leaves, and after one look 0 are unowned."""
    people = [await harness.member(watch.services, name) for name in ("Finch", "Heron", "Plover", "Tern")]
    for who in people:
        await belong(watch.services, watch.scene.feed, who)
        await watch.scene.say(who, GREY)
    await watch.put_on(watch.sam, timedelta(0), lasts=HOUR)
    await watch.look()
    queue = await watch.scene.queue()
    assert len(queue) == 4
    for case in queue[:3]:
        await watch.scene.act(watch.sam, case, "claim")
    await watch.scene.act(watch.sam, queue[2], "release_claim")
    await watch.after(HOUR)
    assert await watch.on_duty() == set()
    assert await watch.unowned() == []
    assert await check_obligations(watch.services) == 0
    await watch.put_on(watch.kit, timedelta(0))
    await watch.after(MINUTE)
    assert await watch.unowned() == []


async def test_a_replay_knows_what_a_change_of_shift_did(watch: Watch) -> None:
    """Taken, offered, left and called out, and a case because nobody answered: the fold says what the rows say."""
    await watch.put_on(watch.sam, timedelta(0), lasts=HOUR)
    await watch.put_on(watch.kit, 90 * MINUTE)
    await watch.taken(watch.sam)
    for _ in range(3):
        await watch.after(28 * MINUTE)
    await watch.look()

    def compare(conn: Connection) -> list[str]:
        rows = conn.execute(select(review_case)).all()
        for row in rows:
            rows_of(conn, row, fold(events_of(conn, row)))
        return [row.state for row in rows]

    assert await watch.services.store.read(compare) == ["open", "open"]
    lines = await watch.services.store.read(lambda conn: conn.execute(select(case_history.c.act)).scalars().all())
    assert {"to_hand_over", "not_handed_over"} <= set(lines)


async def test_only_somebody_on_duty_accepts_and_in_words(watch: Watch) -> None:
    """The leaver, somebody whose shift has not begun, a silent yes and a second one are refused."""
    await watch.put_on(watch.sam, timedelta(0), lasts=HOUR)
    await watch.taken(watch.sam)
    await watch.after(45 * MINUTE)
    offer = await watch.the_offer()

    async def accept(who: Requester, words: str = "I have read it.") -> None:
        await handovers.accept(watch.services, who, client_id(), offer, words, new_id())

    with pytest.raises(Refused):
        await accept(watch.sam)
    with pytest.raises(Refused):
        await accept(watch.kit)
    await watch.put_on(watch.kit, timedelta(0))
    with pytest.raises(BadRequest):
        await accept(watch.kit, "  ")
    await accept(watch.kit)
    await watch.put_on(watch.boss, timedelta(0))
    with pytest.raises(Conflict):
        await accept(watch.boss)


async def test_a_matter_of_care_is_offered_to_nobody_beyond_the_wall(watch: Watch) -> None:
    """What a clinician holds of the care side is on no moderator's page, and a moderator can not accept it."""
    hughes = await harness.staff(watch.services, "Dr Hughes", Role.CLINICIAN)
    await watch.put_on(hughes, timedelta(0), lasts=HOUR)
    await watch.put_on(watch.kit, timedelta(0))
    await watch.taken(watch.sam)

    def unit(tx: Tx) -> None:
        tx.conn.execute(review_case.update().values(side="care", claimed_by=hughes.account, claimed_at=tx.now))

    await watch.services.store.write(unit)
    await watch.after(45 * MINUTE)
    assert await handovers.offers(watch.services, watch.kit, new_id()) == []
    with pytest.raises(NotFound):
        await handovers.accept(watch.services, watch.kit, client_id(), await watch.the_offer(), "Mine.", new_id())
    (offered,) = await handovers.offers(watch.services, watch.boss, new_id())
    assert not offered.mine


async def test_whoever_takes_it_on_the_console_has_accepted_it_by_name(watch: Watch) -> None:
    """A claim by Kit before the end settles the offer; the sweep leaves Kit's case alone."""
    await watch.put_on(watch.sam, timedelta(0), lasts=HOUR)
    await watch.put_on(watch.kit, timedelta(0))
    case = await watch.taken(watch.sam)
    await watch.after(45 * MINUTE)
    await watch.scene.act(watch.kit, case, "claim")
    await watch.after(20 * MINUTE)
    (row,) = await watch.rows(handover)
    assert (row.state, row.accepted_by) == ("accepted", watch.kit.account)
    assert (await watch.rows(review_case))[0].claimed_by == watch.kit.account


async def test_words_are_sealed_and_only_the_leavers(watch: Watch) -> None:
    """Words lie in the database sealed; somebody else can not write the leaver's; none are refused."""
    await watch.put_on(watch.sam, timedelta(0), lasts=HOUR)
    await watch.taken(watch.sam)
    await watch.after(45 * MINUTE)
    offer = await watch.the_offer()
    words = "Rang, went to voicemail; try again at nine."
    await handovers.write_words(watch.services, watch.sam, offer, words, new_id())
    assert words.encode() not in bytes((await watch.rows(handover))[0].words)
    with pytest.raises(NotFound):
        await handovers.write_words(watch.services, watch.kit, offer, words, new_id())
    with pytest.raises(BadRequest):
        await handovers.write_words(watch.services, watch.sam, offer, " ", new_id())
