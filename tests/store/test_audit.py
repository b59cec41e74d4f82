"""The audit shows every tampering: chains, seals and signed heads, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, delete, insert, select, update

from ops.torture.tamper import KINDS, tampered
from server.actions.auditing import keep_heads, last_midnight, sign_head_now
from server.actions.services import Services
from server.ids import new_id
from server.store.audit import HEADS, PUBLISHED, Report, check, heads_of, rows_of, verify
from server.store.batch import audit_hash
from server.store.heads import read_published
from server.store.schema import audit, audit_head
from server.store.seals import AuditKey
from server.store.unit import AuditEntry, Tx
from tests import harness

SLICE = 150


async def leave_rows(services: Services, count: int) -> None:
    for n in range(count):
        entry = AuditEntry(f"act_{n}", "case", new_id(), new_id(), new_id() if n % 2 else None, "detail")
        await services.store.write(lambda tx, entry=entry: tx.audit(entry))


async def report(services: Services, *, published: bool = True) -> Report:
    kept = read_published(services.settings.heads_folder) if published else None
    return await services.store.read(lambda conn: verify(conn, services.store.audit_key.public, kept))


async def test_a_sound_audit_is_sound(services: Services) -> None:
    """Rows of several processes and heads of several days have no break, and what no head binds yet is counted."""
    await leave_rows(services, 5)
    assert await keep_heads(services) == 1
    assert await keep_heads(services) is None
    await harness.fast_forward(services, timedelta(days=1))
    await leave_rows(services, 5)
    assert await keep_heads(services) == 2
    await leave_rows(services, 3)
    found = await report(services)
    assert found.breaks == ()
    assert (found.heads, found.rows, found.chains) == (2, 15, 1)
    # The row about a head comes behind what the head binds.
    assert found.uncovered == 4
    assert len(read_published(services.settings.heads_folder)) == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_tampering_is_found(services: Services, kind: str) -> None:
    """Every column changed, rows taken out, put in, changed over and cut off, with hashes worked out anew or not."""
    await leave_rows(services, 12)
    await keep_heads(services)
    await leave_rows(services, 4)
    await sign_head_now(services, "operator:test", new_id())
    rows, heads = await services.store.read(lambda conn: (list(rows_of(conn)), heads_of(conn)))
    published = read_published(services.settings.heads_folder)
    public = services.store.audit_key.public
    for seed in range(SLICE // len(KINDS)):
        there = tampered(rows, heads, kind, seed)
        assert check(there.rows, there.heads, public, published).breaks, there.what


async def test_a_change_in_the_database_itself_is_found(services: Services) -> None:
    """Each column of a stored row, changed by SQL with its hash worked out anew, is found where it lies."""
    await leave_rows(services, 6)
    columns = [c.name for c in audit.columns if c.name not in ("writer", "n", "prev", "hash", "seal")]

    def change(conn: Connection, name: str) -> None:
        row = conn.execute(select(audit).where(audit.c.n == 4)).one()
        value = row.at + timedelta(microseconds=1) if name == "at" else "changed"
        fields = dict(row._mapping) | {name: value}
        entry = AuditEntry(*(fields[f] for f in ("act", "subject_kind", "subject", "request_id", "actor", "detail")))
        at_us = (fields["at"] - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        digest = audit_hash(bytes(row.prev), row.writer, row.n, at_us, entry)
        conn.execute(update(audit).where(audit.c.n == 4).values(**{name: value, "hash": digest}))

    for name in columns:

        def tamper(tx: Tx, name: str = name) -> None:
            change(tx.conn, name)
            raise _Undone(verify(tx.conn, services.store.audit_key.public))

        found = await undone(services, tamper)
        assert [(b.n, b.what) for b in found.breaks] == [(4, "seal")], name


async def test_a_cut_end_is_found_by_the_head_in_the_database(services: Services) -> None:
    """The last rows that a head binds, taken away, are missed at their place."""
    await leave_rows(services, 6)
    await keep_heads(services)

    def cut(tx: Tx) -> None:
        tx.conn.execute(delete(audit).where(audit.c.n > 4))
        raise _Undone(verify(tx.conn, services.store.audit_key.public))

    found = await undone(services, cut)
    assert (5, "cut off") in [(b.n, b.what) for b in found.breaks]


async def test_a_head_taken_away_with_its_rows_is_found_by_its_file(services: Services) -> None:
    """Whoever cuts the rows, the head and the row about it leaves a database that the published file contradicts."""
    await leave_rows(services, 6)
    await keep_heads(services)
    published = read_published(services.settings.heads_folder)

    def cut(tx: Tx) -> None:
        tx.conn.execute(delete(audit).where(audit.c.n > 4))
        tx.conn.execute(delete(audit_head))
        assert verify(tx.conn, services.store.audit_key.public).breaks == ()
        raise _Undone(verify(tx.conn, services.store.audit_key.public, published))

    found = await undone(services, cut)
    assert [(b.writer, b.n, b.what) for b in found.breaks] == [(PUBLISHED, 1, "unknown")]


async def test_a_head_taken_away_alone_is_found_by_its_row(services: Services) -> None:
    """Each head has a row in the chains, which says so when the head is gone."""
    await leave_rows(services, 2)
    await keep_heads(services)

    def cut(tx: Tx) -> None:
        tx.conn.execute(delete(audit_head))
        raise _Undone(verify(tx.conn, services.store.audit_key.public))

    found = await undone(services, cut)
    assert [(b.writer, b.n, b.what) for b in found.breaks] == [(HEADS, 1, "missing")]


async def test_rows_sealed_by_another_key_are_found(services: Services) -> None:
    """A whole chain written anew by somebody with a key of their own does not hold."""
    await leave_rows(services, 3)
    other = AuditKey(b"another key of thirty-two bytes.")
    found = await services.store.read(lambda conn: verify(conn, other.public))
    assert [(b.n, b.what) for b in found.breaks] == [(1, "seal")]


async def test_the_earliest_break_comes_first(services: Services) -> None:
    """Of several broken chains the report begins with the one that was sound for the shortest time."""
    await leave_rows(services, 4)

    def spoil(tx: Tx) -> None:
        chain = {"at": tx.now, "act": "x", "subject_kind": "x", "subject": "x", "detail": "", "request_id": "x"}
        tx.conn.execute(insert(audit).values(writer="Z", n=1, prev=bytes(32), hash=bytes(32), seal=bytes(64), **chain))
        tx.conn.execute(update(audit).where(audit.c.n == 3).values(detail="changed"))
        raise _Undone(verify(tx.conn, services.store.audit_key.public))

    found = await undone(services, spoil)
    assert [(b.writer == "Z", b.n, b.what) for b in found.breaks] == [(True, 1, "hash"), (False, 3, "hash")]


def test_midnight_is_londons() -> None:
    """In summer the day of the audit begins an hour before midnight UTC."""
    summer = datetime(2026, 7, 1, 23, 30, tzinfo=UTC)
    assert last_midnight(summer) == datetime(2026, 7, 1, 23, 0, tzinfo=UTC)
    assert last_midnight(summer - timedelta(hours=1)) == datetime(2026, 6, 30, 23, 0, tzinfo=UTC)


async def test_a_published_head_that_was_changed_is_found(services: Services) -> None:
    """A file of the folder that is no head any more is a break, not an error."""
    await leave_rows(services, 2)
    await keep_heads(services)
    (place,) = services.settings.heads_folder.iterdir()
    for content in (
        "",
        "{}",
        place.read_text().replace("at", "ta", 1),
        place.read_text().replace('"seal": "', '"seal": "00'),
    ):
        place.write_text(content)
        found = await report(services)
        assert [b.writer for b in found.breaks] == [PUBLISHED], content


class _Undone(Exception):
    """Undoes a tampering and carries what the check found of it."""

    def __init__(self, found: Report) -> None:
        super().__init__("undone")
        self.found = found


async def undone(services: Services, tamper: object) -> Report:
    """What the check found of a tampering that is then undone."""
    with pytest.raises(Exception) as caught:
        await services.store.write(tamper)  # type: ignore[arg-type]
    cause = caught.value.__cause__
    assert isinstance(cause, _Undone)
    return cause.found
