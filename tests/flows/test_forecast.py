"""From stored messages and from ladders that ran to what a proposal would ask of the people on duty."""

from __future__ import annotations

from datetime import timedelta

import pytest

from moderation.ladders import Audience, Side
from moderation.types import Level, Role, RoomKind
from moderation.workload import HourCount
from server.actions.escalation import climb
from server.actions.rooms import make_room
from server.actions.services import Services
from server.actions.wordlists import trials, viewing
from server.actions.wordlists.documents import Change, Kind
from server.store import workload
from server.store.wordtrials import TrialKind, TrialState
from tests import harness
from tests.flows.test_wordlists import ENTRY, WORDS, Desk, desk_of
from tests.path.scene import CLEAN, URGENT, belong, make_scene, on_shift

# Lists are compiled, and a back-test waits for its process to come up.
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def desk(services: Services) -> Desk:
    return await desk_of(services)


async def back_test(desk: Desk, version: str, days: int = 30) -> str:
    trial = await desk.try_on(TrialKind.STORED, version, span=days)
    await trials.run_back_test(desk.services, trial)
    return trial


async def counted(desk: Desk, trial: str) -> list[HourCount]:
    found = await desk.services.store.read(lambda conn: workload.hours_of(conn, trial))
    return sorted(found, key=lambda count: (count.hour, count.side, count.after))


async def test_a_back_test_counts_members_texts_by_hour_side_and_level(desk: Desk) -> None:
    """What staff wrote counts for nothing, what the model found already is nothing new, and no text is kept."""
    scene = await make_scene(desk.services)
    therapy = await make_room(desk.services, RoomKind.THERAPY, "Talk", "", scene.robin.account)
    await belong(desk.services, therapy, scene.robin)
    began = desk.services.clock.now().replace(minute=0, second=0, microsecond=0)
    await scene.say(scene.robin, CLEAN)
    await scene.say(scene.wren, WORDS)
    await scene.say(scene.sam, WORDS)
    await scene.say(scene.wren, f"{URGENT}, {WORDS}")
    await scene.say(scene.robin, WORDS, feed=therapy)
    await harness.fast_forward(desk.services, timedelta(hours=3))
    await scene.say(scene.wren, WORDS)
    trial = await back_test(desk, await desk.propose())
    here, there, later = Side.COMMUNITY, Side.CARE, timedelta(hours=3)
    assert await counted(desk, trial) == [
        HourCount(began, there, Level.NONE, Level.HIGH_NEED, 1),
        HourCount(began, here, Level.NONE, Level.NONE, 1),
        HourCount(began, here, Level.NONE, Level.HIGH_NEED, 1),
        HourCount(began, here, Level.URGENT, Level.URGENT, 1),
        HourCount(began + later, here, Level.NONE, Level.HIGH_NEED, 1),
    ]


async def test_a_back_test_that_begins_anew_counts_nothing_twice(desk: Desk) -> None:
    """What a process had counted when it died is counted once in the end."""
    scene = await make_scene(desk.services)
    await scene.say(scene.robin, WORDS)
    trial = await desk.try_on(TrialKind.STORED, await desk.propose(), span=1)
    row = await desk.trial(trial)
    hour = row.asked_at.replace(minute=0, second=0, microsecond=0)
    dead = {(hour, Side.COMMUNITY, Level.NONE, Level.HIGH_NEED): 7}
    for _ in range(2):
        await desk.services.store.write(lambda tx: workload.add_hours(tx, trial, dead))
    assert [count.texts for count in await counted(desk, trial)] == [14]
    await trials.run_back_test(desk.services, trial)
    assert (await desk.trial(trial)).state == TrialState.DONE
    assert [count.texts for count in await counted(desk, trial)] == [1]


async def test_the_share_of_ladders_that_came_to_the_clinician_is_counted(desk: Desk) -> None:
    """Of those that are over: one was taken in time, one was not; one that still runs has not come to anybody yet."""
    services = desk.services
    scene = await make_scene(services)
    hughes = await harness.staff(services, "Dr Hughes", Role.CLINICIAN)
    quick = await harness.member(services, "Quick")
    await belong(services, scene.feed, quick)
    for who in (scene.sam, hughes):
        await on_shift(services, who)
    await scene.say(scene.robin, URGENT)
    await climb(services)
    await harness.fast_forward(services, timedelta(seconds=31))
    await climb(services)
    await scene.say(scene.wren, URGENT)
    await climb(services)
    taken = next(case for case in await scene.queue() if case.subject.id == scene.wren.account)
    await scene.act(scene.sam, taken, "claim")
    await scene.say(quick, URGENT)
    await climb(services)
    since = services.clock.now() - timedelta(days=1)
    audiences = (Audience.MODERATORS_ON_SHIFT, Audience.DUTY_CLINICIAN)
    found = await services.store.read(lambda conn: workload.climbed(conn, since, audiences))
    assert [(one.side, one.level, one.audience, one.ladders, one.called) for one in found] == [
        (Side.COMMUNITY, Level.URGENT, audience, 2, 1) for audience in audiences
    ]


async def test_the_page_forecasts_from_the_newest_back_test_of_these_words(desk: Desk) -> None:
    """A proposal's page says what it would add to a night; other words under it, and it says nothing any more."""
    scene = await make_scene(desk.services)
    for _ in range(24):
        for _ in range(4):
            await scene.say(scene.robin, CLEAN)
        await scene.say(scene.wren, WORDS)
        await harness.fast_forward(desk.services, timedelta(hours=2))
    version = await desk.propose()
    assert (await viewing.version_page(desk.services, desk.lead, version)).forecast is None
    trial = await back_test(desk, version)
    page = await viewing.version_page(desk.services, desk.lead, version)
    assert page.forecast is not None
    assert page.forecast.texts == 120
    assert page.forecast.load("alerts").night.more.mean == pytest.approx(6, abs=1)
    assert page.forecast == (await viewing.trial_page(desk.services, desk.moderator, trial)).forecast
    await desk.revise(desk.lead, version, Change(Kind.ADD, "crisis", text=ENTRY.replace("level = 2", "level = 3")))
    assert (await viewing.version_page(desk.services, desk.lead, version)).forecast is None
