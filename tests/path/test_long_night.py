"""A call that nobody answers for a day: it is never taken for a repeat of itself."""

from __future__ import annotations

from datetime import timedelta

from moderation.types import Role
from server.actions.escalation import climb
from server.actions.services import Services
from tests.harness import fast_forward, staff
from tests.path.scene import URGENT, make_scene, on_shift
from tests.path.test_escalation import Phone

MINUTE = timedelta(minutes=1)


async def test_a_day_without_an_answer_makes_nothing_quieter(services: Services) -> None:
    """More people are called with every rung, and after twenty-four hours somebody is still called every minute."""
    scene = await make_scene(services)
    phone = Phone()
    services.notifiers["phone"] = phone
    people = [scene.sam]
    people += [await staff(services, "Osei", Role.CLINICIAN), await staff(services, "Lea", Role.CLINICAL_LEAD)]
    for who in people:
        await on_shift(services, who, hours=30)
    await scene.say(scene.robin, URGENT)
    called: list[int] = []
    for _ in range(5):
        await climb(services)
        called.append(len({notice.recipient for notice in phone.calls}))
        await fast_forward(services, timedelta(seconds=45))
    assert called == sorted(called)
    assert called[0] < called[-1]
    for _ in range(8):
        await fast_forward(services, timedelta(hours=3) - MINUTE)
        await climb(services)
        before = len(phone.calls)
        await fast_forward(services, MINUTE + timedelta(seconds=1))
        await climb(services)
        assert len(phone.calls) > before
