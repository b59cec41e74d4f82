"""Whom a ladder calls: people who can open the case and act on it, on every rung; on both databases."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import delete, select, update

from moderation.types import Disposition, Level, Role, RoomKind, Verdict
from server.actions.escalation import climb
from server.actions.invariants import check_obligations
from server.actions.raising import concern_level, is_concern
from server.actions.reports import report_message
from server.actions.services import Services
from server.auth.requester import Requester
from server.ids import new_id
from server.protocol.frames import HandlingItem, PageItem, Report
from server.store.duty import insert_shift
from server.store.schema import account, case_message, notice, obligation, review_case
from server.store.unit import Tx
from server.supervisor.overdue import find_late, reader_for
from tests.harness import fast_forward, staff
from tests.path.scene import CLEAN, URGENT, Scene, client_id, make_scene, on_shift

GREY = "everything feels grey and I can't see the point of much"
HIGH_NEED = "I have been thinking about suicide a lot lately"


@pytest.fixture
async def scene(services: Services) -> Scene:
    return await make_scene(services)


async def disable(scene: Scene, who: Requester) -> None:
    await scene.services.store.write(
        lambda tx: tx.conn.execute(update(account).where(account.c.id == who.account).values(state="disabled")) is None
    )


async def called(scene: Scene) -> set[str]:
    return set(await scene.services.store.read(lambda c: c.execute(select(notice.c.recipient)).scalars().all()))


async def climb_after(scene: Scene, seconds: float) -> None:
    await fast_forward(scene.services, timedelta(seconds=seconds))
    await climb(scene.services)


async def pages(scene: Scene, who: Requester) -> list[PageItem]:
    return [i for i in await scene.items(who, "inbox") if isinstance(i, PageItem)]


async def test_a_disabled_moderator_on_shift_is_an_empty_rung(scene: Scene) -> None:
    """Somebody whose account is closed is not called; the clinician behind them is, at once."""
    hughes = await staff(scene.services, "Dr Hughes", Role.CLINICIAN)
    for who in (scene.sam, hughes):
        await on_shift(scene.services, who)
    await disable(scene, scene.sam)
    await scene.say(scene.robin, URGENT)
    await climb(scene.services)
    assert await called(scene) == {hughes.account}


async def test_a_shift_in_a_role_that_one_does_not_have_calls_nobody(scene: Scene) -> None:
    """An administrator entered as the moderator on duty could not open the case: the real moderator is called."""
    ann = await staff(scene.services, "Ann", Role.ADMIN)
    await scene.services.store.write(
        lambda tx: insert_shift(tx, ann.account, Role.MODERATOR, tx.now, tx.now + timedelta(hours=9))
    )
    await on_shift(scene.services, scene.sam)
    await scene.say(scene.robin, URGENT)
    await climb(scene.services)
    assert await called(scene) == {scene.sam.account}


async def test_the_last_rung_calls_nobody_who_could_not_act(scene: Scene) -> None:
    """Unknown, closed and unfitting accounts on the standing list are passed over; then all who fit are called."""
    lee = await staff(scene.services, "Lee", Role.CLINICAL_LEAD)
    ann = await staff(scene.services, "Ann", Role.ADMIN)
    gone = await staff(scene.services, "Gwen", Role.CLINICAL_LEAD)
    await disable(scene, gone)
    scene.services.settings = scene.services.settings.model_copy(
        update={"fallback_people": ("nobody-by-that-id", ann.account, gone.account)}
    )
    await scene.say(scene.robin, URGENT)
    await climb(scene.services)
    assert await called(scene) == {lee.account, scene.sam.account}


async def test_the_standing_list_is_called_where_it_fits(scene: Scene) -> None:
    """A lead on the standing list is called alone, not everybody."""
    lee = await staff(scene.services, "Lee", Role.CLINICAL_LEAD)
    scene.services.settings = scene.services.settings.model_copy(update={"fallback_people": (lee.account,)})
    await scene.say(scene.robin, URGENT)
    await climb(scene.services)
    assert await called(scene) == {lee.account}


async def test_a_therapy_matter_never_calls_a_moderator_or_an_administrator(services: Services) -> None:
    """The wall stands on the last rung too, whoever is on the standing list."""
    scene = await make_scene(services, RoomKind.THERAPY)
    ann = await staff(services, "Ann", Role.ADMIN)
    hughes = await staff(services, "Dr Hughes", Role.CLINICIAN)
    services.settings = services.settings.model_copy(update={"fallback_people": (scene.sam.account, ann.account)})
    await scene.say(scene.robin, URGENT)
    await climb_after(scene, 200)
    assert await called(scene) == {hughes.account}


async def test_a_matter_about_the_only_lead_is_given_to_nobody_and_so_raised(scene: Scene) -> None:
    """Where nobody may see a case, nobody is rung up for it and the author of no line is told that somebody was."""
    ack = await scene.say(scene.sam, CLEAN)
    command = Report(client_id=client_id(), feed=scene.feed, message=ack.message, reason="unkind", body="")
    await report_message(scene.services, scene.wren, command, new_id())
    await staff(scene.services, "Dr Hughes", Role.CLINICIAN)
    await climb_after(scene, 301)
    assert await called(scene) == {""}


async def test_a_worse_message_never_silences_what_rings(scene: Scene) -> None:
    """A ladder that has called somebody and is raised calls again in the same round; nobody's page falls silent."""
    await on_shift(scene.services, scene.sam)
    await scene.say(scene.robin, "you are worthless and everyone here should hate you")
    await climb_after(scene, 130)
    assert [page.state for page in await pages(scene, scene.sam)] == ["ringing"]
    level = await scene.services.store.read(lambda c: c.execute(select(obligation.c.level)).scalar_one())
    await scene.services.store.write(lambda tx: tx.conn.execute(update(obligation).values(level=1)) is None)
    assert level in (1, 2)
    await scene.say(scene.robin, HIGH_NEED)
    await climb(scene.services)
    assert "ringing" in [page.state for page in await pages(scene, scene.sam)]


async def test_a_worse_message_postpones_nothing(scene: Scene) -> None:
    """What the running ladder had due stays due, though the new ladder's first rung is later than that."""
    await scene.say(scene.robin, HIGH_NEED)
    await scene.services.store.write(lambda tx: tx.conn.execute(update(obligation).values(level=1)) is None)
    due = await scene.services.store.read(lambda c: c.execute(select(obligation.c.due_at)).scalar_one())
    await fast_forward(scene.services, timedelta(seconds=250))
    await scene.say(scene.robin, HIGH_NEED)
    assert await scene.services.store.read(lambda c: c.execute(select(obligation.c.due_at)).scalar_one()) <= due


@pytest.mark.parametrize("complete", [True, False])
def test_whatever_is_held_opens_a_case_whoever_wrote_it(complete: bool) -> None:
    """A held message of a moderator has somebody who has to decide on it, and a ladder that calls them."""
    verdict = Verdict(
        level=Level.NONE,
        categories=(),
        findings=(),
        disposition=Disposition.HOLD,
        list_version="1",
        policy_version="1",
        complete=complete,
    )
    assert is_concern(verdict, Role.MODERATOR)
    assert concern_level(verdict) > Level.NONE


async def test_a_case_whose_timer_never_falls_due_is_found(scene: Scene) -> None:
    """A running obligation without a due time would call nobody for ever: it is made due now."""
    await scene.say(scene.robin, URGENT)
    await scene.services.store.write(lambda tx: tx.conn.execute(update(obligation).values(due_at=None)) is None)
    assert await check_obligations(scene.services) == 1
    assert await check_obligations(scene.services) == 0
    await climb(scene.services)
    assert await called(scene) == {scene.sam.account}


@pytest.mark.parametrize("closed", [True, False])
async def test_a_held_message_without_an_open_case_is_found(scene: Scene, closed: bool) -> None:
    """However it came to be that nobody decides on a held message, it gets an open case that is due now."""
    await on_shift(scene.services, scene.sam)
    await scene.say(scene.robin, "you are worthless and everyone here should hate you")

    def lose(tx: Tx) -> None:
        if closed:
            tx.conn.execute(update(review_case).values(state="closed"))
            tx.conn.execute(update(obligation).values(state="met", due_at=None))
        else:
            tx.conn.execute(delete(case_message))

    await scene.services.store.write(lose)
    assert await check_obligations(scene.services) == 1
    assert await check_obligations(scene.services) == 0
    assert len(await scene.queue()) == 1
    await climb(scene.services)
    assert await called(scene) == {scene.sam.account}


async def told(scene: Scene) -> list[str]:
    (item,) = [i for i in await scene.items(scene.robin, "inbox") if isinstance(i, HandlingItem)]
    return [state.state for state in item.states]


async def test_an_author_is_not_told_that_nobody_is_there_while_somebody_is_called(services: Services) -> None:
    """That a case has no therapist of its own, or one rung nobody, is not "nobody on duty" when others were called."""
    scene = await make_scene(services, RoomKind.THERAPY)
    hughes = await staff(services, "Dr Hughes", Role.CLINICIAN)
    await on_shift(services, hughes)
    await scene.say(scene.robin, URGENT)
    await climb(services)
    assert await called(scene) == {hughes.account}
    assert await told(scene) == ["sent_to_team", "next_called"]


async def test_an_empty_rung_is_not_told_when_the_next_one_answers(scene: Scene) -> None:
    """No moderator, but a clinician in the same round: the author reads that the next person was called."""
    hughes = await staff(scene.services, "Dr Hughes", Role.CLINICIAN)
    await on_shift(scene.services, hughes)
    await scene.say(scene.robin, URGENT)
    await climb(scene.services)
    assert "nobody_on_duty" not in await told(scene)


async def test_the_supervisor_raises_a_ladder_that_reaches_nobody(scene: Scene, database_url: str) -> None:
    """Calls to nobody, and calls to an account that was closed since, count as nobody called."""
    read = reader_for(database_url)

    async def raised() -> list[str]:
        return [late.event for late in find_late(await asyncio.to_thread(read), 3600.0)]

    await on_shift(scene.services, scene.sam)
    await scene.say(scene.robin, URGENT)
    await climb(scene.services)
    assert await raised() == []
    await disable(scene, scene.sam)
    assert await raised() == ["nobody_to_call"]
    await climb_after(scene, 200)
    assert await called(scene) == {scene.sam.account, ""}
    assert await raised() == ["nobody_to_call"]
