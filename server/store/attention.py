"""What was found earlier: in what one person said, and in what others said in one room."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, or_, select

from moderation.cases import Outcome
from moderation.ladders import Side
from moderation.types import Level, Role
from server.store.cases import OWN_WORDS
from server.store.feeds import NEW
from server.store.schema import account, case_message, event, finding, message, review_case


def worries(conn: Connection, subject: str, side: Side, since: datetime, but: str) -> list[datetime]:
    """When each message of this person came into a case of this side by its own words, from `since` on; `but` for one.

    What a person has judged to be no concern is left out.
    """
    query = (
        select(case_message.c.at)
        .join(review_case, review_case.c.id == case_message.c.case)
        .where(
            review_case.c.subject == subject,
            review_case.c.side == side,
            or_(review_case.c.outcome.is_(None), review_case.c.outcome != Outcome.NO_CONCERN),
            case_message.c.origin.in_(OWN_WORDS),
            case_message.c.level >= int(Level.GREY),
            case_message.c.at >= since,
            case_message.c.message != but,
        )
    )
    return list(conn.execute(query).scalars())


def spoken_of(
    conn: Connection, feed: str, after: int, since: datetime, but: str
) -> dict[str, Sequence[tuple[str, str, int]]]:
    """What was found in members' messages of a room, behind seq `after` and from `since` on, but for one author's.

    Returns:
        By author, (entry id, category, level) of each finding in the messages as they read now.
    """
    query = (
        select(message.c.author, finding.c.entry_id, finding.c.category, finding.c.level)
        .select_from(event)
        .join(message, message.c.id == event.c.ref)
        .join(finding, and_(finding.c.message == message.c.id, finding.c.version == message.c.version))
        .join(account, account.c.id == message.c.author)
        .where(
            event.c.feed == feed,
            event.c.seq > after,
            event.c.kind == NEW,
            message.c.at >= since,
            message.c.author != but,
            account.c.role == Role.MEMBER,
        )
        .distinct()
    )
    found: dict[str, list[tuple[str, str, int]]] = defaultdict(list)
    for author, entry, category, level in conn.execute(query):
        found[author].append((entry, category, level))
    return dict(found)
