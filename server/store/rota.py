"""The rota in the store: its rows, which are only ever added, and swaps that one person asks of another.

Whoever writes locks the rota first, so that what was checked still holds when it is written, and rows have one order.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Select, func, insert, or_, select, update

from moderation.rota_cover import Rota
from moderation.rota_rows import Cover, Extra, Leave, Pattern, RotaRow, Rotation, Skill, Withdrawn
from moderation.types import Role
from server.ids import new_id
from server.store.schema import account, instance, rota_row, rota_swap
from server.store.unit import Tx

# How far back a rota is loaded for what is asked of now and of the time to come.
BACK = timedelta(days=60)


class RowKind(StrEnum):
    """What a row of the rota says."""

    ROTATION = "rotation"
    EXTRA = "extra"
    COVER = "cover"
    LEAVE = "leave"
    SKILL = "skill"
    WITHDRAWN = "withdrawn"


class SwapState(StrEnum):
    """What became of a swap that was asked for."""

    ASKED = "asked"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


def lock_rota(tx: Tx) -> None:
    """Keep every other writer away from the rota until this transaction ends; feeds are locked before."""
    tx.conn.execute(select(instance.c.key).where(instance.c.key == "kind").with_for_update())


def rota_of(conn: Connection, since: datetime) -> Rota:
    """The rota as far as it says anything of the time from `since` on."""
    late = or_(rota_row.c.ends_at.is_(None), rota_row.c.ends_at > since)
    rows = conn.execute(select(rota_row).where(late).order_by(rota_row.c.n)).all()
    return Rota([_row(row) for row in rows])


def row_by_id(conn: Connection, row_id: str) -> RotaRow | None:
    """The row of that id, whatever its age; None if there is none."""
    found = conn.execute(select(rota_row).where(rota_row.c.id == row_id)).one_or_none()
    return None if found is None else _row(found)


def add_row(tx: Tx, kind: RowKind, by: str, *, row_id: str | None = None, **values: Any) -> RotaRow:
    """Write one row behind all others.

    `by` is an account, or names the operator; `content` is the pattern of a rotation, (held, until) of a skill.
    """
    lock_rota(tx)
    last = tx.conn.execute(select(func.max(rota_row.c.n))).scalar_one() or 0
    content = values.pop("content", None)
    packed = None if content is None else msgspec.json.encode(content).decode()
    given = {"n": last + 1, "id": row_id or new_id(), "kind": kind, "at": tx.now, "by": by, "content": packed}
    tx.conn.execute(insert(rota_row).values(**given, **values))
    return _row(tx.conn.execute(select(rota_row).where(rota_row.c.n == last + 1)).one())


def people(conn: Connection, roles: Sequence[Role]) -> Sequence[Row[Any]]:
    """(id, name, role) of the active accounts of these roles, by name."""
    query: Select[Any] = select(account.c.id, account.c.name, account.c.role).where(
        account.c.role.in_([role.value for role in roles]), account.c.state == "active"
    )
    return conn.execute(query.order_by(account.c.name)).all()


def names_of(conn: Connection, accounts: Sequence[str]) -> dict[str, str]:
    """The names of these accounts."""
    rows = conn.execute(select(account.c.id, account.c.name).where(account.c.id.in_(sorted(set(accounts)))))
    return {row.id: row.name for row in rows}


def _row(row: Row[Any]) -> RotaRow:
    match row.kind:
        case RowKind.ROTATION:
            return Rotation(row.n, row.at, row.rotation, msgspec.json.decode(row.content, type=Pattern))
        case RowKind.EXTRA:
            return Extra(row.n, row.at, row.account, Role(row.role), row.starts_at, row.ends_at)
        case RowKind.COVER:
            return Cover(row.n, row.at, row.account, row.other, Role(row.role), row.starts_at, row.ends_at)
        case RowKind.LEAVE:
            return Leave(row.n, row.at, row.account, row.starts_at, row.ends_at)
        case RowKind.SKILL:
            held, until = msgspec.json.decode(row.content, type=tuple[bool, datetime | None])
            return Skill(row.n, row.at, row.account, row.skill, held, until)
        case _:
            return Withdrawn(row.n, row.at, row.of)


# --- swaps ------------------------------------------------------------------------------------------------------------


def insert_swap(tx: Tx, **values: Any) -> str:
    """Ask somebody; returns the id of the swap."""
    swap = new_id()
    tx.conn.execute(insert(rota_swap).values(id=swap, state=SwapState.ASKED, asked_at=tx.now, **values))
    return swap


def swap_by_id(conn: Connection, swap: str) -> Row[Any] | None:
    return conn.execute(select(rota_swap).where(rota_swap.c.id == swap)).one_or_none()


def answer_swap(tx: Tx, swap: str, state: SwapState) -> None:
    tx.conn.execute(update(rota_swap).where(rota_swap.c.id == swap).values(state=state, answered_at=tx.now))


def open_swaps(conn: Connection, person: str, now: datetime) -> Sequence[Row[Any]]:
    """The swaps that wait for an answer and have not begun, which this person asks or is asked, the first one first."""
    query = select(rota_swap).where(
        rota_swap.c.state == SwapState.ASKED,
        rota_swap.c.starts_at > now,
        or_(rota_swap.c.asker == person, rota_swap.c.other == person),
    )
    return conn.execute(query.order_by(rota_swap.c.starts_at)).all()
