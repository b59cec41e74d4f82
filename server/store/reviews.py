"""Blind review in the store: what is drawn from, the draws, what waits for whom, and what people made of it.

Ids, levels and letters; the text of a message is opened by `opened` alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, exists, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from moderation.cases import CaseState, Outcome
from moderation.draws import Draw
from moderation.shifts import ShiftHours
from moderation.types import Level, Role
from server.ids import new_id
from server.store.cases import OWN_WORDS
from server.store.keys import Keyring, message_place
from server.store.schema import (
    account,
    case_message,
    finding,
    message,
    message_version,
    review_case,
    review_draw,
    review_item,
    review_judgement,
    review_stratum,
    room,
)
from server.store.unit import Tx


def drawn_since(conn: Connection, since: datetime) -> set[datetime]:
    """When each shift began that has been drawn, from `since` on."""
    return set(conn.execute(select(review_draw.c.starts_at).where(review_draw.c.starts_at >= since)).scalars())


def said_in(
    conn: Connection, shift: ShiftHours, after: str, before: str, kinds: Collection[str], most: int
) -> Sequence[Row[Any]]:
    """The next messages of members in a shift, by id: (id, version, verdict, at, kind of room, whether flagged).

    Flagged: its own words brought it to somebody. What its author took away is theirs to take away.

    Args:
        after: the id behind which to begin.
        before: an id that no message of the shift reaches; "" for no bound.
    """
    flagged = exists().where(case_message.c.message == message.c.id, case_message.c.origin.in_(OWN_WORDS))
    query = (
        select(
            message.c.id, message.c.version, message.c.verdict, message.c.at, room.c.kind, flagged.label("is_flagged")
        )
        .join(room, "room:" + room.c.id == message.c.feed)
        .join(account, account.c.id == message.c.author)
        .where(
            message.c.id > after,
            message.c.at >= shift.starts_at,
            message.c.at < shift.ends_at,
            account.c.role == Role.MEMBER,
            room.c.kind.in_(sorted(kinds)),
            or_(message.c.removed_by.is_(None), message.c.removed_by != "author"),
        )
        .order_by(message.c.id)
        .limit(most)
    )
    return conn.execute(query.where(message.c.id < before) if before else query).all()


def insert_draw(tx: Tx, shift: ShiftHours, policy: str, made: Draw) -> str | None:
    """Keep a draw; None, and nothing is kept, if that shift was drawn before. Returns its id."""
    draw = new_id()
    make = sqlite.insert if tx.conn.dialect.name == "sqlite" else postgresql.insert
    row = make(review_draw).values(
        id=draw, starts_at=shift.starts_at, ends_at=shift.ends_at, drawn_at=tx.now, policy=policy
    )
    if not tx.conn.execute(row.on_conflict_do_nothing(index_elements=[review_draw.c.starts_at])).rowcount:
        return None
    strata = [
        {
            "draw": draw,
            "room_kind": stratum.room_kind,
            "part": stratum.part,
            "band": stratum.band,
            "messages": messages,
            "drawn": drawn,
        }
        for stratum, (messages, drawn) in made.sizes.items()
    ]
    items = [
        {
            "id": new_id(),
            "draw": draw,
            "n": n,
            "message": one.candidate.message,
            "text_version": one.candidate.version,
            "room_kind": one.candidate.stratum.room_kind,
            "part": one.candidate.stratum.part,
            "band": one.candidate.stratum.band,
            "weight": one.weight,
            "wanted": one.readers,
        }
        for n, one in enumerate(made.drawn)
    ]
    if strata:
        tx.conn.execute(insert(review_stratum), strata)
        tx.conn.execute(insert(review_item), items)
    return draw


def waiting(conn: Connection, reader: str, kinds: Collection[str], since: datetime) -> list[str]:
    """The items that this person may read and has not judged, of draws from `since` on, in the order to read them."""
    mine = exists().where(review_judgement.c.item == review_item.c.id, review_judgement.c.reader == reader)
    query = (
        select(review_item.c.id)
        .join(review_draw, review_draw.c.id == review_item.c.draw)
        .where(
            review_item.c.wanted > 0,
            review_item.c.room_kind.in_(sorted(kinds)),
            review_draw.c.drawn_at >= since,
            ~mine,
        )
        .order_by(review_draw.c.starts_at, review_item.c.n)
    )
    return list(conn.execute(query).scalars())


def item_by_id(conn: Connection, item: str, *, lock: bool = False) -> Row[Any] | None:
    """An item with its message's author, the author's role and the room's feed; None if either is gone."""
    query = (
        select(review_item, message.c.author, message.c.feed, message.c.removed_by, account.c.role)
        .join(message, message.c.id == review_item.c.message)
        .join(account, account.c.id == message.c.author)
        .where(review_item.c.id == item)
    )
    return conn.execute(query.with_for_update(of=review_item) if lock else query).one_or_none()


def opened(conn: Connection, keys: Keyring, ref: str, version: int) -> str | None:
    """One version of a message; None if it can not be opened any more."""
    now = select(message.c.body, message.c.key_id).where(message.c.id == ref, message.c.version == version)
    before = select(message_version.c.body, message_version.c.key_id).where(
        message_version.c.message == ref, message_version.c.version == version
    )
    row = conn.execute(now).one_or_none() or conn.execute(before).one_or_none()
    key = None if row is None else keys.by_id(conn, row.key_id)
    return None if row is None or key is None else key.open(message_place(ref, version), bytes(row.body))


def judgement(conn: Connection, item: str, reader: str) -> Row[Any] | None:
    """What this person made of an item; None if nothing yet."""
    query = select(review_judgement).where(review_judgement.c.item == item, review_judgement.c.reader == reader)
    return conn.execute(query).one_or_none()


def insert_judgement(
    tx: Tx, item: Row[Any], reader: str, level: Level | None, categories: str, case: str | None
) -> None:
    """Keep what somebody made of a locked item, which is wanted once less."""
    tx.conn.execute(
        insert(review_judgement).values(
            item=item.id,
            reader=reader,
            level=None if level is None else int(level),
            categories=categories,
            case=case,
            at=tx.now,
        )
    )
    less = update(review_item).where(review_item.c.id == item.id).values(wanted=max(0, item.wanted - 1))
    tx.conn.execute(less)


def cases_with(conn: Connection, ref: str) -> Sequence[Row[Any]]:
    """(state, level) of every case that holds a message, the level being that at which it came in."""
    query: Select[Any] = select(review_case.c.state, case_message.c.level).join(
        case_message, case_message.c.case == review_case.c.id
    )
    return conn.execute(query.where(case_message.c.message == ref)).all()


def _within(since: datetime, until: datetime) -> Any:
    return and_(review_draw.c.starts_at >= since, review_draw.c.starts_at < until)


def sizes(conn: Connection, since: datetime, until: datetime) -> Sequence[Row[Any]]:
    """(room_kind, part, band, messages, drawn) over all shifts that began within [since, until)."""
    parts = (review_stratum.c.room_kind, review_stratum.c.part, review_stratum.c.band)
    counts = (func.sum(review_stratum.c.messages).label("messages"), func.sum(review_stratum.c.drawn).label("drawn"))
    query: Select[Any] = select(*parts, *counts).join(review_draw, review_draw.c.id == review_stratum.c.draw)
    return conn.execute(query.where(_within(since, until)).group_by(*parts)).all()


def judgements(conn: Connection, since: datetime, until: datetime) -> Sequence[Row[Any]]:
    """Every judgement of what was drawn of these shifts, with its item, the first of each item first."""
    query: Select[Any] = (
        select(
            review_item.c.id,
            review_item.c.message,
            review_item.c.text_version,
            review_item.c.room_kind,
            review_item.c.part,
            review_item.c.band,
            review_item.c.weight,
            review_judgement.c.level,
            review_judgement.c.categories,
        )
        .join(review_judgement, review_judgement.c.item == review_item.c.id)
        .join(review_draw, review_draw.c.id == review_item.c.draw)
        .where(_within(since, until))
        .order_by(review_item.c.id, review_judgement.c.at, review_judgement.c.reader)
    )
    return conn.execute(query).all()


def findings_of_items(conn: Connection, since: datetime, until: datetime) -> Sequence[Row[Any]]:
    """(message, entry_id, category) of what was found in what was drawn of these shifts, the most serious first."""
    query: Select[Any] = (
        select(finding.c.message, finding.c.entry_id, finding.c.category)
        .join(
            review_item,
            and_(review_item.c.message == finding.c.message, review_item.c.text_version == finding.c.version),
        )
        .join(review_draw, review_draw.c.id == review_item.c.draw)
        .where(_within(since, until), finding.c.level > 0)
    )
    return conn.execute(query.order_by(finding.c.message, finding.c.n)).all()


def closed_flags(conn: Connection, since: datetime, until: datetime) -> Sequence[Row[Any]]:
    """(message, outcome, entry_id, category) of each finding in messages that were flagged by their own words within
    [since, until) at level 2 or above and whose case is closed, the most serious first.
    """
    query: Select[Any] = (
        select(case_message.c.message, review_case.c.outcome, finding.c.entry_id, finding.c.category)
        .join(review_case, review_case.c.id == case_message.c.case)
        .join(finding, finding.c.message == case_message.c.message)
        .where(
            case_message.c.at >= since,
            case_message.c.at < until,
            case_message.c.origin.in_(OWN_WORDS),
            case_message.c.level >= int(Level.HIGH_NEED),
            review_case.c.state == CaseState.CLOSED,
            review_case.c.outcome.is_not(None),
            review_case.c.outcome != Outcome.OTHER,
            finding.c.level > 0,
        )
    )
    return conn.execute(query.order_by(case_message.c.message, finding.c.level.desc(), finding.c.n)).all()
