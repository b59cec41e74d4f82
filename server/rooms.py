"""Chat rules without I/O: kinds and states of rooms, who may read and write, and which view each reader is given.

A message is PUBLISHED, HELD or REMOVED. What is held is whole for its author and for staff and a gap for everybody
else; what is removed is a tombstone for all; what can not be opened any more keeps its place. A view is always what the
reader may see now, never what they could have seen then.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from msgspec import Struct

from moderation.ladders import Side
from moderation.types import Category, Disposition, Level, Role, RoomKind, Verdict
from server.protocol.frames import (
    AnyView,
    Attention,
    Care,
    FoundSpan,
    Held,
    Person,
    Removed,
    Shown,
    Unreadable,
    Withheld,
)


class RoomState(StrEnum):
    OPEN = "open"
    READ_ONLY = "read_only"
    CLOSED = "closed"


class MessageState(StrEnum):
    PUBLISHED = "published"
    HELD = "held"
    REMOVED = "removed"


class Member(StrEnum):
    """Where somebody stands in a room."""

    ACTIVE = "active"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Room:
    """A place to talk. `subject` is the member whom a therapy or support room is about."""

    id: str
    kind: RoomKind
    name: str
    purpose: str
    state: RoomState
    subject: str | None


# Which staff belong to which kind of room by their role. A facilitator is a member of their groups. The wall: nobody
# of the community's staff is in a therapy room, and a therapist is in a room only by membership.
_MODERATION = frozenset({Role.MODERATOR, Role.MODERATOR_LEAD, Role.CLINICIAN, Role.CLINICAL_LEAD})
_STAFF_OF: dict[RoomKind, frozenset[Role]] = {
    RoomKind.COMMUNITY: _MODERATION,
    RoomKind.GROUP: _MODERATION,
    RoomKind.SUPPORT: _MODERATION,
    RoomKind.THERAPY: frozenset(),
}

_SIDE_OF: dict[RoomKind, Side] = {
    RoomKind.COMMUNITY: Side.COMMUNITY,
    RoomKind.SUPPORT: Side.COMMUNITY,
    RoomKind.GROUP: Side.GROUP,
    RoomKind.THERAPY: Side.CARE,
}

# Categories for which help is laid beside what somebody wrote; an attack or a phone number is not a cry for help.
_CARE = frozenset(
    {
        Category.SUICIDE,
        Category.SELF_HARM,
        Category.OVERDOSE,
        Category.VIOLENCE,
        Category.ABUSE,
        Category.EATING,
        Category.CRISIS,
    }
)


def side_of(kind: RoomKind) -> Side:
    """The side of the wall on which a room lies."""
    return _SIDE_OF[kind]


def is_staff_of(kind: RoomKind, role: Role) -> bool:
    """Whether `role` is in rooms of that kind by office, without being a member of them."""
    return role in _STAFF_OF[kind]


def may_read(room: Room, role: Role, member: Member | None) -> bool:
    """Whether somebody may follow the room. A community room is open to every member who was not removed from it."""
    if is_staff_of(room.kind, role):
        return True
    if member is Member.REMOVED:
        return False
    return member is Member.ACTIVE or (room.kind is RoomKind.COMMUNITY and role is Role.MEMBER)


def may_post(room: Room, role: Role, member: Member | None) -> bool:
    """Whether somebody may write in the room now; staff of the room may also where it is read-only."""
    if room.state is RoomState.CLOSED:
        return False
    if is_staff_of(room.kind, role):
        return True
    return room.state is RoomState.OPEN and member is Member.ACTIVE


def care_for(verdict: Verdict) -> Care:
    """What is laid beside their words for the author: nothing, a note that somebody will look, or urgent help."""
    level = max((f.level for f in verdict.findings if f.category in _CARE), default=Level.NONE)
    if level >= Level.URGENT:
        return "urgent"
    return "notice" if level is Level.HIGH_NEED else "none"


def state_for(disposition: Disposition) -> MessageState:
    """How a message with that disposition begins."""
    return MessageState.HELD if disposition is Disposition.HOLD else MessageState.PUBLISHED


def hold_reason(verdict: Verdict) -> str:
    """The code of the kind words that the author of a held message is shown (texts: `held_...`)."""
    if not verdict.complete:
        return "unchecked"
    first = next((f.category for f in verdict.findings if f.category is not None), None)
    if first is Category.CONTACT:
        return "contact"
    if first is Category.HARASSMENT:
        return "unkind"
    return "safety"


class MessageRecord(Struct, frozen=True):
    """A message as stored and opened; `body` is None if it can not be opened any more. Times in milliseconds."""

    id: str
    feed: str
    seq: int
    author: Person
    client_id: str
    body: str | None
    state: MessageState
    version: int
    at: int
    verdict: Verdict
    edited_at: int | None = None
    reply_to: str | None = None
    removed_by: str | None = None
    case: str | None = None


@dataclass(frozen=True, slots=True)
class Views:
    """One message for each kind of reader; `author` is None where the author sees what members see."""

    member: AnyView
    staff: AnyView
    author: AnyView | None = None


def masked(body: str, verdict: Verdict) -> str:
    """`body` with the spans that members must not see replaced by dots of the same length."""
    for start, end in reversed(verdict.mask_spans):
        body = body[:start] + "•" * (end - start) + body[end:]
    return body


def attention(record: MessageRecord) -> Attention | None:
    """What staff are told about a message; None for one that nothing was found in."""
    verdict = record.verdict
    if verdict.level is Level.NONE and verdict.complete:
        return None
    found = tuple(FoundSpan(f.category or "", int(f.level), f.start, f.end, f.reason) for f in verdict.findings)
    return Attention(int(verdict.level), found, record.case, verdict.complete)


def views(record: MessageRecord) -> Views:
    """What members, the author and staff may see of `record` now."""
    if record.state is MessageState.REMOVED:
        tombstone = Removed(by=record.removed_by or "moderator")
        return Views(tombstone, tombstone)
    if record.body is None:
        return Views(Unreadable(), Unreadable())
    edited = record.version > 1
    if record.state is MessageState.HELD:

        def held(noticed: Attention | None) -> Held:
            return Held(
                id=record.id,
                author=record.author,
                body=record.body or "",
                at=record.at,
                reason=hold_reason(record.verdict),
                edited=edited,
                edited_at=record.edited_at,
                reply_to=record.reply_to,
                attention=noticed,
                client_id=record.client_id if noticed is None else None,
            )

        return Views(Withheld(), held(attention(record)), held(None))

    def shown(body: str, noticed: Attention | None) -> Shown:
        return Shown(
            id=record.id,
            author=record.author,
            body=body,
            at=record.at,
            edited=edited,
            edited_at=record.edited_at,
            reply_to=record.reply_to,
            attention=noticed,
        )

    noticed = attention(record)
    hidden = masked(record.body, record.verdict)
    member = shown(hidden, None)
    staff = member if noticed is None else shown(record.body, noticed)
    return Views(member, staff, None if hidden == record.body else shown(record.body, None))
