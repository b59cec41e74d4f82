"""What the store promises, on both databases: sealing, clocks, units, migrations, the audit chain."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.exc import StatementError

from moderation.types import RoomKind
from server.actions.rooms import make_room
from server.actions.services import Services
from server.clock import ClockMapping
from server.errors import Conflict, Misconfigured
from server.ids import STAFF_MODERATION, new_id
from server.protocol.frames import Done
from server.store import feeds
from server.store.commands import first_answer, keep_answer
from server.store.keys import Realm, Retention
from server.store.schema import audit, data_key, message, metadata, rota_row
from server.store.unit import AuditEntry, Tx
from tests.harness import fast_forward, member
from tests.path.scene import CLEAN, make_scene


async def test_the_migrations_make_exactly_the_schema(services: Services) -> None:
    """A migrated database and the tables in the code do not differ."""

    def differences(conn: Connection) -> list[object]:
        context = MigrationContext.configure(conn, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))

    assert await services.store.read(differences) == []


async def test_a_naive_time_is_refused_by_the_column(services: Services) -> None:
    """A datetime without a zone can not be stored."""
    who = await member(services, "Robin")
    naive = datetime(2026, 11, 23, 10, 0)  # noqa: DTZ001 - the mistake that is refused

    def unit(tx: Tx) -> None:
        with pytest.raises(StatementError):
            tx.conn.execute(
                insert(rota_row).values(n=1, id=new_id(), kind="extra", at=tx.now, account=who.account, ends_at=naive)
            )

    await services.store.write(unit)


async def test_times_come_back_aware_and_exact(services: Services) -> None:
    """What is stored to the microsecond comes back to the microsecond, in UTC."""
    who = await member(services, "Robin")
    moment = datetime(2027, 3, 28, 0, 59, 59, 999_999, tzinfo=UTC)
    await services.store.write(
        lambda tx: (
            tx.conn.execute(
                insert(rota_row).values(
                    n=1, id=new_id(), kind="leave", at=tx.now, account=who.account, starts_at=moment, ends_at=moment
                )
            )
            and None
        )
    )
    assert await services.store.read(lambda c: c.execute(select(rota_row.c.starts_at)).scalar_one()) == moment


async def test_the_clock_of_the_store_is_the_mapped_one(services: Services) -> None:
    """The database's clock and the injected clock move together when the mapping does."""
    before = services.clock.now()
    await fast_forward(services, timedelta(days=3))
    seen = await services.store.write(lambda tx: tx.now)
    assert timedelta(days=3) <= seen - before < timedelta(days=3, seconds=30)
    assert abs(seen - services.clock.now()) < timedelta(seconds=30)


async def test_a_real_service_refuses_a_mapped_clock(services: Services) -> None:
    """Only a demonstration or a test may map its clock."""
    services.store.kind = "production"
    with pytest.raises(Misconfigured):
        await services.store.set_clock(ClockMapping(speed=60))


async def test_no_word_of_a_member_lies_in_the_database_in_the_open(services: Services) -> None:
    """The text of a message is nowhere in any row: only sealed."""
    scene = await make_scene(services)
    await scene.say(scene.robin, "xylophone canary text")

    def everything(conn: Connection) -> str:
        return "".join(
            repr(tuple(row)) for table in metadata.sorted_tables for row in conn.execute(select(table)).all()
        )

    assert "xylophone" not in await services.store.read(everything)


async def test_a_sealed_body_does_not_open_in_another_row(services: Services) -> None:
    """Two swapped ciphertexts are unreadable, and the room's history still renders around them."""
    scene = await make_scene(services)
    acks = [await scene.say(scene.robin, f"{CLEAN} {n}") for n in range(3)]

    def swap(tx: Tx) -> None:
        one, two = (
            tx.conn.execute(select(message.c.body).where(message.c.id == ack.message)).scalar_one() for ack in acks[:2]
        )
        tx.conn.execute(update(message).where(message.c.id == acks[0].message).values(body=two))
        tx.conn.execute(update(message).where(message.c.id == acks[1].message).values(body=one))

    await services.store.write(swap)
    views = [type(item.view).__name__ for item in await scene.items(scene.wren)]  # type: ignore[union-attr]
    assert views == ["Unreadable", "Unreadable", "Shown"]


async def test_destroying_a_key_erases_what_it_sealed_and_nothing_else(services: Services) -> None:
    """After the author's key is gone their messages keep their places, unreadable; others' stay."""
    scene = await make_scene(services)
    await scene.say(scene.robin, CLEAN)
    await scene.say(scene.wren, CLEAN)

    def destroy(tx: Tx) -> str:
        row = tx.conn.execute(
            select(data_key.c.id).where(
                data_key.c.subject == scene.robin.account, data_key.c.retention == Retention.COMMUNITY_POST
            )
        ).scalar_one()
        tx.conn.execute(update(data_key).where(data_key.c.id == row).values(wrapped=None, destroyed_at=tx.now))
        return str(row)

    services.store.keys.forget(await services.store.write(destroy))
    views = [type(item.view).__name__ for item in await scene.items(scene.wren)]  # type: ignore[union-attr]
    assert views == ["Unreadable", "Shown"]


async def test_one_subject_has_one_key_in_each_realm_and_class(services: Services) -> None:
    """Asking twice gives the same key; another realm gives another."""
    who = await member(services, "Robin")
    keys = services.store.keys

    def unit(tx: Tx) -> list[str]:
        return [
            keys.create(tx, who.account, realm, retention).id
            for realm, retention in (
                (Realm.COMMUNITY, Retention.COMMUNITY_POST),
                (Realm.COMMUNITY, Retention.COMMUNITY_POST),
                (Realm.CARE, Retention.CARE_RECORD),
            )
        ]

    first, again, other = await services.store.write(unit)
    assert first == again
    assert other != first


async def test_a_refused_unit_leaves_nothing_behind(services: Services) -> None:
    """What a unit wrote, logged and told before it was refused is undone, and its seq is given to the next."""
    scene = await make_scene(services)

    def refused(tx: Tx) -> None:
        tx.append(scene.feed, "message.new", new_id())
        tx.audit(AuditEntry("never", "room", scene.feed, new_id()))
        raise Conflict("planted")

    with pytest.raises(Conflict):
        await services.store.write(refused, [scene.feed])
    assert (await scene.say(scene.robin, CLEAN)).seq == 1
    acts = await services.store.read(lambda c: list(c.execute(select(audit.c.act)).scalars()))
    assert "never" not in acts


async def test_a_unit_can_not_append_to_a_feed_that_it_did_not_name(services: Services) -> None:
    """An unlocked feed has no head: the mistake is loud."""
    feed = await make_room(services, RoomKind.COMMUNITY, "Porch", "")

    def unit(tx: Tx) -> None:
        with pytest.raises(KeyError):
            tx.append(feed, "message.new", new_id())

    await services.store.write(unit, [STAFF_MODERATION])


async def test_a_command_is_answered_with_its_first_answer(services: Services) -> None:
    """The same client id gives the first answer; for another kind of command it is a conflict."""
    who = await member(services, "Robin")

    def unit(tx: Tx) -> tuple[Done | None, Done | None]:
        before = first_answer(tx, who.account, "command-01", "edit", Done)
        keep_answer(tx, who.account, "command-01", "edit", Done(re="command-01", version=7))
        with pytest.raises(Conflict):
            first_answer(tx, who.account, "command-01", "remove", Done)
        return before, first_answer(tx, who.account, "command-01", "edit", Done)

    assert await services.store.write(unit) == (None, Done(re="command-01", version=7))


async def test_a_read_cursor_never_moves_back(services: Services) -> None:
    """Cursors of slower devices do not undo what was read."""
    who = await member(services, "Robin")
    for seq in (5, 3, 9, 1):
        await services.store.write(lambda tx, seq=seq: feeds.move_cursor(tx, who.account, "room:X", seq))
    assert await services.store.read(lambda c: feeds.reading(c, who.account, "room:X")) == (9, 0)


async def test_units_of_two_services_on_one_database_interleave_without_gaps(
    services: Services, database_url: str
) -> None:
    """Two processes' writers on PostgreSQL give out one gapless order; on SQLite the second one is refused."""
    from tests import harness

    scene = await make_scene(services)
    if database_url.startswith("sqlite"):
        with pytest.raises(Misconfigured) as refused:
            async with harness.open_services(database_url):
                pass
        assert refused.value.error_code == "database_in_use"
        return
    async with harness.open_services(database_url) as second:
        from server.actions.post_message import post_message
        from server.protocol.frames import Send

        async def say(which: Services, n: int) -> int:
            send = Send(client_id=f"both-{id(which)}-{n}", feed=scene.feed, body=CLEAN)
            return (await post_message(which, scene.robin, send)).seq

        seqs = await asyncio.gather(*(say(which, n) for n in range(40) for which in (services, second)))
        assert sorted(seqs) == list(range(1, 81))


async def test_every_table_says_how_long_it_is_kept(services: Services) -> None:
    """Each table's comment names its retention, and PostgreSQL shows it to whoever looks."""
    assert all("retention" in (table.comment or "") or table.name == "data_key" for table in metadata.sorted_tables)
    await services.store.read(lambda c: c.execute(text("SELECT 1")).scalar_one())
