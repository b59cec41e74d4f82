"""From a finding to an obligation: the part of every unit that opens or raises a case.

Runs inside the unit that stores what was found, so that a message and the duty to look at it are one fact. Nothing here
reads a clock or calls anybody: the ladder job does, from the row that this leaves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from moderation.cases import joined
from moderation.ladders import Ladder, LadderPolicy, Side
from moderation.types import Category, Disposition, Level, Role, Verdict
from server.actions.attention import signs
from server.actions.rendering import CASE, HANDLING, case_item, handling_item
from server.actions.services import Services
from server.feeds import FeedEvent
from server.ids import STAFF_CLINICAL, STAFF_LEAD, STAFF_MODERATION, inbox_feed
from server.protocol.frames import Care
from server.store import cases
from server.store.keys import Realm
from server.store.unit import Tx

_CARE_ORDER: tuple[Care, ...] = ("none", "notice", "urgent")
# What staff write is full of clinical words; only these say something about their conduct.
_STAFF_CONCERNS = frozenset({Category.HARASSMENT, Category.GROOMING})


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that a person on duty has to look at.

    Attributes:
        subject: account that it is about.
        origin: message, edit, report or help.
        feed: the room in which it was said, if any.
        message: the message, if any.
        care: what the subject is told about it; a report tells them nothing.
        pressing: the message is held, or is in a language that only a person can read: looked at within the ladder's
            hold ceiling.
        said: what was found in the subject's own words of now; None where others brought it up.
    """

    subject: str
    subject_role: Role
    side: Side
    origin: str
    level: Level
    categories: tuple[Category, ...]
    feed: str | None
    message: str | None
    care: Care
    pressing: bool = False
    said: Verdict | None = None


def concern_level(verdict: Verdict) -> Level:
    """How urgent a verdict is for the people on duty: a check that failed is looked at like a high need.

    What is held is never below the lowest ladder: somebody has to decide on it.
    """
    if not verdict.complete:
        return max(verdict.level, Level.HIGH_NEED)
    return max(verdict.level, Level.GREY) if verdict.disposition is Disposition.HOLD else verdict.level


def is_concern(verdict: Verdict, author_role: Role) -> bool:
    """Whether a verdict opens a case. Whatever is held does, whoever wrote it, for somebody has to decide on it.

    Of what staff write and everybody sees, only what is about their conduct does.
    """
    if verdict.disposition is Disposition.HOLD or not verdict.complete:
        return True
    if author_role is not Role.MEMBER:
        return bool(_STAFF_CONCERNS & set(verdict.categories))
    return concern_level(verdict) > Level.NONE


def case_feeds(subject: str, subject_role: Role, side: Side) -> list[str]:
    """Every feed that a case about this person may have to tell: to be locked by the unit that raises it."""
    return [inbox_feed(subject), *staff_feeds(subject_role, side)]


def staff_feeds(subject_role: Role, side: Side) -> tuple[str, ...]:
    """The staff feeds on which a case may appear. No therapy matter is ever on the moderators' feed."""
    if subject_role is not Role.MEMBER:
        return (STAFF_LEAD,)
    if side is Side.CARE:
        return (STAFF_CLINICAL,)
    return (STAFF_CLINICAL, STAFF_MODERATION)


def realm_of(side: str) -> Realm:
    """The realm of what a case keeps: that of its side of the wall."""
    return Realm.CARE if side == Side.CARE else Realm.COMMUNITY


def raise_case(tx: Tx, services: Services, concern: Concern) -> str:
    """Open the case of this person on this side, or let it rise, with a running timer. Returns its id.

    A grey message that is one of a run, or of what spreads in its room, is a high need (`moderation.attention`).
    """
    why = _signs(tx, services, concern)
    if why:
        concern = replace(concern, level=max(concern.level, Level.HIGH_NEED))
    row = cases.open_case_of(tx.conn, concern.subject, concern.side)
    if row is None:
        case = cases.insert_case(
            tx,
            side=concern.side,
            subject=concern.subject,
            origin=concern.origin,
            level=int(concern.level),
            categories="".join(concern.categories),
            feed=concern.feed,
            messages=1,
            care=concern.care,
            care_since=tx.now if concern.care != "none" else None,
        )
        cases.add_history(tx, case, "open", detail=concern.origin, **_brought(concern))
    else:
        case = row.id
        changes: dict[str, Any] = {
            "level": int(joined(Level(row.level), concern.level)),
            "categories": "".join(dict.fromkeys([*row.categories, *concern.categories])),
            "messages": row.messages + 1,
            "care": max(row.care, concern.care, key=_CARE_ORDER.index),
            "raised_at": tx.now,
        }
        if concern.care != "none":
            changes["care_since"] = tx.now
        if concern.feed is not None:
            changes["feed"] = concern.feed
        cases.update_case(tx, row, **changes)
        cases.add_history(tx, case, "raise", detail=concern.origin, **_brought(concern))
    for sign in why:
        cases.add_history(tx, case, sign)
    if concern.message is not None:
        cases.add_message(tx, case, concern.message, int(concern.level), concern.origin)
    _run_timer(tx, services.ladders, case, concern)
    tell_case(tx, case, concern.subject_role, author_too=concern.care != "none")
    return case


def _brought(concern: Concern) -> dict[str, Any]:
    """What the history keeps of what opened or raised a case."""
    return {
        "message": concern.message,
        "level": int(concern.level),
        "categories": "".join(concern.categories),
        "feed": concern.feed,
    }


def _signs(tx: Tx, services: Services, concern: Concern) -> tuple[str, ...]:
    if concern.said is None or concern.message is None or concern.feed is None or concern.subject_role != Role.MEMBER:
        return ()
    return signs(
        tx,
        services.attention,
        author=concern.subject,
        side=concern.side,
        feed=concern.feed,
        message=concern.message,
        verdict=concern.said,
    )


def _run_timer(tx: Tx, ladders: LadderPolicy, case: str, concern: Concern) -> None:
    """Start the ladder, or start it again where this is worse than before or somebody had stopped it.

    A ladder that is running at this level or above is left alone: a second message never moves a timer back. A worse
    one silences nobody whom the running ladder has called, and postpones nothing that it had due.
    """
    first = _first_look(ladders.ladder_for(concern.side, concern.level), concern.pressing)
    duty = cases.obligation_of(tx.conn, case, lock=True)
    if duty is None:
        cases.insert_obligation(tx, case, concern.side, int(concern.level), tx.now + first)
        return
    worse = concern.level > duty.level
    stopped = duty.state == cases.ACKNOWLEDGED and concern.level >= Level.HIGH_NEED
    if not worse and not stopped:
        if duty.state == cases.RUNNING and duty.due_at is not None and tx.now + first < duty.due_at:
            cases.update_obligation(tx, duty, due_at=tx.now + first)
        return
    level = Level(max(int(concern.level), duty.level))
    ladder = ladders.ladder_for(concern.side, level)
    opened_at, due_at = tx.now, tx.now + _first_look(ladder, concern.pressing)
    if duty.state == cases.RUNNING and duty.next_rung > 0:
        # The calls that ring end with the old ladder, so the new one's first calls take their place at once.
        opened_at, due_at = tx.now - ladder.rungs[0].after, tx.now
    if duty.due_at is not None:
        due_at = min(due_at, duty.due_at)
    cases.update_obligation(
        tx,
        duty,
        level=int(level),
        state=cases.RUNNING,
        opened_at=opened_at,
        next_rung=0,
        due_at=due_at,
        acknowledged_by=None,
        acknowledged_at=None,
    )


def _first_look(ladder: Ladder, pressing: bool) -> timedelta:
    """How soon somebody is called: the first rung, or the hold ceiling where that comes sooner."""
    return min(ladder.rungs[0].after, ladder.hold_ceiling) if pressing else ladder.rungs[0].after


def tell_case(tx: Tx, case: str, subject_role: Role, *, author_too: bool = True) -> None:
    """Put the case as it is now on the staff feeds that may see it, and what happened on its subject's inbox.

    `author_too` is False where what happened is not theirs to know: somebody reported them.
    """
    row = cases.case_by_id(tx.conn, case)
    if row is None:
        raise LookupError("a case is told before it is stored")
    item = case_item(tx.conn, row)
    for feed in staff_feeds(subject_role, Side(row.side)):
        if feed == STAFF_CLINICAL and row.side != Side.CARE and not row.clinical:
            continue
        head = tx.append(feed, CASE, case)
        tx.tell(FeedEvent(feed, head.epoch, head.seq, item))
    if author_too and row.care != "none" and subject_role is Role.MEMBER:
        inbox = inbox_feed(row.subject)
        head = tx.append(inbox, HANDLING, case)
        tx.tell(FeedEvent(inbox, head.epoch, head.seq, handling_item(tx.conn, row)))
