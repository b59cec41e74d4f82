"""Trials of proposed lists in the store: how far they are, and what fired. Ids and levels only, never text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from moderation.types import Role, RoomKind
from server.ids import new_id
from server.store.keys import Keyring, message_place
from server.store.schema import account, message, room, word_fire, word_trial
from server.store.unit import Tx
from server.store.workload import forget_hours


class TrialKind(StrEnum):
    """On what a proposal is tried."""

    SHADOW = "shadow"
    CORPUS = "corpus"
    STORED = "stored"


class TrialState(StrEnum):
    """How far a trial is."""

    ASKED = "asked"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"
    OVER_TIME = "over_time"


OPEN: Final = (TrialState.ASKED, TrialState.RUNNING)
_TRIALS: Final = select(word_trial, account.c.name).outerjoin(account, account.c.id == word_trial.c.asked_by)


@dataclass(frozen=True, slots=True)
class NewTrial:
    """A trial to begin. `lasts`: of a shadow, how long; of stored messages, for how long their bodies may be opened."""

    version: str
    digest: str
    against: str
    kind: TrialKind
    asked_by: str
    days: int
    lasts: timedelta


@dataclass(frozen=True, slots=True)
class Fire:
    """One entry that the live or the proposed lists found in one text; a level of 0: these did not."""

    ref: str
    text_version: int
    entry_id: str
    category: str
    live: int
    proposed: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored message to be tried; `text` is None where its body can not be opened.

    `level` is what the filter said when it was written. `room_kind` is None where the room is gone, and for what staff
    wrote: no case comes of that.
    """

    id: str
    version: int
    text: str | None
    at: datetime
    level: int
    room_kind: RoomKind | None


def insert_trial(tx: Tx, new: NewTrial) -> str:
    """Keep a trial that was asked for; a shadow runs from now on. Returns its id."""
    trial = new_id()
    tx.conn.execute(
        insert(word_trial).values(
            id=trial,
            word_version=new.version,
            digest=new.digest,
            against=new.against,
            kind=new.kind,
            state=TrialState.RUNNING if new.kind is TrialKind.SHADOW else TrialState.ASKED,
            asked_by=new.asked_by,
            days=new.days,
            asked_at=tx.now,
            until=tx.now + new.lasts,
            done=0,
            total=0,
            unreadable=0,
        )
    )
    return trial


def trial_by_id(conn: Connection, trial: str) -> Row[Any] | None:
    return conn.execute(_TRIALS.where(word_trial.c.id == trial)).one_or_none()


def trials_of(conn: Connection, version: str) -> Sequence[Row[Any]]:
    """The trials of a version, the newest first."""
    query = _TRIALS.where(word_trial.c.word_version == version)
    return conn.execute(query.order_by(word_trial.c.asked_at.desc(), word_trial.c.id.desc())).all()


def open_trials(conn: Connection, kinds: Sequence[TrialKind]) -> Sequence[Row[Any]]:
    """The trials of these kinds that are not over, the oldest first."""
    query = select(word_trial).where(word_trial.c.state.in_(OPEN), word_trial.c.kind.in_(kinds))
    return conn.execute(query.order_by(word_trial.c.asked_at, word_trial.c.id)).all()


def end_trial(tx: Tx, trial: str, state: TrialState) -> bool:
    """End a trial; False if it was over already."""
    over = update(word_trial).where(word_trial.c.id == trial, word_trial.c.state.in_(OPEN))
    return bool(tx.conn.execute(over.values(state=state, ended_at=tx.now)).rowcount)


def end_trials_of(tx: Tx, version: str) -> None:
    """End every trial of a version: what it tried is not what is proposed any more."""
    over = update(word_trial).where(word_trial.c.word_version == version, word_trial.c.state.in_(OPEN))
    tx.conn.execute(over.values(state=TrialState.CANCELLED, ended_at=tx.now))


def begin_trial(tx: Tx, trial: str, total: int) -> bool:
    """Start a trial from its beginning, whatever an earlier start of it has left; False if it is over."""
    mine = update(word_trial).where(word_trial.c.id == trial, word_trial.c.state.in_(OPEN))
    if not tx.conn.execute(mine.values(state=TrialState.RUNNING, done=0, unreadable=0, total=total)).rowcount:
        return False
    tx.conn.execute(delete(word_fire).where(word_fire.c.trial == trial))
    forget_hours(tx, trial)
    return True


def add_fires(tx: Tx, trial: str, fires: Iterable[Fire], done: int, unreadable: int) -> bool:
    """Keep what was found in `done` more texts, and that `unreadable` more could not be tried; False if it is over."""
    running = update(word_trial).where(word_trial.c.id == trial, word_trial.c.state == TrialState.RUNNING)
    counted = running.values(done=word_trial.c.done + done, unreadable=word_trial.c.unreadable + unreadable)
    if not tx.conn.execute(counted).rowcount:
        return False
    make = sqlite.insert if tx.conn.dialect.name == "sqlite" else postgresql.insert
    rows = [
        {
            "trial": trial,
            "ref": fire.ref,
            "text_version": fire.text_version,
            "entry_id": fire.entry_id,
            "category": fire.category,
            "live": fire.live,
            "proposed": fire.proposed,
        }
        for fire in fires
    ]
    if rows:
        tx.conn.execute(make(word_fire).on_conflict_do_nothing(), rows)
    return True


def flags(conn: Connection, trial: str) -> Sequence[Row[Any]]:
    """(category, live, proposed, n): how many texts were flagged how in each category; 0: not flagged."""
    flag = (
        select(
            word_fire.c.category,
            func.max(word_fire.c.live).label("live"),
            func.max(word_fire.c.proposed).label("proposed"),
        )
        .where(word_fire.c.trial == trial)
        .group_by(word_fire.c.ref, word_fire.c.text_version, word_fire.c.category)
        .subquery()
    )
    counted: Select[Any] = select(flag.c.category, flag.c.live, flag.c.proposed, func.count().label("n"))
    parts = (flag.c.category, flag.c.live, flag.c.proposed)
    return conn.execute(counted.group_by(*parts).order_by(*parts)).all()


def entries(conn: Connection, trial: str) -> Sequence[Row[Any]]:
    """(entry_id, category, live, proposed, n): in how many texts each entry was found at which levels."""
    parts = (word_fire.c.entry_id, word_fire.c.category, word_fire.c.live, word_fire.c.proposed)
    query: Select[Any] = select(*parts, func.count().label("n")).where(word_fire.c.trial == trial)
    return conn.execute(query.group_by(*parts).order_by(*parts)).all()


def moved(conn: Connection, trial: str, most: int) -> Sequence[Row[Any]]:
    """(ref, text_version, live, proposed): the texts whose highest level is another, the gravest first."""
    live, proposed = func.max(word_fire.c.live), func.max(word_fire.c.proposed)
    query: Select[Any] = (
        select(word_fire.c.ref, word_fire.c.text_version, live.label("live"), proposed.label("proposed"))
        .where(word_fire.c.trial == trial)
        .group_by(word_fire.c.ref, word_fire.c.text_version)
        .having(live != proposed)
        .order_by(live.desc(), proposed.desc(), word_fire.c.ref)
        .limit(most)
    )
    return conn.execute(query).all()


def has_fire(conn: Connection, trial: str, ref: str) -> bool:
    """Whether anything of a trial was found in the text `ref`."""
    query = select(word_fire.c.ref).where(word_fire.c.trial == trial, word_fire.c.ref == ref).limit(1)
    return conn.execute(query).first() is not None


def messages_between(conn: Connection, since: datetime, until: datetime) -> int:
    """How many messages were stored in [since, until]."""
    query = select(func.count()).select_from(message).where(message.c.at.between(since, until))
    return int(conn.execute(query).scalar_one())


def page_of_messages(
    conn: Connection, keys: Keyring, since: datetime, until: datetime, after: str, most: int
) -> list[Stored]:
    """The next messages of [since, until] after an id, in the order of their ids, opened where that can be."""
    query = (
        select(*(message.c[name] for name in ("id", "version", "body", "key_id", "at", "level", "feed", "author")))
        .where(message.c.id > after, message.c.at.between(since, until))
        .order_by(message.c.id)
        .limit(most)
    )
    rows = conn.execute(query).all()
    names = {row.feed.partition(":")[2] for row in rows}
    kinds = {r.id: RoomKind(r.kind) for r in conn.execute(select(room.c.id, room.c.kind).where(room.c.id.in_(names)))}
    written = select(account.c.id).where(account.c.id.in_({row.author for row in rows}), account.c.role == Role.MEMBER)
    members = set(conn.execute(written).scalars())
    found: list[Stored] = []
    for row in rows:
        key = keys.by_id(conn, row.key_id)
        text = None if key is None else key.open(message_place(row.id, row.version), bytes(row.body))
        kind = kinds.get(row.feed.partition(":")[2]) if row.author in members else None
        found.append(Stored(row.id, row.version, text, row.at, row.level, kind))
    return found


def kinds_of_rooms(conn: Connection, refs: Sequence[str]) -> dict[str, str]:
    """In which kind of room each of these messages was written; one that is gone is left out."""
    feed_of_room = "room:" + room.c.id
    query = select(message.c.id, room.c.kind).join(room, feed_of_room == message.c.feed)
    return {row.id: row.kind for row in conn.execute(query.where(message.c.id.in_(refs)))}


def opened(conn: Connection, keys: Keyring, ref: str) -> str | None:
    """The body of a message as it is now; None if it can not be opened."""
    query = select(message.c.id, message.c.version, message.c.body, message.c.key_id).where(message.c.id == ref)
    row = conn.execute(query).one_or_none()
    key = None if row is None else keys.by_id(conn, row.key_id)
    if row is None or key is None:
        return None
    return key.open(message_place(row.id, row.version), bytes(row.body))
