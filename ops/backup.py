"""`evenkeel backup` and `evenkeel restore`: one file, made beside the running service, loaded into an empty database.

A backup is written beside its place, flushed, read back whole, and only then given its name: a file of that name is a
whole one. A restore reads the whole file before it writes anything.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from server.actions.restoring import Reconciled, mapped_moment, reconcile
from server.admin.place import operator_name
from server.clock import Clock, real_us
from server.errors import Misconfigured, Refused, Unavailable
from server.ids import new_id
from server.settings import Settings, read_key
from server.store import migrate
from server.store.archive import ArchiveReader, ArchiveWriter, Head
from server.store.clock import db_now
from server.store.erasures import Erasure, read_erasures
from server.store.seals import AuditKey
from server.store.store import read_kind
from server.store.whole import columns_of, copied, copy_in, copy_out, fill_empty, read_snapshot

Say = Callable[[str], None]
SAY_EVERY: Final = 20_000


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was read back whole. `rows` by table, `size` in bytes."""

    head: Head
    rows: Counter[str]
    size: int


@dataclass(frozen=True, slots=True)
class Restored:
    """A database that was filled from a backup, `lost_s` seconds after that was made, and made fit to be served."""

    head: Head
    rows: Counter[str]
    lost_s: float
    reconciled: Reconciled


def back_up(settings: Settings, place: Path, say: Say = lambda line: None) -> Backup:
    """Write everything of the database to the new file `place`, beside whoever serves it.

    Everything that was acknowledged before this was called is in it.

    Raises:
        Refused: there is such a file already.
        Misconfigured: the key or the database can not be read, or is not of these settings.
        Unavailable: the disk took it and gave back something else.
    """
    key = read_key(settings.key_file)
    if place.exists():
        raise Refused(f"There is a file {place.name} already; it is not overwritten.", code="file_exists")
    erasures = len(read_erasures(settings.ledger)) if settings.ledger.exists() else 0
    part = place.with_name(f"{place.name}.part")
    try:
        with os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "w+b") as file:

            def copy(conn: Connection) -> ArchiveWriter:
                migrate.check(conn)
                kind = read_kind(conn)
                if kind != settings.kind:
                    raise Misconfigured(f"This is a {kind} database. Check DATABASE_URL.", code="wrong_kind")
                archive = ArchiveWriter(
                    file,
                    key,
                    backup=new_id(),
                    revision=migrate.newest(),
                    kind=kind,
                    taken_us=db_now(Clock())(conn),
                    tables={str(each.name): columns_of(each) for each in copied()},
                    erasures=erasures,
                )
                copy_out(conn, archive, _telling(say, "copied"))
                return archive

            archive = asyncio.run(read_snapshot(settings.database_url, copy))
            archive.close()
            file.flush()
            os.fsync(file.fileno())
            say("reading it back")
            if ArchiveReader(file, key).verify() != archive.rows:
                raise Unavailable("The backup could not be read back as it was written. Check the disk.")
            size = file.tell()
        os.link(part, place)  # unlike a rename, never over a file that came meanwhile
    except OSError as error:
        raise Misconfigured(f"The backup can not be written ({error.strerror}).", code="no_backup") from None
    finally:
        part.unlink(missing_ok=True)
    _flush_folder(place.absolute().parent)
    return Backup(archive.head, archive.rows, size)


def restore(settings: Settings, place: Path, say: Say = lambda line: None, *, nothing_erased: bool = False) -> Restored:
    """Fill the empty database of `settings` from the backup at `place`, and make it fit to be served.

    Args:
        nothing_erased: the operator's word that there is no ledger because nothing was ever erased.

    Raises:
        BadRequest: the file is no backup, or damaged; nothing was written.
        Refused: the database is not empty, or a service runs on it.
        Misconfigured: another key, another program, or no whole ledger of erasures.
    """
    key = read_key(settings.key_file)
    try:
        file = place.open("rb")
    except OSError as error:
        raise Misconfigured(f"The backup can not be read ({error.strerror}).", code="no_backup") from None
    with file:
        archive = ArchiveReader(file, key)
        _check_fits(archive.head, settings)
        erasures = _ledger(archive.head, settings, nothing_erased=nothing_erased)
        say("reading the whole backup")
        rows = archive.verify()

        def load(conn: Connection) -> Restored:
            copy_in(conn, archive, _telling(say, "restored", rows))
            say("making it fit to be served")
            taken_at = mapped_moment(conn, archive.head.taken_us)
            done = reconcile(conn, operator_name(os.geteuid()), archive.head.id, taken_at, erasures, AuditKey(key))
            return Restored(archive.head, rows, (real_us() - archive.head.taken_us) / 1e6, done)

        return asyncio.run(fill_empty(settings.database_url, settings.kind, load))


def _check_fits(head: Head, settings: Settings) -> None:
    if head.kind != settings.kind:
        raise Misconfigured(
            f"This is a backup of a {head.kind} database, not a {settings.kind} one.", code="wrong_kind"
        )
    if head.revision != migrate.newest() or head.tables != {str(each.name): columns_of(each) for each in copied()}:
        raise Misconfigured(
            f"This backup is of revision {head.revision}, this program's is {migrate.newest()}. Restore it with the "
            "program that made it, then run `evenkeel migrate` with this one.",
            code="wrong_revision",
        )


def _ledger(head: Head, settings: Settings, *, nothing_erased: bool) -> list[Erasure]:
    """What must be erased again. Raises Misconfigured where the ledger is not there, or shorter than the backup saw."""
    if nothing_erased and not settings.ledger.exists() and not head.erasures:
        return []
    erasures = read_erasures(settings.ledger)
    if len(erasures) < head.erasures:
        raise Misconfigured(
            f"The erasure ledger {settings.ledger.name} has {len(erasures)} lines, and had {head.erasures} when the "
            "backup was made. Put the newest copy of it back.",
            code="old_ledger",
            field="erasure_ledger",
        )
    return erasures


def _telling(say: Say, what: str, rows: Counter[str] | None = None) -> Callable[[str, int, int], None]:
    """Progress by table, at its end and now and then before."""
    said: dict[str, int] = {}

    def tell(table: str, done: int, total: int) -> None:
        whole = total if rows is None else rows[table]
        if whole and (done == whole or done - said.get(table, 0) >= SAY_EVERY):
            said[table] = done
            say(f"{table}: {done:,} of {whole:,} rows {what}")

    return tell


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
