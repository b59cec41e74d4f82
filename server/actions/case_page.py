"""What somebody on duty sees of a case: the conversation around it, its history, and what they may do now.

The wall is here: a matter of the care side is for clinicians, one about staff for the clinical lead, and a community
matter reaches a clinician once one was called. A facilitator sees the cases of their own groups. No therapy message is
ever on a moderator's page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Connection, Row, select

from moderation.cases import Act, CaseState, allowed_acts
from moderation.ladders import Side
from moderation.types import Role, RoomKind
from server.actions.rendering import case_item, message_event, person, placed_messages
from server.actions.reports import report_place
from server.auth.requester import Requester
from server.clock import to_ms
from server.feeds import Audience
from server.ids import room_feed
from server.protocol.frames import (
    AnyItem,
    Attention,
    CaseFact,
    CasePage,
    Closing,
    Earlier,
    FoundSpan,
    Held,
    MessageItem,
    Person,
    Placed,
    Shown,
)
from server.rooms import Member, MessageRecord, MessageState, attention, is_staff_of
from server.store import cases, feeds, messages, rooms
from server.store.keys import Keyring
from server.store.schema import account, case_message, case_report, message

AROUND = 15
PRIVATE = 50


def may_see(conn: Connection, requester: Requester, row: Row[Any]) -> bool:
    """Whether this person may see this case at all."""
    if row.subject == requester.account:
        return False
    about = conn.execute(select(account.c.role).where(account.c.id == row.subject)).scalar_one_or_none()
    if about is not None and about != Role.MEMBER:
        return requester.role is Role.CLINICAL_LEAD
    if requester.role is Role.FACILITATOR:
        return row.side == Side.GROUP and _is_of(conn, requester, row.feed)
    if row.side == Side.CARE:
        return requester.role in (Role.CLINICIAN, Role.CLINICAL_LEAD)
    if requester.role is Role.CLINICIAN:
        return bool(row.clinical)
    return requester.role in (Role.MODERATOR, Role.MODERATOR_LEAD, Role.CLINICAL_LEAD)


def _is_of(conn: Connection, requester: Requester, feed: str | None) -> bool:
    """Whether the requester belongs to that room by name."""
    return feed is not None and rooms.standing(conn, feed.partition(":")[2], requester.account) is Member.ACTIVE


def case_page(conn: Connection, keys: Keyring, requester: Requester, row: Row[Any], re: str) -> CasePage:
    """The whole page of a case that `may_see` allows: a facilitator's holds nothing from beyond their own rooms."""
    mine = row.claimed_by == requester.account
    support = rooms.support_room_of(conn, row.subject) if _answers_privately(row, requester) else None
    own = row.feed if requester.role is Role.FACILITATOR else None
    history = cases.history(conn, row.id)
    first = next((line for line in history if line.act == "looked"), None)
    private: list[tuple[int, str]] = []
    if support is not None:
        private = feeds.page_before(conn, room_feed(support.id), 1 << 53, PRIVATE)
    return CasePage(
        re=re,
        case=case_item(conn, row),
        items=_placed(conn, keys, requester, _places(conn, row), row.id),
        history=tuple(_fact(line) for line in history),
        allowed=tuple(str(act) for act in acts_on(row, requester, mine)),
        private_feed=None if support is None else room_feed(support.id),
        private=_placed(conn, keys, requester, private),
        report="\n".join(_reports(conn, keys, row.id, own)),
        earlier=_before_edits(conn, keys, row.id, own),
        first_read=None if first is None else _fact(first),
        closing=_closing(conn, keys, row),
    )


def acts_on(row: Row[Any], requester: Requester, mine: bool) -> tuple[Act, ...]:
    """What this person may do with the case now.

    A private reply goes to the room that every moderator reads; a matter of the care side is never answered there, and
    nothing by somebody who does not read it.
    """
    acts = allowed_acts(CaseState(row.state), requester.role, mine)
    return tuple(act for act in acts if act is not Act.REPLY or _answers_privately(row, requester))


def _answers_privately(row: Row[Any], requester: Requester) -> bool:
    return row.side != Side.CARE and is_staff_of(RoomKind.SUPPORT, requester.role)


def _places(conn: Connection, row: Row[Any]) -> list[tuple[int, str]]:
    """The case's own messages in its room, with what was said around the latest of them."""
    own = conn.execute(
        select(message.c.seq, message.c.id, message.c.feed)
        .join(case_message, case_message.c.message == message.c.id)
        .where(case_message.c.case == row.id)
        .order_by(message.c.seq)
    ).all()
    places = {place.seq: place.id for place in own if place.feed == row.feed}
    if row.feed is not None:
        head = feeds.heads(conn, [row.feed]).get(row.feed)
        latest = max(places, default=head.seq if head is not None else 0)
        places |= dict(feeds.around(conn, row.feed, latest, AROUND))
    return sorted(places.items())


def _placed(
    conn: Connection, keys: Keyring, requester: Requester, places: list[tuple[int, str]], case: str | None = None
) -> tuple[Placed, ...]:
    found = placed_messages(conn, keys, places)
    levels = {} if case is None else cases.message_levels(conn, case)
    added = {} if case is None else messages.added_findings(conn, case)
    return tuple(
        Placed(seq, _noticed(_for_staff(record, requester), case, levels.get(record.id), _spans(added, record.id)))
        for seq, record in found
        if record is not None
    )


def _spans(found: Mapping[str, Sequence[Row[Any]]], message: str) -> tuple[FoundSpan, ...]:
    return tuple(FoundSpan(f.category, f.level, f.start, f.end, f.reason) for f in found.get(message, ()))


def _noticed(item: AnyItem, case: str | None, level: int | None, added: tuple[FoundSpan, ...]) -> AnyItem:
    """A message of the case stays marked as such, at the level at which it came in, though it was edited since.

    `added` is what the second stage found: the room is not told of it, those who answer the case are.
    """
    view = item.view if isinstance(item, MessageItem) else None
    if level is None or not isinstance(view, Shown | Held) or (view.attention is not None and not added):
        return item
    before = view.attention or Attention(level, case=case)
    most = max(before.level, *(span.level for span in added), 0)
    noticed = replace(before, level=most, findings=(*added, *before.findings))
    return replace(item, view=replace(view, attention=noticed))


def _for_staff(record: MessageRecord, requester: Requester) -> AnyItem:
    """A message as the case keeps it: what was removed is still here, whole."""
    if record.state is MessageState.REMOVED and record.body is not None:
        view = Held(
            id=record.id,
            author=record.author,
            body=record.body,
            at=record.at,
            reason=f"removed_by_{record.removed_by or 'moderator'}",
            edited=record.version > 1,
            edited_at=record.edited_at,
            reply_to=record.reply_to,
            attention=attention(record),
        )
        return MessageItem(of=record.seq, change="remove", view=view)
    return message_event(record, "new", 1, record.seq).item_for(Audience.STAFF, requester.account)


def _fact(line: Row[Any]) -> CaseFact:
    by = None if line.actor is None else Person(line.actor, line.name or "", line.role or "member")
    return CaseFact(at=to_ms(line.at), what=line.act, by=by, detail=line.detail)


def _closing(conn: Connection, keys: Keyring, row: Row[Any]) -> Closing | None:
    """How the case was closed last; whoever goes on with one that was opened again still reads why it was closed."""
    if row.outcome is None:
        return None
    key = None if row.note_key is None else keys.by_id(conn, row.note_key)
    note = None if key is None else key.open(note_place(row.id), row.note)
    return Closing(
        outcome=row.outcome,
        note=note or "",
        at=None if row.closed_at is None else to_ms(row.closed_at),
        by=None if row.closed_by is None else person(conn, row.closed_by),
    )


def note_place(case: str) -> str:
    """What binds a closing note to its row."""
    return f"review_case:{case}:1:note"


def _before_edits(conn: Connection, keys: Keyring, case: str, feed: str | None) -> tuple[Earlier, ...]:
    """What the case's messages said before their authors edited them, and what was found in it, oldest first.

    With `feed`, only those of that room.
    """
    return tuple(
        Earlier(
            message=old.message,
            at=to_ms(old.until),
            body=old.body,
            findings=tuple(FoundSpan(f.category, f.level, f.start, f.end, f.reason) for f in found),
        )
        for old, found in messages.earlier_versions(conn, keys, case, feed)
    )


def _reports(conn: Connection, keys: Keyring, case: str, feed: str | None) -> list[str]:
    """What people told the team, oldest first, without who they were; with `feed`, only about messages of that room."""
    query = select(case_report).where(case_report.c.case == case).order_by(case_report.c.at)
    if feed is not None:
        query = query.join(message, message.c.id == case_report.c.message).where(message.c.feed == feed)
    rows = conn.execute(query).all()
    words: list[str] = []
    for row in rows:
        key = keys.by_id(conn, row.key_id)
        body = None if key is None else key.open(report_place(row.id), row.body)
        words.append(f"{row.reason}: {body}" if body else row.reason)
    return words
