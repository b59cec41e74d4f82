"""The one judge of a campaign: compares what clients were told with what the database holds. Asks the server nothing.

Each rule of the delivery contract has a name here; a violation says which rule, and which ids to look at:

- lost: acknowledged, and not stored as it was acknowledged.
- doubled: stored, told or answered more than once, or stored though nobody sent it.
- order: told or stored in another order than that of the room, or of its sender.
- gap: a place of a room that is missing from its log, or from what a reader was told.
- leak: the text of a held message told to somebody else than its author.
- mixed: a text told at a place where its author said something else, such as that of another room.
- obligation: a message that was noticed, and no case with an obligation for it.
- timer, owner: an obligation that is not met and has no time at which it falls due, or is said to be taken by nobody.
- late: a message that reached somebody, who had been there all the time, long after it was acknowledged.
- due, call, page: what should have been moved on, called or seen by now, and was not.
- rung, early, twice: see `ops.torture.calls`.
- unanswered, gave_up: a client that was never answered, or ended though the server came back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from moderation.cases import CaseState
from moderation.types import Verdict
from ops.torture.clients import Log
from server.actions.raising import concern_level
from server.actions.rendering import PAGE_CHANNEL
from server.clock import from_us, real_us
from server.store.cases import ACKNOWLEDGED, MET, RUNNING
from server.store.schema import case_message, event, feed, message, notice, obligation, review_case

LATE = timedelta(seconds=5)
# A look at the heads every five seconds heals what the bus lost.
TOLD_S = 6.5
_MADE = notice.c.state == "sent"


@dataclass(frozen=True, slots=True)
class Row:
    """A message as stored."""

    id: str
    feed: str
    seq: int
    author: str
    client_id: str
    state: str
    flagged: bool


@dataclass(frozen=True, slots=True)
class Stored:
    """What the database holds at the end.

    Attributes:
        messages: by (author, client id).
        heads: last seq given out, by room feed; logged: every seq in the log of that feed, in order.
        covered: messages with a case that has an obligation, in whatever state.
        unmade: calls, and obligations, that should have been moved on some seconds ago.
        uncalled: obligations at the highest level that nobody has taken and for which no call was ever made.
        pages: calls that were made on somebody's page, by recipient.
        untimed: obligations that are not met and never fall due.
        unowned: obligations and cases that are said to be taken, by nobody.
    """

    messages: dict[tuple[str, str], Row]
    heads: dict[str, int]
    logged: dict[str, list[int]]
    covered: frozenset[str]
    unmade: tuple[str, ...]
    uncalled: tuple[str, ...]
    pages: dict[str, frozenset[str]]
    untimed: tuple[str, ...] = ()
    unowned: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept."""

    rule: str
    what: str


def outcome(violations: Sequence[Violation]) -> dict[str, Any]:
    """The figures that every campaign ends with: violations by rule, whether there is none, and the first ten."""
    return {
        "violations": Counter(violation.rule for violation in violations),
        "ok": not violations,
        "examples": [asdict(violation) for violation in violations[:10]],
    }


def read_stored(conn: Connection, now: datetime | None = None) -> Stored:
    """Everything that the judge needs, in one snapshot; `now` by the database's clock, None: that of this machine."""
    rows = {
        (row.author, row.client_id): Row(
            row.id,
            row.feed,
            row.seq,
            row.author,
            row.client_id,
            row.state,
            concern_level(Verdict.from_json(row.verdict)) > 0,
        )
        for row in conn.execute(select(message))
    }
    rooms = feed.c.id.like("room:%")
    heads = {row.id: row.seq for row in conn.execute(select(feed.c.id, feed.c.seq).where(rooms))}
    logged: dict[str, list[int]] = {name: [] for name in heads}
    for row in conn.execute(select(event.c.feed, event.c.seq).order_by(event.c.feed, event.c.seq)):
        if row.feed in logged:
            logged[row.feed].append(row.seq)
    covering = select(case_message.c.message).join(obligation, obligation.c.case == case_message.c.case)
    pages: dict[str, set[str]] = {}
    for row in conn.execute(select(notice.c.id, notice.c.recipient).where(_MADE, notice.c.channel == PAGE_CHANNEL)):
        pages.setdefault(row.recipient, set()).add(row.id)
    return Stored(
        rows,
        heads,
        logged,
        frozenset(conn.execute(covering).scalars()),
        unmade(conn, now),
        uncalled(conn),
        {recipient: frozenset(ids) for recipient, ids in pages.items()},
        _untimed(conn),
        _unowned(conn),
    )


def unmade(conn: Connection, now: datetime | None = None) -> tuple[str, ...]:
    """Calls and obligations that were due some seconds ago and were not moved on."""
    before = (now or from_us(real_us())) - LATE
    calls = select(notice.c.id).where(notice.c.state == "pending", notice.c.due_at < before)
    duties = select(obligation.c.id).where(obligation.c.state != "met", obligation.c.due_at < before)
    return (*conn.execute(calls).scalars(), *conn.execute(duties).scalars())


def uncalled(conn: Connection) -> tuple[str, ...]:
    """Obligations at the highest level that nobody has taken and for which no call was ever made."""
    called = select(notice.c.obligation).where(_MADE)
    # Whoever took a case before its first call went out needs none.
    query = select(obligation.c.id).where(
        obligation.c.level == 3, obligation.c.state == RUNNING, obligation.c.id.not_in(called)
    )
    return tuple(conn.execute(query).scalars())


def _untimed(conn: Connection) -> tuple[str, ...]:
    query = select(obligation.c.id).where(obligation.c.state != MET, obligation.c.due_at.is_(None))
    return tuple(conn.execute(query).scalars())


def _unowned(conn: Connection) -> tuple[str, ...]:
    duties = select(obligation.c.id).where(obligation.c.state == ACKNOWLEDGED, obligation.c.acknowledged_by.is_(None))
    matters = select(review_case.c.id).where(
        review_case.c.state == CaseState.CLAIMED, review_case.c.claimed_by.is_(None)
    )
    return (*conn.execute(duties).scalars(), *conn.execute(matters).scalars())


def judge(members: Sequence[Log], staff: Sequence[Log], stored: Stored, senders: Sequence[Log] = ()) -> list[Violation]:
    """Every promise that was not kept; empty if all were.

    A log is of one feed; who follows several has several. `senders` send and read nothing.
    """
    everybody = (*members, *senders)
    found = [*judge_stored(stored), *_of_calls(stored), *_of_texts(everybody, stored), *_strangers(everybody, stored)]
    for log in everybody:
        found += _of_sending(log, stored)
    rooms: dict[str, dict[int, Row]] = {}
    for row in stored.messages.values():
        rooms.setdefault(row.feed, {})[row.seq] = row
    for log in members:
        found += _of_reading(log, stored, rooms.get(log.feed, {}))
    found += [Violation("gave_up", log.account) for log in (*everybody, *staff) if log.gave_up]
    found += [Violation("gap", f"{log.account} was told {jump}") for log in (*members, *staff) for jump in log.jumps]
    for log in staff:
        missed = stored.pages.get(log.account, frozenset()) - log.pages
        found += [Violation("page", call) for call in sorted(missed)]
    return found


def judge_stored(stored: Stored) -> list[Violation]:
    """What is wrong with the database by itself: its logs, and the obligations that its messages should have."""
    found = []
    for name, head in stored.heads.items():
        if stored.logged[name] != list(range(1, head + 1)):
            found.append(Violation("gap", f"log of {name}"))
    places = Counter((row.feed, row.seq) for row in stored.messages.values())
    found += [Violation("doubled", f"{name} {seq}") for (name, seq), count in places.items() if count > 1]
    found += [
        Violation("obligation", row.id)
        for row in stored.messages.values()
        if row.flagged and row.id not in stored.covered
    ]
    found += [Violation("timer", what) for what in stored.untimed]
    return found + [Violation("owner", what) for what in stored.unowned]


def _of_calls(stored: Stored) -> list[Violation]:
    found = [Violation("due", what) for what in stored.unmade]
    return found + [Violation("call", what) for what in stored.uncalled]


def judge_sending(log: Log, stored: Stored, *, finished: bool = True) -> list[Violation]:
    """A member's own record of what they sent; not `finished`: what is not answered yet may still be."""
    return _of_sending(log, stored, finished=finished) + _strangers([log], stored)


def _of_sending(log: Log, stored: Stored, *, finished: bool = True) -> list[Violation]:
    found = []
    places: list[int] = []
    for named in log.sent:
        acks = log.acks.get(named, [])
        row = stored.messages.get((log.account, named))
        if row is not None:
            places.append(row.seq)
        if not acks and finished:
            found.append(Violation("unanswered", named))
        for ack in acks:
            if row is None or (row.id, row.feed, row.seq) != (ack.message, ack.feed, ack.seq):
                found.append(Violation("lost", named))
            if (ack.message, ack.seq, ack.state, ack.at) != (acks[0].message, acks[0].seq, acks[0].state, acks[0].at):
                found.append(Violation("doubled", named))
    if places != sorted(places):
        found.append(Violation("order", f"what {log.account} sent"))
    return found


def _strangers(logs: Sequence[Log], stored: Stored) -> list[Violation]:
    """What is stored as somebody's and was sent by nobody."""
    authors = {log.account for log in logs}
    sent = {(log.account, named) for log in logs for named in log.sent}
    return [Violation("doubled", key[1]) for key in sorted(stored.messages) if key[0] in authors and key not in sent]


def _of_texts(members: Sequence[Log], stored: Stored) -> list[Violation]:
    """Every text that was told is what its author sent to that place; the bodies of the database are sealed."""
    said = {(log.account, named): body for log in members for named, body in log.sent.items()}
    places = {(row.feed, row.seq): said.get(key) for key, row in stored.messages.items()}
    return [
        Violation("mixed", f"{log.account} at {log.feed} {told.of}")
        for log in members
        for told in log.told
        if told.body is not None and told.body != places.get((log.feed, told.of))
    ]


def _of_reading(log: Log, stored: Stored, room: Mapping[int, Row]) -> list[Violation]:
    """A member's own record of the room: every place once, in order, and nothing of what is held.

    Places that they were expressly told to read up (`Log.skipped`) need not have been told one by one.
    """
    found = []
    seen = [told.of for told in log.told]
    # Events may have followed the join before the client could note where it stood.
    after = min([log.joined_at, *(place - 1 for place in seen[:1])])
    expected = list(range(after + 1, stored.heads[log.feed] + 1))
    if log.skipped:
        skipped = {place for first, last in log.skipped for place in range(first, last + 1)}
        expected = [place for place in expected if place not in skipped]
    if seen != expected:
        missing, surplus = Counter(expected) - Counter(seen), Counter(seen) - Counter(expected)
        rule = "gap" if missing else "doubled" if surplus else "order"
        found.append(
            Violation(rule, f"{log.account} missed {sorted(missing)[:5]}, had {sorted(surplus)[:5]} too often")
        )
    for told in log.told:
        row = room.get(told.of)
        if row is not None and row.state == "held" and row.author != log.account and told.body is not None:
            found.append(Violation("leak", row.id))
    return found


def judge_delays(members: Sequence[Log], troubles: Collection[tuple[float, float]]) -> list[Violation]:
    """Messages that came later than TOLD_S after their acknowledgement, to somebody who was there and read.

    Args:
        troubles: when something was wrong with a server or the database, by the clock of the logs: that excuses.
    """
    violations = []
    answered = {
        (ack.feed, ack.seq): at for log in members for named, at in log.answered.items() for ack in log.acks[named][:1]
    }
    for log in members:
        for told in log.told:
            at = answered.get((log.feed, told.of))
            if at is None:
                continue
            since = max(at, log.steady.get(told.of, told.at))
            if told.at - since > TOLD_S and not any(began <= told.at and ended >= at for began, ended in troubles):
                violations.append(Violation("late", f"{log.account} at {log.feed} {told.of}: {told.at - since:.1f} s"))
    return violations
