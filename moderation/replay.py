"""What was known of a case at an instant: one pure fold over what happened to it, in the order in which it was stored.

Nothing is looked up and nothing is guessed: `fold` takes the events of a case and gives what they make of it. At the
end of all of them that is what the live page says (a test holds the two together); at any instant before, it is what
that page would have said then. Decided here: what each event changes. Not decided here: where events come from, who may
see them, and what a message said (`server.actions.replaying`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

from moderation.cases import Act, CaseState, after, joined
from moderation.types import Disposition, Level

RUNNING, ACKNOWLEDGED, MET = "running", "acknowledged", "met"
_STATES = MappingProxyType(
    {"new": "published", "release": "published", "hold": "held", "remove": "removed"},
)
# What is known of a call once this happened to it; a failed attempt is tried again, and what was answered stays so.
_CALLS = MappingProxyType(
    {"planned": "pending", "tried": "pending", "sent": "sent", "answered": "answered", "failed": "failed"}
    | {"unknown": "unknown"}
)


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that was noticed: the entry and half-open offsets into the text of that version."""

    check: str
    category: str
    level: int
    entry_id: str
    start: int
    end: int
    reason: str


@dataclass(frozen=True, slots=True)
class Happened:
    """A line of the case's history.

    `message` is what it is about; `level`, `categories` and `feed` what an open or a raise brought, `found` what a
    second reading did.
    """

    at: datetime
    n: int
    act: str
    actor: str | None = None
    detail: str = ""
    message: str | None = None
    level: int | None = None
    categories: str = ""
    feed: str | None = None
    found: tuple[Found, ...] = ()


@dataclass(frozen=True, slots=True)
class Screened:
    """What the filter said of one version of a message, by which lists and which policy."""

    level: int
    score: float
    disposition: str
    list_version: str
    policy_version: str
    complete: bool
    findings: tuple[Found, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """A change of a message of the case: new, edit, release, hold or remove.

    `screened` where a text came with it (new, edit); `state` in which a new one was kept.
    """

    at: datetime
    n: int
    message: str
    change: str
    feed: str
    author: str
    screened: Screened | None = None
    state: str = ""


@dataclass(frozen=True, slots=True)
class Called:
    """Something that became of a call: planned, tried (without success), sent, failed for good, answered."""

    at: datetime
    n: int
    call: str
    what: str
    recipient: str
    channel: str
    audience: str
    rung: int
    level: int


@dataclass(frozen=True, slots=True)
class Looked:
    """Somebody was shown something of the case; `how` is the act of the audit."""

    at: datetime
    n: int
    actor: str
    how: str


@dataclass(frozen=True, slots=True)
class Told:
    """Somebody told the team: a report about `message`, or a call for help. Who it was is not here."""

    at: datetime
    n: int
    report: str
    reason: str
    message: str | None


@dataclass(frozen=True, slots=True)
class Said:
    """A private message between the case's subject and the team."""

    at: datetime
    n: int
    message: str
    author: str
    role: str


Event = Happened | Written | Called | Looked | Told | Said


@dataclass(frozen=True, slots=True)
class CaseNow:
    """The case as it was. `categories` in the order in which they came."""

    state: CaseState
    origin: str
    level: int
    categories: str
    feed: str | None
    messages: int
    opened_at: datetime
    raised_at: datetime
    owner: str | None = None
    owned_since: datetime | None = None
    outcome: str | None = None
    closed_by: str | None = None
    closed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DutyNow:
    """Whether people were being called, somebody had taken it, or it was done."""

    state: str
    level: int
    by: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class MessageNow:
    """A message as it was.

    `brought`: the level at which it came into the case; None: it had not yet. `added`: what was found in this version
    on a second reading.
    """

    message: str
    author: str
    feed: str
    state: str
    version: int
    screened: Screened | None
    brought: int | None = None
    added: tuple[Found, ...] = ()


@dataclass(frozen=True, slots=True)
class CallNow:
    """A call as it was: who, by which channel, how often it was tried, and what came of it, since when."""

    call: str
    recipient: str
    channel: str
    audience: str
    rung: int
    level: int
    state: str
    attempts: int
    planned_at: datetime
    since: datetime


@dataclass(frozen=True, slots=True)
class State:
    """All that was known. `at` None: of everything that ever happened."""

    at: datetime | None
    case: CaseNow | None = None
    duty: DutyNow | None = None
    messages: Mapping[str, MessageNow] = field(default_factory=dict)
    calls: Mapping[str, CallNow] = field(default_factory=dict)
    history: tuple[Happened, ...] = ()
    looks: tuple[Looked, ...] = ()
    told: tuple[Told, ...] = ()
    said: tuple[Said, ...] = ()


def fold(events: Iterable[Event], at: datetime | None = None) -> State:
    """What the events up to and including `at` make of the case; None: all of them.

    The order is that of storing (`n`, for each kind by itself), whatever the clock said: it may have been set back.
    """
    state = State(at)
    kept = [event for event in events if at is None or event.at <= at]
    for event in sorted(kept, key=lambda e: (_RANK[type(e)], e.n)):
        state = _after(state, event)
    return state


def instants(events: Sequence[Event]) -> tuple[datetime, ...]:
    """Every moment at which something happened, each once, in order of time."""
    return tuple(sorted({event.at for event in events}))


# What these are about is in the case already, or never comes into it.
_NOT_INTO = frozenset({"edited", Act.RELEASE_MESSAGE})
# Messages first: what an act on one says of the case depends on it, and nothing of a message on the case.
_RANK = {Written: 0, Happened: 1, Called: 2, Looked: 3, Told: 4, Said: 5}


def _after(state: State, event: Event) -> State:
    match event:
        case Written():
            return replace(state, messages={**state.messages, event.message: _written(state, event)})
        case Happened():
            return _happened(replace(state, history=(*state.history, event)), event)
        case Called():
            return replace(state, calls={**state.calls, event.call: _called(state, event)})
        case Looked():
            return replace(state, looks=(*state.looks, event))
        case Told():
            return replace(state, told=(*state.told, event))
        case Said():
            return replace(state, said=(*state.said, event))


def _written(state: State, event: Written) -> MessageNow:
    known = state.messages.get(event.message)
    if known is None:
        kept = event.state or _STATES.get(event.change, "published")
        return MessageNow(event.message, event.author, event.feed, kept, 1, event.screened)
    if event.change != "edit":
        return replace(known, state=_STATES[event.change])
    # What is held stays held: an edit publishes nothing that nobody has looked at.
    holds = known.state == "held" or (event.screened is not None and event.screened.disposition == Disposition.HOLD)
    kept = "held" if holds else "published"
    return replace(known, state=kept, version=known.version + 1, screened=event.screened, added=())


def _called(state: State, event: Called) -> CallNow:
    known = state.calls.get(event.call)
    if known is None:
        known = CallNow(
            event.call,
            event.recipient,
            event.channel,
            event.audience,
            event.rung,
            event.level,
            "pending",
            0,
            event.at,
            event.at,
        )
    tried = 1 if event.what in ("tried", "sent") else 0
    return replace(known, state=_CALLS[event.what], attempts=known.attempts + tried, since=event.at)


def _happened(state: State, line: Happened) -> State:
    if line.act in ("open", "raise"):
        state = _raised(state, line)
    elif state.case is not None:
        state = _acted(state, state.case, line)
    if line.act not in _NOT_INTO and line.message in state.messages:
        state = _brought(state, line)
    return state


def _raised(state: State, line: Happened) -> State:
    """A case opens or rises; its ladder runs where this is worse, or somebody had stopped it."""
    level = Level(line.level or 0)
    case, duty = state.case, state.duty
    if case is None:
        opened = CaseNow(CaseState.OPEN, line.detail, int(level), line.categories, line.feed, 1, line.at, line.at)
        return replace(state, case=opened, duty=DutyNow(RUNNING, int(level)))
    case = replace(
        case,
        level=int(joined(Level(case.level), level)),
        categories="".join(dict.fromkeys(case.categories + line.categories)),
        messages=case.messages + 1,
        raised_at=line.at,
        feed=line.feed or case.feed,
    )
    stopped = duty is not None and duty.state == ACKNOWLEDGED and level >= Level.HIGH_NEED
    if duty is None or duty.state == MET or level > duty.level or stopped:
        most = int(level) if duty is None or duty.state == MET else max(int(level), duty.level)
        duty = DutyNow(RUNNING, most)
    return replace(state, case=case, duty=duty)


def _acted(state: State, case: CaseNow, line: Happened) -> State:
    duty = state.duty or DutyNow(MET, case.level)
    # A duty that was done begins anew at the level of the case.
    level = case.level if duty.state == MET else duty.level
    match line.act:
        case "ran_out" | "not_handed_over":
            return replace(state, case=_nobodys(case, CaseState.OPEN), duty=DutyNow(RUNNING, level))
        case "unverified":
            freed = case if case.state is CaseState.CLOSED else _nobodys(case, CaseState.OPEN)
            return replace(state, case=freed, duty=DutyNow(RUNNING, level))
        case "rearmed":
            return replace(state, duty=DutyNow(RUNNING, level) if duty.state == MET else duty)
    try:
        act = Act(line.act)
    except ValueError:
        return state  # looked, edited, rung, nobody, run, spread, hand-overs: they are known, and change nothing
    next_state = after(case.state, act)
    if next_state is None:
        return state  # a reply that was said when another had closed the case, or given it up: nothing moves
    changed = replace(case, state=next_state)
    match act:
        case Act.CLAIM | Act.ACKNOWLEDGE:
            changed = replace(changed, owner=line.actor, owned_since=line.at)
        case Act.RELEASE_CLAIM | Act.REOPEN:
            changed = replace(_nobodys(changed, changed.state), closed_by=None, closed_at=None)
        case Act.CLOSE:
            changed = replace(changed, outcome=line.detail, closed_by=line.actor, closed_at=line.at)
    return replace(state, case=changed, duty=_duty_after(duty, level, act, line))


def _nobodys(case: CaseNow, state: CaseState) -> CaseNow:
    return replace(case, state=state, owner=None, owned_since=None)


def _duty_after(duty: DutyNow, level: int, act: Act, line: Happened) -> DutyNow:
    if act is Act.CLOSE:
        return replace(duty, state=MET)
    if duty.state == MET or act in (Act.ESCALATE, Act.RELEASE_CLAIM, Act.REOPEN):
        return DutyNow(RUNNING, level)
    return DutyNow(ACKNOWLEDGED, level, line.actor, line.at)


def _brought(state: State, line: Happened) -> State:
    """A message came into the case, at the level of what brought it, or, by an act on it, at its own."""
    known = state.messages[line.message or ""]
    own = 0 if known.screened is None else known.screened.level
    brought = known.brought if known.brought is not None else own if line.level is None else line.level
    known = replace(known, brought=brought, added=(*line.found, *known.added))
    return replace(state, messages={**state.messages, known.message: known})
