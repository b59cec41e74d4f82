"""Frames as the templates show them: plain values with every text already looked up.

Pure. Decided here: what a row says for each view, case, call and state. The same rules as the browser's modules
(`core/message-row.js`, `core/support.js`); markup is made elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from server.protocol.frames import (
    AnyView,
    CaseFact,
    CaseItem,
    Closing,
    Earlier,
    FoundSpan,
    HandlingItem,
    Held,
    MessageItem,
    PageItem,
    Person,
    Placed,
    Removed,
    RoomItem,
    Shown,
    Unreadable,
    Withheld,
)
from server.web.texts import Texts

LONDON = ZoneInfo("Europe/London")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SUPPORT = "support"


@dataclass(frozen=True, slots=True)
class Moment:
    """A time for people and for programs."""

    clock: str
    iso: str


def moment(at: int) -> Moment:
    """`at`, milliseconds since 1970, as wall time in London."""
    when = _EPOCH + timedelta(milliseconds=at)
    iso = when.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    return Moment(f"{when.astimezone(LONDON):%-d %b, %H:%M}", iso)


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of a body's text; `level` 0 where nothing was found."""

    text: str
    level: int


@dataclass(frozen=True, slots=True)
class Finding:
    level: int
    category: str
    reason: str


@dataclass(frozen=True, slots=True)
class Row:
    key: str
    kind: str
    place: int
    text: str = ""
    id: str = ""
    name: str = ""
    role: str = "member"
    staff: bool = False
    mine: bool = False
    body: str = ""
    pieces: tuple[Piece, ...] = ()
    clock: str = ""
    iso: str = ""
    edited: bool = False
    edited_at: Moment | None = None
    reason: str = ""
    attention: bool = False
    level: int = 0
    findings: tuple[Finding, ...] = ()
    incomplete: bool = False


def rows(items: Iterable[Placed], me: str, texts: Texts) -> tuple[Row, ...]:
    """The messages of a snapshot or page by place; the last word on a place wins."""
    views: dict[int, AnyView] = {}
    for placed in items:
        if isinstance(placed.item, MessageItem):
            views[placed.item.of] = placed.item.view
    return tuple(row(place, views[place], me, texts) for place in sorted(views))


def row(place: int, view: AnyView, me: str, texts: Texts) -> Row:
    match view:
        case Shown() | Held():
            mine = view.author.id == me
            own_key = mine and view.client_id
            at = moment(view.at)
            return Row(
                key=f"c:{view.client_id}" if own_key else f"m:{place}",
                kind="held" if isinstance(view, Held) else "shown",
                place=place,
                id=view.id,
                name=view.author.name,
                role=view.author.role,
                staff=view.author.role != "member",
                mine=mine,
                body=view.body,
                pieces=pieces(view.body, view.attention.findings if view.attention else ()),
                clock=at.clock,
                iso=at.iso,
                edited=view.edited,
                edited_at=None if view.edited_at is None else moment(view.edited_at),
                reason=held_reason(view.reason, texts) if isinstance(view, Held) else "",
                attention=view.attention is not None,
                level=view.attention.level if view.attention else 0,
                findings=_findings(view.attention.findings if view.attention else (), texts),
                incomplete=view.attention is not None and not view.attention.complete,
            )
        case Removed():
            by = "author" if view.by == "author" else "moderator"
            return Row(f"m:{place}", "removed", place, texts(f"view.removed_{by}"))
        case Withheld():
            return Row(f"m:{place}", "withheld", place, texts("view.withheld"))
        case Unreadable():
            return Row(f"m:{place}", "unreadable", place, texts("view.unreadable"))


def _findings(found: Iterable[FoundSpan], texts: Texts) -> tuple[Finding, ...]:
    return tuple(Finding(f.level, texts(f"category.{f.category}") if f.category else "", f.reason) for f in found)


@dataclass(frozen=True, slots=True)
class EarlierRow:
    """What a message said before an edit; no `pieces` where it can not be read any more."""

    clock: str
    iso: str
    pieces: tuple[Piece, ...]
    findings: tuple[Finding, ...]


def earlier(versions: Iterable[Earlier], texts: Texts) -> tuple[EarlierRow, ...]:
    """Earlier versions of a case's messages, as they came."""
    drawn = []
    for old in versions:
        at = moment(old.at)
        found = _findings(old.findings, texts)
        drawn.append(EarlierRow(at.clock, at.iso, pieces(old.body or "", old.findings), found))
    return tuple(drawn)


def pieces(body: str, findings: Iterable[FoundSpan]) -> tuple[Piece, ...]:
    """`body` cut where findings begin and end; where they overlap the highest level wins."""
    levels = [0] * len(body)
    for found in findings:
        for i in range(max(0, found.start), min(found.end, len(body))):
            levels[i] = max(levels[i], found.level)
    out: list[Piece] = []
    start = 0
    for i in range(1, len(body) + 1):
        if i == len(body) or levels[i] != levels[start]:
            out.append(Piece(body[start:i], levels[start]))
            start = i
    return tuple(out)


def held_reason(reason: str, texts: Texts) -> str:
    return texts.maybe(f"held.{reason}") or texts("held.default")


@dataclass(frozen=True, slots=True)
class StateLine:
    clock: str
    iso: str
    text: str


@dataclass(frozen=True, slots=True)
class Handling:
    id: str
    states: tuple[StateLine, ...]


def handling(items: Iterable[Placed], texts: Texts) -> tuple[Handling, ...]:
    """What has truly happened to what this person wrote, newest two; unknown states are passed over, never guessed."""
    found: dict[str, HandlingItem] = {}
    for placed in items:
        if isinstance(placed.item, HandlingItem) and placed.item.care != "none":
            found[placed.item.id] = placed.item
    newest = sorted(found.values(), key=lambda h: max((s.at for s in h.states), default=0), reverse=True)
    drawn = (Handling(h.id, _states(h, texts)) for h in newest)
    return tuple(h for h in drawn if h.states)[:2]


# After these it is worth saying that nobody has opened it, as long as no named person stands in the list.
_UNSEEN = ("sent_to_team", "next_called")


def _states(item: HandlingItem, texts: Texts) -> tuple[StateLine, ...]:
    seen = any(state.by is not None for state in item.states)
    known = [state for state in item.states if texts.maybe(f"handling.{state.state}") is not None]
    lines = []
    for state in known:
        name = state.by.name if state.by else texts("handling.someone")
        role = f", {texts('role.' + state.by.role).lower()}," if state.by else ""
        text = texts(f"handling.{state.state}").replace(", {role},", role).replace("{name}", name)
        if state is known[-1] and not seen and state.state in _UNSEEN:
            text = f"{text} {texts('handling.not_opened')}"
        at = moment(state.at)
        lines.append(StateLine(at.clock, at.iso, text))
    return tuple(lines)


def private_rooms(items: Iterable[Placed], here: str = "") -> tuple[RoomItem, ...]:
    """Support rooms that the team has opened for this person, other than the one they are in."""
    found = {p.item.id: p.item for p in items if isinstance(p.item, RoomItem) and p.item.room_kind == SUPPORT}
    return tuple(room for room in found.values() if room.open and room.id != here)


@dataclass(frozen=True, slots=True)
class CaseLine:
    id: str
    version: int
    level: int
    state: str
    name: str
    gist: str
    room: str
    categories: str
    owner: str
    clock: str
    iso: str


def gist(case: CaseItem, texts: Texts) -> str:
    """What opened the case and how often something was noticed, in neutral words: never a word of theirs."""
    opened = texts(f"gist.{case.origin}")
    return opened if case.messages < 2 else f"{opened} · {texts('console.noticed', n=case.messages)}"


def owner_text(owner: Person | None, texts: Texts) -> str:
    return texts("console.owner", name=owner.name) if owner else texts("console.nobody")


def case_line(case: CaseItem, texts: Texts) -> CaseLine:
    at = moment(case.raised_at)
    return CaseLine(
        id=case.id,
        version=case.version,
        level=case.level,
        state=texts(f"state.{case.state}"),
        name=case.subject.name,
        gist=gist(case, texts),
        room=case.room_name or "",
        categories=", ".join(texts(f"category.{name}") for name in case.categories),
        owner=owner_text(case.owner, texts),
        clock=at.clock,
        iso=at.iso,
    )


def queue(items: Iterable[Placed], texts: Texts) -> tuple[CaseLine, ...]:
    """Open cases, most urgent first, then whatever has waited longest."""
    cases: dict[str, CaseItem] = {}
    for placed in items:
        item = placed.item
        if isinstance(item, CaseItem) and (item.id not in cases or item.version >= cases[item.id].version):
            cases[item.id] = item
    waiting = [c for c in cases.values() if c.state != "closed"]
    return tuple(case_line(c, texts) for c in sorted(waiting, key=lambda c: (-c.level, c.raised_at, c.id)))


@dataclass(frozen=True, slots=True)
class Call:
    id: str
    case: str
    version: int
    level: int
    rung: str
    late: bool
    clock: str
    iso: str
    client_id: str


def calls(items: Iterable[Placed], client_id: str) -> tuple[Call, ...]:
    """Calls that ring for this person, newest first."""
    pages = {p.item.id: p.item for p in items if isinstance(p.item, PageItem)}
    ordered = sorted(pages.values(), key=lambda p: (-p.at, p.id))
    return tuple(_call(page, f"{client_id}-{n}") for n, page in enumerate(ordered))


def _call(page: PageItem, client_id: str) -> Call:
    at = moment(page.at)
    return Call(
        id=page.id,
        case=page.case,
        version=page.case_version,
        level=page.level,
        rung=page.rung,
        late=page.late,
        clock=at.clock,
        iso=at.iso,
        client_id=client_id,
    )


# Where the detail of a line of a case's history is a code, the section of the catalogue that knows it.
DETAILS = {"rung": "rung", "nobody": "rung", "close": "outcome", "open": "origin", "raise": "origin"}


@dataclass(frozen=True, slots=True)
class FactLine:
    clock: str
    iso: str
    what: str
    by: str
    detail: str


def facts(history: Iterable[CaseFact], texts: Texts) -> tuple[FactLine, ...]:
    return tuple(_fact(fact, texts) for fact in history)


def _fact(fact: CaseFact, texts: Texts) -> FactLine:
    at = moment(fact.at)
    section = DETAILS.get(fact.what)
    detail = texts(f"{section}.{fact.detail}") if section and fact.detail else fact.detail
    return FactLine(at.clock, at.iso, texts(f"fact.{fact.what}"), fact.by.name if fact.by else "", detail)


@dataclass(frozen=True, slots=True)
class ClosingLine:
    """How a case was closed; no `clock` once it was opened again."""

    said: str
    outcome: str
    note: str
    clock: str
    iso: str


def closing(closed: Closing | None, texts: Texts) -> ClosingLine | None:
    if closed is None:
        return None
    outcome = texts(f"outcome.{closed.outcome}")
    if closed.at is None:
        return ClosingLine(texts("console.closed_before"), outcome, closed.note, "", "")
    at = moment(closed.at)
    name = closed.by.name if closed.by else texts("handling.someone")
    return ClosingLine(texts("console.closed_by", name=name), outcome, closed.note, at.clock, at.iso)
