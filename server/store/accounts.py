"""Rows of people: accounts, sessions, tickets, recovery codes. Statements only; what may be done is decided in
`actions.accounts`. What changes here is locked by the inbox of the account that it belongs to, which the unit names.

A session is alive while it is not revoked, its account is active, it was used within the idle time, and its absolute
end has not come: one condition, `_ALIVE`, used by every reader.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, insert, select, update

from moderation.types import Role
from server.auth.requester import Requester
from server.clock import from_us, to_us
from server.ids import inbox_feed
from server.store.hot import Hot, rows_of
from server.store.keys import Keyring, Realm, Retention
from server.store.schema import account, command, feed, recovery_code, session, ticket
from server.store.unit import Tx

REGISTER = "register"


class AccountState(StrEnum):
    """A disabled account can not be signed in to; everything it wrote stays as it is."""

    ACTIVE = "active"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Account:
    """An account as the actions need it. `version` moves with its role, state and password."""

    id: str
    name: str
    role: Role
    state: AccountState
    password_hash: str
    created_at: datetime
    version: int


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A session that is alive, with the person it belongs to."""

    requester: Requester
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What a new account is made of. `id` was made outside the unit, so that a unit run again makes no second one."""

    id: str
    name: str
    name_key: str
    role: Role
    password_hash: str
    rules_version: str
    recovery_hashes: tuple[bytes, ...] = ()
    client_id: str | None = None


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session about to be started, made outside the unit like an account."""

    id: str
    token_hash: bytes
    lasts: timedelta


def _account(row: Any | None) -> Account | None:
    if row is None:
        return None
    return Account(
        row.id, row.name, Role(row.role), AccountState(row.state), row.password_hash, row.created_at, row.version
    )


_ACCOUNT = select(
    account.c.id,
    account.c.name,
    account.c.role,
    account.c.state,
    account.c.password_hash,
    account.c.created_at,
    account.c.version,
)


def account_by_key(conn: Connection, key: str) -> Account | None:
    """The account whose name folds to `key`, whatever its state."""
    return _account(conn.execute(_ACCOUNT.where(account.c.name_key == key)).one_or_none())


def account_by_id(conn: Connection, account_id: str) -> Account | None:
    return _account(conn.execute(_ACCOUNT.where(account.c.id == account_id)).one_or_none())


def lock_account(tx: Tx, account_id: str) -> Account | None:
    """The account, locked to the end of the transaction; rows that refer to it can still be inserted meanwhile."""
    query = _ACCOUNT.where(account.c.id == account_id).with_for_update(key_share=True)
    return _account(tx.conn.execute(query).one_or_none())


def insert_account(tx: Tx, keys: Keyring, new: NewAccount) -> None:
    """Make an account with its data key, its inbox and its recovery codes: all of it or nothing."""
    tx.conn.execute(
        insert(account).values(
            id=new.id,
            role=new.role.value,
            name=new.name,
            name_key=new.name_key,
            password_hash=new.password_hash,
            state=AccountState.ACTIVE.value,
            rules_version=new.rules_version,
            rules_accepted_at=tx.now,
            created_at=tx.now,
            version=1,
        )
    )
    keys.create(tx, new.id, Realm.COMMUNITY, Retention.COMMUNITY_POST)
    inbox = inbox_feed(new.id)
    tx.conn.execute(insert(feed).values(id=inbox, epoch=1, seq=0, version=1))
    tx.new_feed(inbox)
    replace_recovery_codes(tx, new.id, new.recovery_hashes)
    if new.client_id is not None:
        tx.conn.execute(
            insert(command).values(account=new.id, client_id=new.client_id, kind=REGISTER, answer=b"", at=tx.now)
        )


def registered_with(conn: Connection, account_id: str, client_id: str) -> bool:
    """Whether the account was made by the registration that carried `client_id`."""
    found = conn.execute(
        select(command.c.kind).where(command.c.account == account_id, command.c.client_id == client_id)
    ).scalar_one_or_none()
    return found == REGISTER


def replace_recovery_codes(tx: Tx, account_id: str, hashes: Sequence[bytes]) -> None:
    """Put these codes in the place of all that the account had."""
    tx.conn.execute(delete(recovery_code).where(recovery_code.c.account == account_id))
    if hashes:
        tx.conn.execute(
            insert(recovery_code),
            [{"account": account_id, "n": n, "code_hash": hashed} for n, hashed in enumerate(hashes, 1)],
        )


def use_recovery_code(tx: Tx, account_id: str, hashed: bytes) -> bool:
    """Use up the code with that hash; False if there is none that is unused."""
    done = tx.conn.execute(
        update(recovery_code)
        .where(
            recovery_code.c.account == account_id,
            recovery_code.c.code_hash == hashed,
            recovery_code.c.used_at.is_(None),
        )
        .values(used_at=tx.now)
    )
    return done.rowcount == 1


def recovery_codes_used(conn: Connection, account_id: str) -> bool:
    """Whether any of the account's codes has been used."""
    used = select(recovery_code.c.n).where(recovery_code.c.account == account_id, recovery_code.c.used_at.is_not(None))
    return conn.execute(used.limit(1)).one_or_none() is not None


def change_account(
    tx: Tx,
    account_id: str,
    *,
    role: Role | None = None,
    state: AccountState | None = None,
    password_hash: str | None = None,
) -> None:
    """Change what is given and move the version."""
    values: dict[str, Any] = {"version": account.c.version + 1}
    if role is not None:
        values["role"] = role.value
    if state is not None:
        values["state"] = state.value
    if password_hash is not None:
        values["password_hash"] = password_hash
    tx.conn.execute(update(account).where(account.c.id == account_id).values(**values))


def rehash(tx: Tx, account_id: str, old: str, new: str) -> None:
    """Store the same password under other parameters, unless it was changed meanwhile."""
    tx.conn.execute(
        update(account).where(account.c.id == account_id, account.c.password_hash == old).values(password_hash=new)
    )


# --- sessions ---------------------------------------------------------------------------------------------------------


_ALIVE: Final[ColumnElement[bool]] = and_(
    session.c.revoked_at.is_(None),
    session.c.ends_at > bindparam("now"),
    session.c.seen_at > bindparam("since"),
    account.c.state == bindparam("active", AccountState.ACTIVE.value),
)
_SESSION_OF_ACCOUNT: Final = session.join(account, session.c.account == account.c.id)
_BY_TOKEN: Final = Hot(
    select(session.c.id, session.c.seen_at, account.c.id, account.c.name, account.c.role)
    .select_from(_SESSION_OF_ACCOUNT)
    .where(session.c.token_hash == bindparam("hashed"), _ALIVE),
    ("hashed", "now", "since", "active"),
)


def start_session(tx: Tx, account_id: str, new: NewSession) -> None:
    """Begin a session; a unit that is run again finds it there."""
    if tx.conn.execute(select(session.c.id).where(session.c.id == new.id)).one_or_none() is not None:
        return
    tx.conn.execute(
        insert(session).values(
            id=new.id,
            account=account_id,
            token_hash=new.token_hash,
            created_at=tx.now,
            seen_at=tx.now,
            ends_at=tx.now + new.lasts,
        )
    )


def session_by_token(conn: Connection, hashed: bytes, now: datetime, idle: timedelta) -> LiveSession | None:
    """The living session whose token has that hash."""
    rows = rows_of(conn, _BY_TOKEN, (hashed, to_us(now), to_us(now - idle), AccountState.ACTIVE.value))
    if not rows:
        return None
    ((session_id, seen_at, account_id, name, role),) = rows
    return LiveSession(Requester(account_id, name, Role(role), session_id), from_us(seen_at))


def alive(conn: Connection, sessions: Collection[str], now: datetime, idle: timedelta) -> set[str]:
    """Those of `sessions` that are alive."""
    living = select(session.c.id).select_from(_SESSION_OF_ACCOUNT).where(session.c.id.in_(sorted(sessions)), _ALIVE)
    return set(conn.execute(living, {"now": now, "since": now - idle}).scalars())


def owners(conn: Connection, sessions: Collection[str]) -> dict[str, str]:
    """The account that each of `sessions` belongs to; unknown ones are left out."""
    if not sessions:
        return {}
    rows = conn.execute(select(session.c.id, session.c.account).where(session.c.id.in_(sorted(sessions))))
    return {row.id: row.account for row in rows}


def touch(tx: Tx, sessions: Iterable[str], idle: timedelta) -> None:
    """Note that these sessions are in use; one that has ended or idled out is not brought back."""
    tx.conn.execute(
        update(session)
        .where(
            session.c.id.in_(sorted(sessions)),
            session.c.revoked_at.is_(None),
            session.c.seen_at > tx.now - idle,
            session.c.seen_at < tx.now,
        )
        .values(seen_at=tx.now)
    )


def revoke(tx: Tx, *, account_id: str, only: str | None = None) -> tuple[str, ...]:
    """End the sessions of an account, or only one of them; return the ids of those that ended now, in order."""
    query = select(session.c.id).where(session.c.account == account_id, session.c.revoked_at.is_(None))
    if only is not None:
        query = query.where(session.c.id == only)
    ids = tuple(tx.conn.execute(query.order_by(session.c.id).with_for_update()).scalars())
    if ids:
        tx.conn.execute(update(session).where(session.c.id.in_(ids)).values(revoked_at=tx.now))
        tx.conn.execute(delete(ticket).where(ticket.c.session.in_(ids)))
    return ids


def add_ticket(tx: Tx, session_id: str, hashed: bytes, lasts: timedelta) -> None:
    """Keep a ticket of the session and drop those of its tickets that ran out."""
    tx.conn.execute(delete(ticket).where(ticket.c.session == session_id, ticket.c.ends_at <= tx.now))
    if tx.conn.execute(select(ticket.c.hash).where(ticket.c.hash == hashed)).one_or_none() is None:
        tx.conn.execute(insert(ticket).values(hash=hashed, session=session_id, ends_at=tx.now + lasts))


def use_ticket(tx: Tx, session_id: str, hashed: bytes) -> bool:
    """Use up a ticket of that session; False if it is unknown, used, too old, or another session's."""
    done = tx.conn.execute(
        delete(ticket).where(ticket.c.hash == hashed, ticket.c.session == session_id, ticket.c.ends_at > tx.now)
    )
    return done.rowcount == 1
