"""The watchword lists in the store: versions, who signed them, and which of them is in force.

What is in force is the row of `word_activation` with the highest n. Whoever changes any of this takes `lock` first, so
that of two changes the second sees the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from server.ids import new_id
from server.store.schema import account, word_activation, word_signature, word_version
from server.store.unit import Tx

# The version that the program brought with it at the first start; its row is the lock of all of this.
FIRST: Final = "0" * 26


class State(StrEnum):
    """Where a version stands. Only a PROPOSED one is signed, changed or refused."""

    PROPOSED = "proposed"
    LIVE = "live"
    RETIRED = "retired"
    REFUSED = "refused"


class Origin(StrEnum):
    """Where a version came from."""

    SHIPPED = "shipped"
    RELEASE = "release"
    PROPOSAL = "proposal"


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A set of lists to be kept. `content` is packed; `change` says what it asks of `base`, as JSON."""

    origin: Origin
    base: str | None
    change: str
    content: bytes
    digest: str
    list_version: str
    reason: str
    proposed_by: str | None


@dataclass(frozen=True, slots=True)
class Live:
    """What is in force: the activation's number, and the version that it named."""

    n: int
    version: str
    digest: str
    list_version: str


_LIVE: Final = (
    select(word_activation.c.n, word_version.c.id, word_version.c.digest, word_version.c.list_version)
    .join(word_version, word_version.c.id == word_activation.c.word_version)
    .order_by(word_activation.c.n.desc())
    .limit(1)
)
_VERSIONS: Final[Select[Any]] = select(
    *[column for column in word_version.c if column.name != "content"], account.c.name.label("proposer")
).outerjoin(account, account.c.id == word_version.c.proposed_by)


def live(conn: Connection) -> Live | None:
    """What is in force; None before the first start."""
    row = conn.execute(_LIVE).one_or_none()
    return None if row is None else Live(*row)


def content(conn: Connection, version: str) -> bytes:
    """The packed documents of a version that exists."""
    return bytes(conn.execute(select(word_version.c.content).where(word_version.c.id == version)).scalar_one())


def lock(tx: Tx) -> None:
    """Let nobody else change versions or what is in force before this unit is committed."""
    tx.conn.execute(select(word_version.c.id).where(word_version.c.id == FIRST).with_for_update()).all()


def insert_first(tx: Tx, new: NewVersion) -> bool:
    """Keep the shipped lists and put them in force; False, and nothing happens, if there are lists already."""
    make = sqlite.insert if tx.conn.dialect.name == "sqlite" else postgresql.insert
    row = make(word_version).values(_row(tx, FIRST, new, State.LIVE))
    if not tx.conn.execute(row.on_conflict_do_nothing(index_elements=[word_version.c.id])).rowcount:
        return False
    activate(tx, FIRST, "start", None, new.reason)
    return True


def insert_version(tx: Tx, new: NewVersion) -> str:
    """Keep a proposed version; returns its id."""
    version = new_id()
    tx.conn.execute(insert(word_version).values(_row(tx, version, new, State.PROPOSED)))
    return version


def _row(tx: Tx, version: str, new: NewVersion, state: State) -> dict[str, Any]:
    return {
        "id": version,
        "origin": new.origin,
        "state": state,
        "base": new.base,
        "change": new.change,
        "content": new.content,
        "digest": new.digest,
        "list_version": new.list_version,
        "reason": new.reason,
        "proposed_by": new.proposed_by,
        "proposed_at": tx.now,
        "version": 1,
    }


def update_version(tx: Tx, row: Row[Any], **changes: object) -> None:
    """Change a version's row, and move its number on."""
    tx.conn.execute(update(word_version).where(word_version.c.id == row.id).values(version=row.version + 1, **changes))


def activate(tx: Tx, version: str, act: str, by: str | None, reason: str) -> int:
    """Put a version in force and the one before it out of force; returns the activation's number."""
    last = tx.conn.execute(select(func.max(word_activation.c.n))).scalar_one() or 0
    retired = update(word_version).where(word_version.c.state == State.LIVE, word_version.c.id != version)
    tx.conn.execute(retired.values(state=State.RETIRED))
    tx.conn.execute(update(word_version).where(word_version.c.id == version).values(state=State.LIVE))
    tx.conn.execute(
        insert(word_activation).values(n=last + 1, word_version=version, act=act, account=by, reason=reason, at=tx.now)
    )
    return int(last) + 1


def version_by_id(conn: Connection, version: str) -> Row[Any] | None:
    """A version with the name of whoever proposed it, without its content."""
    return conn.execute(_VERSIONS.where(word_version.c.id == version)).one_or_none()


def versions(conn: Connection, states: Sequence[State], most: int) -> Sequence[Row[Any]]:
    """The versions in these states, the newest first."""
    query = _VERSIONS.where(word_version.c.state.in_(states))
    return conn.execute(query.order_by(word_version.c.proposed_at.desc(), word_version.c.id.desc()).limit(most)).all()


def holds_digest(conn: Connection, digest: str) -> bool:
    """Whether any version, in force or not, has that content."""
    return conn.execute(select(word_version.c.id).where(word_version.c.digest == digest).limit(1)).first() is not None


def was_live(conn: Connection, version: str) -> bool:
    """Whether a version was ever in force."""
    query = select(word_activation.c.n).where(word_activation.c.word_version == version).limit(1)
    return conn.execute(query).first() is not None


def activations(conn: Connection, most: int) -> Sequence[Row[Any]]:
    """What was in force when, by whom and why, the newest first."""
    query = (
        select(word_activation, account.c.name, word_version.c.list_version, word_version.c.origin)
        .join(word_version, word_version.c.id == word_activation.c.word_version)
        .outerjoin(account, account.c.id == word_activation.c.account)
        .order_by(word_activation.c.n.desc())
    )
    return conn.execute(query.limit(most)).all()


def sign(tx: Tx, version: str, digest: str, role: str, by: str) -> None:
    """Keep a signature under that content."""
    tx.conn.execute(
        insert(word_signature).values(word_version=version, digest=digest, role=role, account=by, at=tx.now)
    )


def signatures(conn: Connection, version: str) -> Sequence[Row[Any]]:
    """Every signature under any content that a version has had, oldest first, with the name of who signed."""
    query = (
        select(word_signature, account.c.name)
        .outerjoin(account, account.c.id == word_signature.c.account)
        .where(word_signature.c.word_version == version)
        .order_by(word_signature.c.at, word_signature.c.role)
    )
    return conn.execute(query).all()
