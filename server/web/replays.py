"""A replay as its page shows it: plain values with every text looked up. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from moderation.replay import (
    Called,
    CallNow,
    Event,
    Found,
    Happened,
    Looked,
    MessageNow,
    Said,
    State,
    Told,
    Written,
    fold,
)
from server.web.rows import DETAILS, LONDON
from server.web.texts import Texts
from server.web.verbs import Replay


@dataclass(frozen=True, slots=True)
class When:
    """A time for people, to the second in London, for programs, and for the address of the page."""

    clock: str
    iso: str


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened; `is_last` of those that are known at the instant that is shown."""

    when: When
    what: str
    who: str
    detail: str
    known: bool


@dataclass(frozen=True, slots=True)
class MessageThen:
    """A message as it was; `text` None: it can not be opened any more."""

    who: str
    state: str
    version: int
    text: str | None
    screened: str
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CallThen:
    who: str
    channel: str
    rung: str
    state: str
    attempts: int
    since: When


@dataclass(frozen=True, slots=True)
class Page:
    """The replay at one instant. `facts` are (name, value)."""

    at: When
    facts: tuple[tuple[str, str], ...]
    messages: tuple[MessageThen, ...]
    calls: tuple[CallThen, ...]
    said: tuple[tuple[When, str, str], ...]
    told: tuple[tuple[When, str, str], ...]
    lines: tuple[Line, ...]


def when(moment: datetime) -> When:
    local = moment.astimezone(LONDON)
    return When(f"{local:%-d %b %Y, %H:%M:%S}", moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z")


def page(replay: Replay, at: datetime, texts: Texts) -> Page:
    """What was known at `at`, with everything that ever happened beside it."""
    state = fold(replay.events, at)
    drawn = _Draw(replay, texts)
    return Page(
        when(at),
        drawn.facts(state),
        tuple(drawn.message(each) for each in state.messages.values()),
        tuple(drawn.call(each) for each in state.calls.values()),
        tuple((when(each.at), drawn.name(each.author), drawn.words(each.message)) for each in state.said),
        tuple((when(each.at), texts(f"replay.told_{each.reason}"), drawn.words(each.report)) for each in state.told),
        tuple(drawn.line(event, at) for event in _in_time(replay.events)),
    )


def _in_time(events: Iterable[Event]) -> list[Event]:
    """Of what came at one instant, a message before what it led to."""
    return sorted(events, key=lambda event: (event.at, not isinstance(event, Written), event.n))


class _Draw:
    """One replay being put into words."""

    def __init__(self, replay: Replay, texts: Texts) -> None:
        self._replay, self._texts = replay, texts

    def name(self, account: str | None) -> str:
        return "" if account is None else self._replay.names.get(account) or account

    def words(self, ref: str) -> str:
        found = self._replay.words.get(ref)
        return self._texts("view.unreadable") if found is None else found

    def _level(self, level: int) -> str:
        return self._texts(f"level.{level}") if level else self._texts("replay.nothing_found")

    def facts(self, state: State) -> tuple[tuple[str, str], ...]:
        case, duty, texts = state.case, state.duty, self._texts
        if case is None or duty is None:
            return ((texts("replay.case"), texts("replay.none")),)
        found = [
            (texts("replay.case"), texts(f"replay.case_{case.state}")),
            (texts("replay.level"), self._level(case.level)),
            (texts("replay.about"), ", ".join(texts(f"category.{letter}") for letter in case.categories)),
            (texts("replay.owner"), self.name(case.owner)),
            (texts("replay.duty"), texts(f"replay.duty_{duty.state}")),
            (texts("replay.looked"), ", ".join(dict.fromkeys(self.name(look.actor) for look in state.looks))),
        ]
        if case.closed_at is not None:
            outcome = texts(f"outcome.{case.outcome}")
            found.append((texts("replay.outcome"), f"{outcome}, {self.name(case.closed_by)}"))
        if case.closed_at is not None and self._replay.note and state.history[-1] == self._last_line():
            found.append((texts("replay.note"), self._replay.note))
        return tuple((name, value or texts("replay.nobody")) for name, value in found)

    def _last_line(self) -> Happened | None:
        lines = [event for event in self._replay.events if isinstance(event, Happened)]
        return max(lines, key=lambda line: line.n, default=None)

    def message(self, now: MessageNow) -> MessageThen:
        texts, said = self._texts, now.screened
        found = now.added + (() if said is None else said.findings)
        screened = (
            texts("replay.unread")
            if said is None
            else texts(
                "replay.screened",
                level=self._level(said.level),
                score=f"{said.score:.2f}",
                disposition=texts(f"replay.disposition_{said.disposition}"),
                lists=said.list_version,
                policy=said.policy_version,
            )
        )
        state = texts(f"replay.message_{now.state}")
        text = self._replay.bodies.get((now.message, now.version))
        return MessageThen(
            self.name(now.author), state, now.version, text, screened, tuple(self._finding(each) for each in found)
        )

    def _finding(self, found: Found) -> str:
        category = self._texts(f"category.{found.category}") if found.category else found.check
        return f"{self._level(found.level)}, {category}: {found.reason} ({found.entry_id or found.check})"

    def call(self, now: CallNow) -> CallThen:
        texts = self._texts
        return CallThen(
            self.name(now.recipient),
            now.channel,
            texts(f"rung.{now.audience}"),
            texts(f"replay.call_{now.state}"),
            now.attempts,
            when(now.since),
        )

    def line(self, event: Event, at: datetime) -> Line:
        what, who, detail = self._said(event)
        return Line(when(event.at), what, who, detail, event.at <= at)

    def _said(self, event: Event) -> tuple[str, str, str]:
        texts = self._texts
        match event:
            case Happened():
                section = DETAILS.get(event.act)
                detail = texts(f"{section}.{event.detail}") if section and event.detail else event.detail
                return texts(f"fact.{event.act}"), self.name(event.actor), detail
            case Written():
                return texts(f"replay.written_{event.change}"), self.name(event.author), ""
            case Called():
                return texts(f"replay.called_{event.what}"), self.name(event.recipient), event.channel
            case Looked():
                return texts(f"replay.{event.how}"), self.name(event.actor), ""
            case Told():
                return texts("replay.told"), "", texts(f"replay.told_{event.reason}")
            case Said():
                return texts("replay.said"), self.name(event.author), ""
