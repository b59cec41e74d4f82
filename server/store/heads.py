"""Signed heads of the audit: where each chain ended at a moment, under a seal, in the database and in files beside it.

A head names the chains that moved since the one before, and that one by its digest, so that the newest binds all. Its
content is JSON, in one spelling. A file holds the same and the seal; its name says which it is, and once written it is
never written again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Row, func, insert, select

from server.errors import Misconfigured
from server.ids import new_id
from server.store.audit import HeadRow, digest_of
from server.store.schema import audit, audit_head
from server.store.seals import AuditKey, Sealed
from server.store.unit import AuditEntry, Tx

PATTERN: Final = "audit-head-*.json"


def newest(conn: Connection) -> Row[Any] | None:
    """The last head that was signed, or None."""
    return conn.execute(select(audit_head).order_by(audit_head.c.n.desc()).limit(1)).one_or_none()


def sign_head(tx: Tx, key: AuditKey) -> HeadRow:
    """Bind the end of every chain as this transaction sees it, and leave the row of the audit that says so."""
    last = newest(tx.conn)
    ends = _ends(tx.conn)
    bound = _bound(tx.conn)
    said = {
        "kind": str(Sealed.HEAD),
        "n": 1 if last is None else last.n + 1,
        "at": tx.now_us,
        "prev": "" if last is None else digest_of(last.content),
        "key": key.public.hex(),
        "chains": {writer: end for writer, end in ends.items() if bound.get(writer) != end[0]},
    }
    content = json.dumps(said, sort_keys=True, separators=(",", ":"))
    head = HeadRow(said["n"], tx.now_us, content, key.seal(Sealed.HEAD, content.encode()))
    tx.conn.execute(insert(audit_head).values(n=head.n, at=tx.now, content=content, seal=head.seal))
    tx.audit(AuditEntry("audit_head", "audit_head", str(head.n), new_id(), None, digest_of(content)[:40]))
    return head


def _ends(conn: Connection) -> dict[str, list[Any]]:
    """[n, hash] of the last row of each chain."""
    last = select(audit.c.writer, func.max(audit.c.n).label("n")).group_by(audit.c.writer).subquery()
    query = (
        select(audit.c.writer, audit.c.n, audit.c.hash)
        .join(last, (last.c.writer == audit.c.writer) & (last.c.n == audit.c.n))
        .order_by(audit.c.writer)
    )
    return {row.writer: [row.n, bytes(row.hash).hex()] for row in conn.execute(query)}


def _bound(conn: Connection) -> dict[str, int]:
    """How far each chain is bound by the heads so far."""
    done: dict[str, int] = {}
    for content in conn.execute(select(audit_head.c.content).order_by(audit_head.c.n)).scalars():
        done |= {writer: end[0] for writer, end in json.loads(content)["chains"].items()}
    return done


def file_name(head: HeadRow) -> str:
    """Of two heads with one number (of before and after a restore) each has its own."""
    return f"audit-head-{head.n:06d}-{digest_of(head.content)[:12]}.json"


def publish(folder: Path, head: HeadRow) -> bool:
    """Write a head to its file in `folder`; False if it is there already. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / file_name(head)
    if place.exists():
        return False
    part = place.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        json.dump({"content": head.content, "seal": bytes(head.seal).hex()}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    part.rename(place)
    return True


def read_published(folder: Path) -> Mapping[str, HeadRow]:
    """The heads of a folder by the name of their file; one that can not be read is there, and is none.

    Raises:
        Misconfigured: the folder can not be read.
    """
    try:
        return {place.name: _read(place) for place in sorted(folder.glob(PATTERN))}
    except OSError as error:
        raise Misconfigured(
            f"The folder of signed heads can not be read ({error.strerror}).", field="audit_heads"
        ) from None


def _read(place: Path) -> HeadRow:
    try:
        kept = json.loads(place.read_text(encoding="utf-8"))
        said = json.loads(kept["content"])
        return HeadRow(said["n"], said["at"], kept["content"], bytes.fromhex(kept["seal"]))
    except (ValueError, KeyError, TypeError):
        return HeadRow(None, None, None, None)
