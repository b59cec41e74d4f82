"""Every frame of the wire contract, version 1: what a client may say and what the server answers.

Decided here: the names, fields and bounds of each frame. Not decided here: how bytes become frames (`codec`),
which codes exist and when to come back (`codes`), or what a command does (`server.actions`).

Two rules hold for all of them. A command is strict: an unknown field is an error, so that a misspelt field is never
silently ignored. A reply or event is open: a client ignores fields and item kinds that it does not know and advances.

Every command but `beat` carries `client_id`, chosen by the client. A command that changes something is kept with its
first answer, so the same `client_id` sent twice does nothing twice and is answered alike.

Times are integers: milliseconds since 1970-01-01 UTC. A position on a feed is (epoch, seq): `seq` counts from 1 without
gaps, `epoch` changes only when history was replaced (restore, purge).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

# Where the WebSocket is, on the same port as HTTP.
SOCKET_PATH = "/ws"

VERSION = 1
MINOR = 0

# Bounds. A frame over MAX_FRAME_BYTES is refused with an error; one over DISCARD_BYTES ends the connection (1009).
# A reply may be longer than a command: a page holds up to PAGE_SIZE messages of MAX_BODY_CHARS each, a case two pages.
MAX_FRAME_BYTES = 64 * 1024
MAX_REPLY_BYTES = 4 * 1024 * 1024
DISCARD_BYTES = 1024 * 1024
MAX_DEPTH = 16
MAX_BODY_CHARS = 4_000
MAX_FEEDS = 64
PAGE_SIZE = 50

# What a client may offer in `hello.features`; the welcome names those accepted.
FEATURES = ("handling", "console")

# \A and \Z, not ^ and $: `$` also matches before a line break at the end.
ClientId = Annotated[str, Meta(min_length=8, max_length=64, pattern=r"\A[A-Za-z0-9_.:~#-]+\Z")]
FeedName = Annotated[str, Meta(min_length=1, max_length=80, pattern=r"\A[a-z]+(:[A-Za-z0-9_-]+)?\Z")]
Ident = Annotated[str, Meta(min_length=1, max_length=40, pattern=r"\A[A-Za-z0-9_-]+\Z")]
Body = Annotated[str, Meta(min_length=1, max_length=MAX_BODY_CHARS)]
OptionalBody = Annotated[str, Meta(max_length=MAX_BODY_CHARS)]
Seq = Annotated[int, Meta(ge=0, lt=1 << 53)]
Epoch = Annotated[int, Meta(ge=1, lt=1 << 31)]
Limit = Annotated[int, Meta(ge=1, le=PAGE_SIZE)]

ReportReason = Literal["worried", "unkind", "contact", "rules", "other"]
Change = Literal["new", "edit", "release", "hold", "remove"]
Retry = Literal["never", "same", "later"]
Care = Literal["none", "notice", "urgent"]


class Position(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a reader stands on a feed: everything up to and including `seq` of `epoch` was applied."""

    epoch: Epoch
    seq: Seq


class FeedPosition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    feed: FeedName
    epoch: Epoch
    seq: Seq


# --- commands ---------------------------------------------------------------------------------------------------------


class Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", forbid_unknown_fields=True):
    """A frame from the client."""


class Hello(Command, frozen=True, tag="hello"):
    """First frame of every connection; `ticket` is needed where the connection was opened by a cookie."""

    client_id: ClientId
    client: Annotated[str, Meta(max_length=80)]
    features: Annotated[tuple[Annotated[str, Meta(max_length=40)], ...], Meta(max_length=16)] = ()
    resume: Annotated[tuple[FeedPosition, ...], Meta(max_length=MAX_FEEDS)] = ()
    ticket: Annotated[str, Meta(max_length=128)] | None = None


class Join(Command, frozen=True, tag="join"):
    """Follow "room:ID", "inbox", "staff:moderation", "staff:clinical" or "staff:lead"; with `after`, resume there."""

    client_id: ClientId
    feed: FeedName
    after: Position | None = None


class Leave(Command, frozen=True, tag="leave"):
    client_id: ClientId
    feed: FeedName


class Send(Command, frozen=True, tag="send"):
    """Post a message to a room feed. At most MAX_BODY_CHARS characters."""

    client_id: ClientId
    feed: FeedName
    body: Body
    reply_to: Ident | None = None


class Edit(Command, frozen=True, tag="edit"):
    """Replace the text of one's own message; the new text is screened like any other."""

    client_id: ClientId
    feed: FeedName
    message: Ident
    body: Body


class Remove(Command, frozen=True, tag="remove"):
    """Take one's own message away. Staff remove through `act`."""

    client_id: ClientId
    feed: FeedName
    message: Ident


class History(Command, frozen=True, tag="history"):
    """The messages just before position `before` (exclusive), newest last."""

    client_id: ClientId
    feed: FeedName
    before: Seq
    limit: Limit = PAGE_SIZE


class Read(Command, frozen=True, tag="read"):
    """Move one's private read cursor forward; nobody else sees it."""

    client_id: ClientId
    feed: FeedName
    seq: Seq


class Report(Command, frozen=True, tag="report"):
    """Tell the moderators about a message; the reporter is never revealed."""

    client_id: ClientId
    feed: FeedName
    message: Ident
    reason: ReportReason
    body: OptionalBody = ""


class Help(Command, frozen=True, tag="help"):
    """ "I need help now": opens an urgent case without asking the filter. Never rate-limited."""

    client_id: ClientId
    feed: FeedName | None = None
    body: OptionalBody = ""


class Act(Command, frozen=True, tag="act"):
    """A staff member's act on a case, compared and set on `version`.

    `act` is one of the names in the case's `allowed`. `message` names the message acted on (release_message,
    remove_message, hold_message), `body` the private reply (reply) or the closing note (close), `outcome` the outcome
    (close).
    """

    client_id: ClientId
    case: Ident
    version: Seq
    act: Annotated[str, Meta(max_length=40)]
    message: Ident | None = None
    outcome: Annotated[str, Meta(max_length=40)] | None = None
    body: OptionalBody = ""


class OpenCase(Command, frozen=True, tag="open_case"):
    """Read one case with the conversation around it. Every such read leaves an audit row."""

    client_id: ClientId
    case: Ident


class Beat(Command, frozen=True, tag="beat"):
    """The client's heartbeat: the last seq it has applied on each feed. The server repairs what is missing."""

    at: dict[FeedName, Seq] = {}


AnyCommand = Hello | Join | Leave | Send | Edit | Remove | History | Read | Report | Help | Act | OpenCase | Beat


# --- what a reader sees of a message ----------------------------------------------------------------------------------


class Person(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody as others see them: never a real name for a member, always a name and a role for staff."""

    id: str
    name: str
    role: str = "member"


class FoundSpan(msgspec.Struct, frozen=True, omit_defaults=True):
    """One finding, for staff: half-open offsets into `body`, and why."""

    category: str
    level: int
    start: int
    end: int
    reason: str


class Attention(msgspec.Struct, frozen=True, omit_defaults=True):
    """For staff only: why this message was flagged, and its case."""

    level: int
    findings: tuple[FoundSpan, ...] = ()
    case: str | None = None
    complete: bool = True


class View(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="state"):
    """One message as one audience may see it now."""


class Shown(View, frozen=True, tag="shown"):
    id: str
    author: Person
    body: str
    at: int
    edited: bool = False
    edited_at: int | None = None
    reply_to: str | None = None
    attention: Attention | None = None
    client_id: str | None = None


class Held(View, frozen=True, tag="held"):
    """Waiting for a moderator: whole for its author and for staff."""

    id: str
    author: Person
    body: str
    at: int
    reason: str
    edited: bool = False
    edited_at: int | None = None
    reply_to: str | None = None
    attention: Attention | None = None
    client_id: str | None = None


class Withheld(View, frozen=True, tag="withheld"):
    """Something stands here that this reader may not see (yet): no author, time or text."""


class Removed(View, frozen=True, tag="removed"):
    """A tombstone. `by` is "author" or "moderator"."""

    by: str


class Unreadable(View, frozen=True, tag="unreadable"):
    """The text can not be shown any more (erased, or a damaged record); its place in the order stays."""


AnyView = Shown | Held | Withheld | Removed | Unreadable


# --- items on feeds ---------------------------------------------------------------------------------------------------


class Item(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """What an event carries. Applying an item twice changes nothing."""


class MessageItem(Item, frozen=True, tag="message"):
    """Put `view` at place `of` of the room. For "new", `of` is the event's own seq."""

    of: int
    change: Change
    view: AnyView


class RoomItem(Item, frozen=True, tag="room"):
    """The room itself changed, or (on an inbox) a room became available to you."""

    id: str
    name: str
    room_kind: str
    open: bool = True
    purpose: str = ""


class AccessItem(Item, frozen=True, tag="access"):
    """`account` may no longer read this feed; for that account it is the last event."""

    account: str


class HandlingItem(Item, frozen=True, tag="handling"):
    """On the author's inbox: what has truly happened to what they wrote. Each state is a stored fact with its time.

    `states` in order, each one of: sent_to_team, opened (with `by`), answered (with `by`), next_called,
    nobody_on_duty, closed.
    """

    id: str
    care: Care
    message: str | None = None
    states: tuple[HandlingState, ...] = ()


class HandlingState(msgspec.Struct, frozen=True, omit_defaults=True):
    state: str
    at: int
    by: Person | None = None


class CaseItem(Item, frozen=True, tag="case"):
    """On a staff feed: put this case into the queue (closed: take it out)."""

    id: str
    version: int
    state: str
    level: int
    side: str
    subject: Person
    origin: str
    opened_at: int
    raised_at: int
    categories: tuple[str, ...] = ()
    feed: str | None = None
    room_name: str | None = None
    messages: int = 0
    owner: Person | None = None
    due_at: int | None = None
    rung: str | None = None


class PageItem(Item, frozen=True, tag="page"):
    """On a staff member's inbox: you are being called. Rings until somebody acknowledges the obligation.

    With the rung "reachability" and no case: you are asked before your shift whether you can be reached.
    """

    id: str
    case: str
    case_version: int
    level: int
    rung: str
    at: int
    late: bool = False
    state: str = "ringing"
    owner: Person | None = None


AnyItem = MessageItem | RoomItem | AccessItem | HandlingItem | CaseItem | PageItem


# --- replies and events -----------------------------------------------------------------------------------------------


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="t"):
    """A frame from the server. `re` is the `client_id` of the command that it answers."""


class Limits(msgspec.Struct, frozen=True):
    frame_bytes: int = MAX_FRAME_BYTES
    body_chars: int = MAX_BODY_CHARS
    feeds: int = MAX_FEEDS
    page: int = PAGE_SIZE
    beat_ms: int = 15_000


class Welcome(Reply, frozen=True, tag="welcome"):
    re: str
    server: str
    minor: int
    you: Person
    features: tuple[str, ...]
    now: int
    limits: Limits


class Placed(msgspec.Struct, frozen=True):
    """An item at its place in a snapshot or a page."""

    seq: int
    item: AnyItem


class Joined(Reply, frozen=True, tag="joined"):
    """You follow `feed`; you stand at (epoch, seq).

    `recovered`: the missing events follow as ordinary `event` frames after position `after` of the join. Otherwise
    `items` is a snapshot that replaces what the client holds: the newest PAGE_SIZE, oldest first.
    """

    feed: str
    epoch: int
    seq: int
    recovered: bool
    re: str | None = None
    reason: str | None = None
    items: tuple[Placed, ...] = ()
    more: bool = False
    read: int = 0
    unread: int = 0
    room: RoomItem | None = None


class Left(Reply, frozen=True, tag="left"):
    re: str
    feed: str


class Ack(Reply, frozen=True, tag="ack"):
    """Stored, screened and counted: this can not be lost any more.

    `state`: "published" or "held". `care`: what to show the author beside it.
    """

    re: str
    feed: str
    epoch: int
    seq: int
    message: str
    at: int
    state: str
    care: Care = "none"


class Done(Reply, frozen=True, tag="done"):
    """The command was carried out. `version` is the case's new version after `act`."""

    re: str
    care: Care = "none"
    version: int | None = None


class Page(Reply, frozen=True, tag="page"):
    re: str
    feed: str
    items: tuple[Placed, ...]
    more: bool


class CaseFact(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a case's history."""

    at: int
    what: str
    by: Person | None = None
    detail: str = ""


class Closing(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a case was closed last. Without `at` and `by` once it was opened again."""

    outcome: str
    note: str = ""
    at: int | None = None
    by: Person | None = None


class Earlier(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a message of the case said until its author edited it at `at`, and why it was noticed.

    `body` is null where it can not be read any more; the offsets of `findings` are of this body.
    """

    message: str
    at: int
    body: str | None = None
    findings: tuple[FoundSpan, ...] = ()


class CasePage(Reply, frozen=True, tag="case_page"):
    """A case with the conversation around it and what this reader may do now.

    `first_read`: who looked first after it was opened, and when.
    """

    re: str
    case: CaseItem
    items: tuple[Placed, ...]
    history: tuple[CaseFact, ...]
    allowed: tuple[str, ...]
    private_feed: str | None = None
    private: tuple[Placed, ...] = ()
    report: str = ""
    earlier: tuple[Earlier, ...] = ()
    first_read: CaseFact | None = None
    closing: Closing | None = None


class Event(Reply, frozen=True, tag="event"):
    feed: str
    epoch: int
    seq: int
    item: AnyItem


class BeatReply(Reply, frozen=True, tag="beat"):
    """Where each followed feed stands now, and the server's clock."""

    now: int
    at: dict[str, Position]


class Drain(Reply, frozen=True, tag="drain"):
    """This server is about to restart: connect again after `after_ms` (each client is given its own delay)."""

    after_ms: int


class Error(Reply, frozen=True, tag="error"):
    """The command named by `re` was not carried out. `code` is stable; `message` says what to do.

    `retry`: "never" (the same command will fail again), "same" (send it again, same client_id, at once),
    "later" (send it again after `retry_after_ms`).
    """

    code: str
    message: str
    retry: Retry
    request_id: str
    re: str | None = None
    field: str | None = None
    retry_after_ms: int | None = None


AnyReply = Welcome | Joined | Left | Ack | Done | Page | CasePage | Event | BeatReply | Drain | Error
