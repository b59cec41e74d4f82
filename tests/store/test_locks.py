"""Two processes that write to the same rows at once: on PostgreSQL, one order of locks keeps them from a deadlock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial

import asyncpg
from sqlalchemy import insert, select, text, update
from sqlalchemy.engine import make_url

from moderation.types import Role
from server.actions.accounts import sign_in
from server.actions.escalation import OutsideCalls, climb
from server.actions.reports import ask_for_help
from server.actions.rights import set_role
from server.actions.services import Services
from server.actions.sessions import issue_ticket, keep_alive, sign_out_everywhere
from server.auth.requester import Requester
from server.errors import Conflict, NotSignedIn, Refused
from server.ids import new_id
from server.notify import Delivery, Notice
from server.protocol.frames import Help
from server.store.cases import CLAIM_FOR
from server.store.feeds import heads
from server.store.migrate import TEST, prepare_database
from server.store.schema import account, event, feed, notice
from server.store.store import Store, open_store
from server.store.unit import Tx
from tests import harness
from tests.path.scene import client_id, on_shift
from tests.servers import PostgresServer

FEEDS = 6
UNITS = 60


async def deadlocks(url: str) -> int:
    """How many deadlocks PostgreSQL has resolved in this database, once nobody else is connected to it."""
    parts = make_url(url)
    connection = await asyncpg.connect(
        dsn=parts.set(drivername="postgresql").render_as_string(hide_password=False), timeout=10
    )
    try:
        query = "SELECT numbackends, deadlocks FROM pg_stat_database WHERE datname = $1"
        deadline = time.monotonic() + 10
        while True:
            row = await connection.fetchrow(query, parts.database)
            if row["numbackends"] <= 1:
                return int(row["deadlocks"])
            assert time.monotonic() < deadline, "the writers' connections did not end"
    finally:
        await connection.close()


async def test_two_writers_never_deadlock_on_the_same_feeds(postgres_server: PostgresServer) -> None:
    """Units that name the same feeds in opposite orders, from two writers at once, all commit at the first attempt."""
    url = postgres_server.create_database()
    try:
        await prepare_database(url, TEST)
        names = [f"room:{new_id()}" for _ in range(FEEDS)]
        one = await open_store(url, bytes(range(32)), kind=TEST)
        other = await open_store(url, bytes(range(32)), kind=TEST)

        def make(tx: Tx) -> None:
            tx.conn.execute(insert(feed), [{"id": name, "epoch": 1, "seq": 0, "version": 1} for name in names])

        await one.write(make)

        async def hammer(store: Store, order: list[str]) -> None:
            def unit(tx: Tx) -> None:
                for name in order:
                    tx.append(name, "test", new_id())

            # One after the other: each is a batch of its own, and meets the other writer's.
            for _ in range(UNITS):
                await store.write(unit, order)

        await asyncio.gather(hammer(one, names), hammer(other, names[::-1]))
        found = await one.read(lambda conn: heads(conn, names))
        rows = await one.read(
            lambda conn: conn.execute(select(event.c.feed, event.c.seq).order_by(event.c.feed, event.c.seq)).all()
        )
        await one.close()
        await other.close()
        assert {name: found[name].seq for name in names} == dict.fromkeys(names, 2 * UNITS)
        assert [tuple(row) for row in rows] == [(name, n) for name in sorted(names) for n in range(1, 2 * UNITS + 1)]
        assert await deadlocks(url) == 0
    finally:
        postgres_server.drop_database(url)


async def test_two_processes_never_deadlock_over_the_same_people(postgres_server: PostgresServer) -> None:
    """Signing in, tickets, use, roles and the end of sessions: in opposite orders at once, nobody waits in a circle."""
    url = postgres_server.create_database(harness.postgres_template(postgres_server))
    try:
        async with harness.open_services(url) as one, harness.open_services(url) as other:
            people = [await harness.member(one, f"Robin {n}") for n in range(FEEDS)]

            async def change(services: Services, order: Sequence[Requester]) -> None:
                for n in range(8):
                    # All in one turn of the loop: these are one batch, in this order.
                    does = [keep_alive(services, [who.session for who in order])]
                    for who in order:
                        does += [
                            issue_ticket(services, who),
                            set_role(services, None, who.account, Role.MEMBER if n % 2 else Role.MODERATOR),
                            sign_out_everywhere(services, who),
                        ]
                    await asyncio.gather(*does)
                    for done in await asyncio.gather(
                        *(sign_in(services, harness.origin(), who.name, harness.PASSWORD) for who in order),
                        return_exceptions=True,
                    ):
                        # The other process may have changed the account while the password was compared.
                        assert not isinstance(done, BaseException) or isinstance(done, NotSignedIn | Conflict | Refused)

            await asyncio.gather(change(one, people), change(other, people[::-1]))
            versions = await one.store.read(
                lambda conn: (
                    conn.execute(select(account.c.version).where(account.c.name.like("Robin %"))).scalars().all()
                )
            )
            assert versions == [1 + 16] * FEEDS
        assert await deadlocks(url) == 0
    finally:
        postgres_server.drop_database(url)


class Phone:
    """An outside channel that remembers the calls made by it, and hangs if told."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.calls: list[str] = []
        self.freed = asyncio.Event()
        if not hangs:
            self.freed.set()

    async def send(self, call: Notice) -> Delivery:
        self.calls.append(call.id)
        await self.freed.wait()
        return Delivery.SENT


async def test_two_processes_make_each_call_once(postgres_server: PostgresServer) -> None:
    """Both climb the same ladders at once, all the time: every page and every outside call is made by one of them."""
    url = postgres_server.create_database(harness.postgres_template(postgres_server))
    try:
        async with harness.open_services(url) as one, harness.open_services(url) as other:
            phone = Phone()
            for services in (one, other):
                services.notifiers["phone"] = phone
            sam = await harness.staff(one, "Sam", Role.MODERATOR)
            await on_shift(one, sam)
            people = [await harness.member(one, f"Robin {n}") for n in range(FEEDS)]

            async def call_and_climb(services: Services, order: Sequence[Requester]) -> int:
                failures = 0
                for _ in range(5):
                    calls = (ask_for_help(services, who, Help(client_id=client_id()), new_id()) for who in order)
                    await asyncio.gather(*calls, climb(services))
                    failures += (await climb(services)).failures
                return failures

            done = await asyncio.gather(call_and_climb(one, people), call_and_climb(other, people[::-1]))
            assert done == [0, 0]
            await climb(one)
            made = await one.store.read(lambda conn: conn.execute(select(notice)).all())
            inbox = f"inbox:{sam.account}"
            rung = await one.store.read(
                lambda conn: (
                    conn.execute(select(event.c.ref).where(event.c.feed == inbox, event.c.kind == "page"))
                    .scalars()
                    .all()
                )
            )
        sent = [row for row in made if row.state == "sent"]
        newest: dict[tuple[str, str, str], int] = {}
        for row in sent:
            key = (row.obligation, row.recipient, row.channel)
            newest[key] = max(row.cycle, newest.get(key, 0))
        # A call that the other process overtook, before it was made, with a newer one to the same person is not made.
        overtaken = [row for row in made if row.state != "sent"]
        assert {row.state for row in overtaken} <= {"failed"}
        assert all(newest[row.obligation, row.recipient, row.channel] > row.cycle for row in overtaken)
        assert sorted(phone.calls) == sorted(row.id for row in sent if row.channel == "phone")
        assert sorted(rung) == sorted(row.id for row in sent if row.channel == "page")
        assert len(rung) >= FEEDS
        assert await deadlocks(url) == 0
    finally:
        postgres_server.drop_database(url)


async def test_a_call_taken_by_a_process_that_died_is_made_by_another(postgres_server: PostgresServer) -> None:
    """Until its lease ends nobody else makes it, after that somebody does: a call is never not made."""
    url = postgres_server.create_database(harness.postgres_template(postgres_server))
    try:
        async with harness.open_services(url) as other:
            dying, living = Phone(hangs=True), Phone()
            other.notifiers["phone"] = living
            async with harness.open_services(url) as one:
                one.notifiers["phone"] = dying
                await on_shift(one, await harness.staff(one, "Sam", Role.MODERATOR))
                robin = await harness.member(one, "Robin")
                await ask_for_help(one, robin, Help(client_id=client_id()), new_id())
                outside = OutsideCalls()
                await climb(one, outside)
                await outside.close()
            await climb(other)
            assert (len(dying.calls), living.calls) == (1, [])
            await harness.fast_forward(other, CLAIM_FOR)
            await climb(other)
            assert living.calls == dying.calls
    finally:
        postgres_server.drop_database(url)


async def test_a_call_that_a_newer_one_overtakes_under_way_is_recorded_as_made(postgres_server: PostgresServer) -> None:
    """Whoever reads a case's history reads of every call that rang, also of one that lasted until the next."""
    url = postgres_server.create_database(harness.postgres_template(postgres_server))
    try:
        async with harness.open_services(url) as one:
            one.notifiers["phone"] = phone = Phone(hangs=True)
            await on_shift(one, await harness.staff(one, "Sam", Role.MODERATOR))
            robin = await harness.member(one, "Robin")
            outside = OutsideCalls()
            for _ in range(2):
                await ask_for_help(one, robin, Help(client_id=client_id()), new_id())
                await climb(one, outside)
            assert len(outside.under_way) == 2
            phone.freed.set()
            assert await outside.wait(10) == 0
            states = await one.store.read(
                lambda conn: conn.execute(select(notice.c.id, notice.c.state).where(notice.c.channel == "phone")).all()
            )
        assert sorted(phone.calls) == sorted(row.id for row in states)
        assert [row.state for row in states] == ["sent", "sent"]
    finally:
        postgres_server.drop_database(url)


async def test_a_deadlock_loses_nothing(postgres_server: PostgresServer) -> None:
    """Where two batches do wait for each other, PostgreSQL ends one; it is run again, and each unit is kept once."""
    url = postgres_server.create_database(harness.postgres_template(postgres_server))
    try:
        async with harness.open_services(url) as one, harness.open_services(url) as other:
            ids = [(await harness.member(one, name)).account for name in ("Robin", "Wren", "Finch")]

            def more(tx: Tx, which: str, wait_s: float = 0) -> None:
                # Names no feed, which no action may do.
                tx.conn.execute(update(account).where(account.c.id == which).values(version=account.c.version + 1))
                tx.conn.execute(text("SELECT pg_sleep(:s)"), {"s": wait_s})

            def batch(services: Services, first: str, second: str) -> list[asyncio.Future[None]]:
                return [
                    asyncio.ensure_future(services.store.write(unit))
                    for unit in (
                        partial(more, which=first, wait_s=0.5),
                        *(partial(more, which=i) for i in (second, ids[2])),
                    )
                ]

            await asyncio.gather(*batch(one, ids[0], ids[1]), *batch(other, ids[1], ids[0]))
            found = await one.store.read(
                lambda conn: conn.execute(select(account.c.version).where(account.c.id.in_(ids))).scalars().all()
            )
        assert found == [3, 3, 3]
        assert await deadlocks(url) >= 1
    finally:
        postgres_server.drop_database(url)
