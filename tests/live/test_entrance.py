"""The entrance: a few at a time, whoever is further in first, and nobody's place is ever lost."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.auth.requester import Requester
from server.live.entrance import Entrance, Stage
from server.live.hub import Timings
from server.live.verbs import Upgrade
from server.protocol.frames import Ack, Send
from tests.live.support import ROOM
from tests.live.support import Stage as Scene

PLACES = Timings().places
CROWD = 5 * PLACES


async def test_whoever_is_further_in_goes_first_and_else_by_coming() -> None:
    """Joins before hellos before handshakes; within a stage, in the order of coming."""
    entrance, order = Entrance(1), list[tuple[Stage, int]]()
    coming = [(stage, n) for n in range(3) for stage in reversed(Stage)]

    async def come(stage: Stage, n: int) -> None:
        async with entrance.at(stage):
            order.append((stage, n))
            await asyncio.sleep(0)

    await entrance.take(Stage.JOIN)
    async with asyncio.TaskGroup() as tasks:
        for stage, n in coming:
            tasks.create_task(come(stage, n))
        await asyncio.sleep(0)
        assert not order
        entrance.leave()
    assert order == sorted(coming)


@given(seed=st.integers(0, 2**32), places=st.integers(1, 4))
def test_no_place_is_lost_or_given_twice(seed: int, places: int) -> None:
    """Law: whoever comes, goes, fails or gives up in whatever order, at most `places` are inside, and all get in."""
    chance = random.Random(seed)

    async def run() -> None:
        entrance, inside, most = Entrance(places), 0, 0

        async def come() -> None:
            nonlocal inside, most
            async with entrance.at(chance.choice(list(Stage))):
                inside += 1
                most = max(most, inside)
                try:
                    for _ in range(chance.randrange(3)):
                        await asyncio.sleep(0)
                    if chance.random() < 0.2:
                        raise ValueError
                finally:
                    inside -= 1

        tasks = [asyncio.ensure_future(come()) for _ in range(30)]
        for _ in range(40):
            if chance.random() < 0.5:
                chance.choice(tasks).cancel()
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await asyncio.gather(*tasks, return_exceptions=True)
            assert most <= places
            for _ in range(places):
                await entrance.take(Stage.HANDSHAKE)

    asyncio.run(run())


async def test_a_crowd_at_the_door_does_not_keep_those_inside_from_talking(stage: Scene) -> None:
    """However many shake hands at once, only a few are looked up at a time, and somebody's message is answered."""
    looked_up, most, go_on = 0, 0, asyncio.Event()

    async def slowly(upgrade: Upgrade) -> None:
        nonlocal looked_up, most
        looked_up += 1
        most = max(most, looked_up)
        await go_on.wait()
        looked_up -= 1

    async def come(n: int) -> None:
        async with stage.client(f"member{n}"):
            pass

    async with stage.client("ann", join=(ROOM,)) as ann, asyncio.TaskGroup() as tasks:
        stage.service.hooks["open_connection"] = slowly
        for n in range(CROWD):
            tasks.create_task(come(n))
        await stage.until(lambda: len(stage.state.connections) > CROWD and looked_up == PLACES)
        await ann.say(Send(client_id="send-0001", feed=ROOM, body="still here"))
        assert await ann.events(1)
        await ann.hear_as(Ack)
        go_on.set()
    assert most == PLACES


@pytest.mark.parametrize("gone", [True, False])
async def test_nothing_is_spent_on_a_client_that_went_away_while_it_waited(stage: Scene, gone: bool) -> None:
    """Somebody who is gone when their turn comes is not looked up; who waits is."""
    go_on = asyncio.Event()

    async def slowly(upgrade: Upgrade) -> None:
        await go_on.wait()

    async def come(n: int) -> Requester | None:
        async with stage.client(f"member{n}"):
            return None

    stage.service.hooks["open_connection"] = slowly
    first = [asyncio.ensure_future(come(n)) for n in range(PLACES)]
    await stage.until(lambda: len(stage.service.called("open_connection")) == PLACES)
    last = asyncio.ensure_future(come(PLACES))
    await stage.until(lambda: len(stage.state.connections) == PLACES + 1)
    if gone:
        last.cancel()
        await stage.until(lambda: len(stage.state.connections) == PLACES)
    go_on.set()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*first, last)
    assert len(stage.service.called("open_connection")) == PLACES + (not gone)
