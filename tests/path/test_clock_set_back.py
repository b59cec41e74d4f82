"""A database clock that is set back, as after a wrong setting was put right: nobody waits for it to catch up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from moderation.types import Role
from server.actions.escalation import climb
from server.actions.operating import add_shift
from server.actions.services import Services
from server.auth.requester import Requester
from server.notify import Delivery
from server.store.duty import insert_shift
from server.store.schema import notice, rota_row
from tests.harness import fast_forward, staff
from tests.path.scene import URGENT, make_scene
from tests.path.test_escalation import Phone

LONDON = ZoneInfo("Europe/London")


async def on_duty(services: Services, who: Requester) -> None:
    """Somebody has been on duty for days, and will be."""
    long = timedelta(days=3)
    await services.store.write(lambda tx: insert_shift(tx, who.account, who.role, tx.now - long, tx.now + long))


def rungs(phone: Phone) -> list[str]:
    return [call.rung for call in phone.calls]


@pytest.mark.parametrize("back", [timedelta(hours=1), timedelta(days=1)])
async def test_a_ladder_goes_on_when_the_clock_was_set_back(services: Services, back: timedelta) -> None:
    """The next rung is called at once rather than an hour or a day later, then the others in their time, each once."""
    scene = await make_scene(services)
    phone = services.notifiers["phone"] = Phone()
    for who in (
        scene.sam,
        await staff(services, "Osei", Role.CLINICIAN),
        await staff(services, "Lea", Role.CLINICAL_LEAD),
    ):
        await on_duty(services, who)
    await scene.say(scene.robin, URGENT)
    await climb(services)
    assert rungs(phone) == ["on_call_moderator"]
    await fast_forward(services, -back)
    for _ in range(3):
        await climb(services)
        assert rungs(phone) == ["on_call_moderator", "moderators_on_shift"]
    for wait_s, next_rung in ((15, "duty_clinician"), (60, "clinical_lead")):
        await fast_forward(services, timedelta(seconds=wait_s - 2))
        await climb(services)
        assert next_rung not in rungs(phone)
        await fast_forward(services, timedelta(seconds=3))
        await climb(services)
        assert rungs(phone)[-1] == next_rung
    assert len(rungs(phone)) == 4


async def test_a_call_that_failed_is_tried_again_though_the_clock_was_set_back(services: Services) -> None:
    """A call that waits to be tried again is tried by the clock as it is now, not in an hour."""
    scene = await make_scene(services)
    phone = services.notifiers["phone"] = Phone(Delivery.FAILED)
    await scene.say(scene.robin, URGENT)
    await climb(services)
    tried = len(phone.calls)
    phone.answer = Delivery.SENT
    await fast_forward(services, -timedelta(hours=1))
    await climb(services)
    assert len(phone.calls) > tried
    states = select(notice.c.state).where(notice.c.channel == "phone")
    assert "pending" not in await services.store.read(lambda conn: conn.execute(states).scalars().all())


async def test_a_case_that_was_taken_is_not_forgotten_when_the_clock_was_set_back(services: Services) -> None:
    """An acknowledgement that would last a day and ten minutes now has run out: others are called."""
    scene = await make_scene(services)
    phone = services.notifiers["phone"] = Phone()
    await scene.say(scene.robin, URGENT)
    await climb(services)
    (case,) = await scene.queue()
    await scene.act(scene.sam, case, "claim")
    called = len(phone.calls)
    await fast_forward(services, -timedelta(days=1))
    await climb(services)
    assert len(phone.calls) > called


@pytest.mark.parametrize(
    ("evening", "ends"),
    [
        (datetime(2027, 3, 27, 22, tzinfo=LONDON), datetime(2027, 3, 28, 6, tzinfo=UTC)),
        (datetime(2027, 10, 30, 22, tzinfo=LONDON), datetime(2027, 10, 31, 5, tzinfo=UTC)),
    ],
)
async def test_a_shift_lasts_its_hours_through_a_night_of_the_change(
    services: Services, evening: datetime, ends: datetime
) -> None:
    """Eight hours from ten in the evening in London are eight hours, whatever clocks on walls do meanwhile."""
    await staff(services, "Kit", Role.MODERATOR)
    made = await add_shift(services, "operator", "Kit", evening, timedelta(hours=8))
    assert (made.starts_at, made.ends_at.astimezone(UTC)) == (evening, ends)
    stored = await services.store.read(lambda conn: conn.execute(select(rota_row.c.ends_at)).scalar_one())
    assert stored == ends
