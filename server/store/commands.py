"""First answers to commands, so that a repeat does nothing twice.

A message's own row is its first answer (`store.messages.repeated`); every other state change keeps one here.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from sqlalchemy import Connection, insert, select

from server.errors import Conflict
from server.store.schema import command
from server.store.unit import Tx

A = TypeVar("A", bound=msgspec.Struct)


def first_answer(tx: Tx, account: str, client_id: str, kind: str, answer_type: type[A]) -> A | None:
    """The answer given to this client id before, or None.

    Raises:
        Conflict: the id was used for another kind of command; the client has to choose a new one.
    """
    return kept_answer(tx.conn, account, client_id, kind, answer_type)


def kept_answer(conn: Connection, account: str, client_id: str, kind: str, answer_type: type[A]) -> A | None:
    """As `first_answer`, for a read."""
    row = conn.execute(
        select(command.c.kind, command.c.answer).where(command.c.account == account, command.c.client_id == client_id)
    ).one_or_none()
    if row is None:
        return None
    if row.kind != kind:
        raise Conflict("This client_id was used for another command. Choose a new one.", code="client_id_reused")
    return msgspec.msgpack.decode(row.answer, type=answer_type)


def keep_answer(tx: Tx, account: str, client_id: str, kind: str, answer: msgspec.Struct) -> None:
    """Keep `answer` as the first answer to this client id."""
    tx.conn.execute(
        insert(command).values(
            account=account, client_id=client_id, kind=kind, answer=msgspec.msgpack.encode(answer), at=tx.now
        )
    )
