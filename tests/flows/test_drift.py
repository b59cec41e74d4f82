"""An entry that begins to find more than it did raises an alarm, once, until it is within its band again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from server.actions.gauges import DRIFTING, refresh
from server.actions.services import Services
from server.actions.wordlists.drifting import look_at_rates
from server.actions.wordlists.viewing import overview
from server.store import drift
from server.store.wordlists import FIRST
from tests import harness
from tests.flows.test_wordlists import WORDS, Desk, desk_of
from tests.path.scene import CLEAN, Scene, make_scene

DAY = timedelta(days=1)
ENTRY = "c-turnip"
# Lists are compiled several times.
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def desk(services: Services) -> Desk:
    """It is noon, the entry has been in force since, and a band needs two days of twenty messages."""
    services.drift = replace(services.drift, least_days=2, least_messages=20, day_messages=5)
    now = services.clock.now()
    await harness.fast_forward(services, now.replace(hour=12, minute=0, second=0, microsecond=0) + DAY - now)
    desk = await desk_of(services)
    await desk.sign_both(await desk.propose())
    return desk


@pytest.fixture
async def scene(desk: Desk) -> Scene:
    """Two days of ordinary talk, and then a day without any."""
    scene = await make_scene(desk.services)
    for _ in range(2):
        await harness.fast_forward(desk.services, DAY)
        await say(scene, CLEAN)
    await harness.fast_forward(desk.services, 2 * DAY)
    return scene


async def say(scene: Scene, text: str) -> None:
    for _ in range(10):
        await scene.say(scene.robin, text)


async def alarms(desk: Desk) -> list[tuple[str, int, int]]:
    return [(each.entry, each.hits, each.messages) for each in (await overview(desk.services, desk.lead)).drifts]


async def test_what_leaves_its_band_is_told_once_and_until_it_is_back(desk: Desk, scene: Scene) -> None:
    """The alarm is on the page, in the numbers and, however often it is looked at, one audit row; so is its end."""
    await say(scene, WORDS)
    for _ in range(3):
        assert await look_at_rates(desk.services) == 1
    assert await alarms(desk) == [(ENTRY, 10, 10)]
    await refresh(desk.services)
    assert DRIFTING._value.get() == 1
    assert [detail for _, _, detail in await harness.audited(desk.services, "words_drift")] == ["above"]
    await harness.fast_forward(desk.services, DAY)
    await say(scene, CLEAN)
    for _ in range(2):
        assert await look_at_rates(desk.services) == 0
    assert await alarms(desk) == []
    await refresh(desk.services)
    assert DRIFTING._value.get() == 0
    assert [detail for _, _, detail in await harness.audited(desk.services, "words_drift_over")] == ["within"]


async def test_a_day_as_usual_is_no_alarm(desk: Desk, scene: Scene) -> None:
    """What is found as seldom as before, or in a day too quiet to tell, raises nothing."""
    await scene.say(scene.robin, WORDS)
    assert await look_at_rates(desk.services) == 0
    await say(scene, CLEAN)
    assert await look_at_rates(desk.services) == 0
    assert await harness.audited(desk.services, "words_drift") == []


async def test_an_entry_that_is_out_of_force_alarms_nobody(desk: Desk, scene: Scene) -> None:
    """Going back to the lists before it ends its alarm."""
    await say(scene, WORDS)
    assert await look_at_rates(desk.services) == 1
    await desk.roll_back(desk.lead, FIRST)
    assert await look_at_rates(desk.services) == 0
    assert [detail for _, _, detail in await harness.audited(desk.services, "words_drift_over")] == ["gone"]


async def test_an_entry_is_judged_by_its_days_since_it_was_changed(desk: Desk, scene: Scene) -> None:
    """What was just put in force again has no days behind it, so nothing is said of it yet."""
    live = desk.services.lists.live
    assert live is not None
    await desk.roll_back(desk.lead, FIRST)
    await desk.roll_back(desk.lead, live.version)
    await say(scene, WORDS)
    assert await look_at_rates(desk.services) == 0


async def test_each_whole_day_is_counted_once(desk: Desk, scene: Scene) -> None:
    """Every day of the base has its number of messages, also when nothing was said; later looks change none."""
    await look_at_rates(desk.services)
    now = desk.services.clock.now()
    since = now.replace(hour=0, minute=0, second=0, microsecond=0) - desk.services.drift.base
    first = await desk.services.store.read(lambda conn: drift.rates(conn, since))
    await look_at_rates(desk.services)
    assert await desk.services.store.read(lambda conn: drift.rates(conn, since)) == first
    assert sorted(row.messages for row in first if row.entry_id == drift.MESSAGES) == [0] * 26 + [10, 10]
    assert len({row.day for row in first}) == 28
