"""One process at a time: leases by the database's clock, who may serve beside whom, and what a role does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from sqlalchemy import select

from moderation.types import Role, RoomKind
from server.actions.post_message import post_message
from server.actions.rooms import belong, make_room
from server.actions.services import Services
from server.errors import Misconfigured
from server.ids import new_id
from server.jobs.lease import JOBS, LASTS_S, MARGIN_S, Claim, Lease
from server.jobs.presence import check_company, keep_company
from server.main import serve_edges
from server.protocol.frames import Send
from server.settings import load_settings
from server.store import leases
from server.store.duty import insert_shift
from server.store.schema import lease, notice
from tests import harness
from tests.path.scene import URGENT
from tests.servers import PostgresServer

pytestmark = pytest.mark.timeout(90)
LASTS = timedelta(seconds=LASTS_S)


@pytest.fixture
def shared_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A PostgreSQL database with its tables, for more than one process."""
    url = postgres_server.create_database(harness.postgres_template(postgres_server))
    yield url
    postgres_server.drop_database(url)


@dataclass(frozen=True)
class Two:
    """Two processes of one service, as far as the database can tell."""

    one: Services
    other: Services


@pytest.fixture
async def two(shared_url: str) -> AsyncIterator[Two]:
    async with harness.open_services(shared_url) as one, harness.open_services(shared_url) as other:
        yield Two(one, other)


async def test_a_lease_has_one_holder_until_it_runs_out(services: Services) -> None:
    """Whoever has it may renew it, nobody else may take it, until its time is over by the database's clock."""
    store = services.store
    assert await leases.take(store, JOBS, "one", LASTS)
    assert await leases.take(store, JOBS, "one", LASTS)
    assert not await leases.take(store, JOBS, "other", LASTS)
    await store.fast_forward(LASTS)
    assert await leases.take(store, JOBS, "other", LASTS)
    assert not await leases.take(store, JOBS, "one", LASTS)


async def test_a_lease_that_is_handed_over_is_free_at_once(services: Services) -> None:
    """Giving it back lets the next one in; giving back what one does not hold changes nothing."""
    store = services.store
    assert await leases.take(store, JOBS, "one", LASTS)
    await leases.hand_over(store, JOBS, "other")
    assert not await leases.take(store, JOBS, "other", LASTS)
    await leases.hand_over(store, JOBS, "one")
    assert await leases.take(store, JOBS, "other", LASTS)


async def test_a_lease_that_is_free_is_taken_by_one_of_many(two: Two) -> None:
    """Of many who ask for a free lease at the same moment one is given it, the very first time and later."""
    for _ in range(2):
        stores = (two.one.store, two.other.store) * 8
        taken = await asyncio.gather(*(leases.take(store, JOBS, new_id(), LASTS) for store in stores))
        assert sum(taken) == 1
        await two.one.store.fast_forward(LASTS)
        await two.other.store.follow_clock()


async def test_whoever_can_not_renew_stops_before_anybody_else_may_begin(two: Two) -> None:
    """Work is cancelled a margin before the row runs out, even if nothing was ever heard from the database again."""
    now = [100.0]
    held = Lease(two.one.store, JOBS, "one", clock=lambda: now[0])
    began, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    working = asyncio.create_task(held.while_held(work))
    keeping = asyncio.create_task(held.keep())
    await asyncio.wait_for(began.wait(), 10)
    assert held.is_held()
    now[0] += LASTS_S - MARGIN_S
    assert not held.is_held()
    keeping.cancel()
    assert not await leases.take(two.other.store, JOBS, "other", LASTS)
    await held.hand_over()
    await asyncio.wait_for(ended.wait(), 10)
    assert await leases.take(two.other.store, JOBS, "other", LASTS)
    working.cancel()
    await asyncio.gather(working, keeping, return_exceptions=True)


async def test_a_lease_of_before_the_clock_was_set_back_is_nobodys(two: Two) -> None:
    """A row that ends in a day and is not renewed keeps nobody away for longer than a lease lasts; others do."""
    now = [100.0]
    store, other = two.one.store, two.other.store
    assert await leases.take(other, JOBS, "gone", LASTS)
    for speaks in (store, other):
        await speaks.follow_clock()
    await store.fast_forward(-timedelta(days=1))
    await other.follow_clock()
    claim = Claim(store, JOBS, "one", clock=lambda: now[0])
    assert not await claim.ask()
    now[0] += LASTS_S
    assert not await claim.ask()
    assert await leases.take(other, JOBS, "gone", LASTS), "it was alive, and says so"
    now[0] += LASTS_S
    assert not await claim.ask()
    now[0] += LASTS_S + MARGIN_S + 0.1
    assert await claim.ask()
    assert not await leases.take(other, JOBS, "gone", LASTS)


async def test_processes_that_would_not_hear_each_other_are_refused(two: Two) -> None:
    """Beside one without Redis nobody may serve, beside some with Redis only others with it; errors say what to do."""
    for has_bus in (True, False):
        await check_company(two.one.store, "one", has_bus=has_bus)
        keeping = asyncio.create_task(keep_company(two.one.store, "one", has_bus=has_bus))
        if has_bus:
            await check_company(two.other.store, "other", has_bus=True)
        for refused in {False, not has_bus}:
            with pytest.raises(Misconfigured, match="Set REDIS_URL"):
                await check_company(two.other.store, "other", has_bus=refused, again_s=0.05)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await two.one.store.fast_forward(LASTS)
        await two.other.store.follow_clock()


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ({"workers": 2}, "DATABASE_URL=postgresql"),
        ({"role": "jobs"}, "DATABASE_URL=postgresql"),
        ({"workers": 2, "redis_url": "redis://localhost"}, "DATABASE_URL=postgresql"),
        ({"workers": 2, "database_url": "postgresql+asyncpg://there/db"}, "REDIS_URL=redis"),
        ({"role": "hub", "database_url": "postgresql+asyncpg://there/db"}, "REDIS_URL=redis"),
        ({"redis_url": "localhost:6379"}, "begins with redis://"),
    ],
)
def test_several_processes_without_what_they_need_are_refused(given: dict[str, object], advice: str) -> None:
    """More than one process on SQLite, or without Redis, does not start, and the error says what to set."""
    with pytest.raises(Misconfigured, match=advice):
        load_settings(**given)


async def test_a_hub_takes_messages_and_only_jobs_calls_people(shared_url: str) -> None:
    """A process of role hub never holds the lease; one of role jobs, without a port, makes its calls."""
    given = {"redis_url": "redis://localhost:1"}
    listener = harness.bind("127.0.0.1", 0)
    stop = asyncio.Event()
    async with (
        harness.open_services(shared_url, role="hub", **given) as hub,
        harness.open_services(shared_url, role="jobs", **given) as jobs,
    ):
        serving = [
            asyncio.create_task(serve_edges(hub, listener, stop, drain_s=0.1, name="hub")),
            asyncio.create_task(serve_edges(jobs, None, stop, drain_s=0.1, name="jobs")),
        ]
        try:
            room = await make_room(hub, RoomKind.COMMUNITY, "The porch", "Quiet talk")
            sam = await harness.staff(hub, "Sam", Role.MODERATOR)
            await hub.store.write(
                lambda tx: insert_shift(tx, sam.account, Role.MODERATOR, tx.now, tx.now + timedelta(hours=1))
            )
            robin = await harness.member(hub, "Robin")
            await belong(hub, robin, room)
            await post_message(hub, robin, Send(client_id=new_id(), feed=room, body=URGENT))
            async with asyncio.timeout(10):
                while True:
                    states = await hub.store.read(lambda conn: conn.execute(select(notice.c.state)).scalars().all())
                    if states and set(states) == {"sent"}:
                        break
                    await asyncio.sleep(0.05)
            holders = dict(await hub.store.read(lambda conn: conn.execute(select(lease.c.name, lease.c.holder)).all()))
            assert holders[JOBS] == "jobs"
        finally:
            stop.set()
            await asyncio.wait_for(asyncio.gather(*serving), 20)
            with contextlib.suppress(OSError):
                listener.close()
