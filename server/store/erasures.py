"""The ledger of erasures: which data keys were destroyed, kept outside the database and outside every backup.

An erasure is written here and flushed before the key is destroyed in the database, so that a restore can destroy it
again: a backup from before would bring back what somebody had a right to have erased. One JSON object a line; a last
line without its end was never flushed, so its key was not destroyed, and the next writer takes it away.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
from sqlalchemy import update

from server.clock import from_us
from server.errors import Misconfigured
from server.store.schema import data_key
from server.store.unit import Tx


class Erasure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The data key `key` was destroyed at `at_us`, microseconds since 1970."""

    key: str
    at_us: int


def make_ledger(path: Path) -> None:
    """Make an empty ledger, its owner's alone, unless there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))


def append_erasures(path: Path, erasures: Sequence[Erasure]) -> None:
    """Write the erasures to the ledger and return once the disk has them."""
    make_ledger(path)
    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
        file.seek(whole)
        file.write(b"".join(msgspec.json.encode(erasure) + b"\n" for erasure in erasures))
        file.flush()
        os.fsync(file.fileno())


def read_erasures(path: Path) -> list[Erasure]:
    """Every erasure, in the order of writing.

    Raises:
        Misconfigured: there is no ledger, or a line of it can not be read: then nobody knows what must stay erased.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError:
        raise Misconfigured(
            f"The erasure ledger {path.name} can not be read. Put it back (EVENKEEL_ERASURE_LEDGER).",
            code="no_ledger",
            field="erasure_ledger",
        ) from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(msgspec.json.decode(line, type=Erasure))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise Misconfigured(
                f"Line {number} of the erasure ledger {path.name} is damaged. Put a whole copy back.",
                code="damaged_ledger",
                field="erasure_ledger",
            ) from None
    return found


def destroy_keys(tx: Tx, erasures: Sequence[Erasure]) -> int:
    """Destroy the keys of these erasures that are still whole; returns how many there were."""
    destroyed = 0
    for erasure in erasures:
        whole = (data_key.c.id == erasure.key) & data_key.c.wrapped.is_not(None)
        gone = {"wrapped": None, "destroyed_at": from_us(erasure.at_us)}
        destroyed += tx.conn.execute(update(data_key).where(whole).values(**gone)).rowcount
    return destroyed
