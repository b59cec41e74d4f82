"""What the people who look after the lists see: the lists, the versions, a proposal beside what runs, a trial's counts.

Read-only. No message's text is here; a text of a trial is opened one at a time (`trials.show_text`).
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row

from moderation.workload import Forecast
from server.actions.services import Services
from server.actions.wordlists.documents import Change, Documents, Kind, split, unpack
from server.actions.wordlists.forecasting import forecast_of, is_forecast
from server.actions.wordlists.trials import SHOWN, reads
from server.auth.permissions import LEADS, require
from server.auth.requester import Requester
from server.errors import NotFound
from server.store import drift, wordlists, wordtrials
from server.store.wordlists import Live, State
from server.store.wordtrials import TrialKind

VERSIONS_SHOWN: Final = 50


@dataclass(frozen=True, slots=True)
class ListLine:
    """One list in force. `review` is an ISO date; `entries` are (id, category, level, reason)."""

    name: str
    owner: str
    review: str
    entries: tuple[tuple[str, str, int, str], ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """One signature; `valid` if it was given for what is proposed now."""

    name: str
    role: str
    at: datetime
    valid: bool


@dataclass(frozen=True, slots=True)
class TrialLine:
    """One trial, with its counts: `new` and `lost` are texts that would be, or would not be, flagged any more.

    `by` is the name of whoever asked, or `operator:` and an account of the machine.
    """

    id: str
    kind: str
    state: str
    by: str
    at: datetime
    until: datetime
    days: int
    done: int
    total: int
    unreadable: int
    new: int
    lost: int
    moved: int
    current: bool
    is_open: bool


@dataclass(frozen=True, slots=True)
class VersionLine:
    """One version. `by` is empty for what a release brought, `change` (the kind) for the first lists."""

    id: str
    origin: str
    state: str
    list_version: str
    digest: str
    reason: str
    by: str
    at: datetime
    version: int
    change: str
    about: str


@dataclass(frozen=True, slots=True)
class Step:
    """One activation: what came into force when, by whom and why."""

    n: int
    version: str
    list_version: str
    act: str
    by: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Drift:
    """An entry that was found in `hits` of the `messages` of 24 hours, outside of its band from `low` to `high`."""

    entry: str
    list: str
    since: datetime
    hits: int
    messages: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Overview:
    """The page of the lists. `running` is what this process screens with, `live` what is in force."""

    live: Live
    running: str
    troubles: tuple[str, ...]
    lists: tuple[ListLine, ...]
    proposals: tuple[VersionLine, ...]
    steps: tuple[Step, ...]
    drifts: tuple[Drift, ...]


@dataclass(frozen=True, slots=True)
class VersionPage:
    """One version beside what is in force. `diff` are lines of a unified difference, list by list.

    `forecast` is that of the newest back-test on stored messages of these very words; None: there is none yet.
    """

    line: VersionLine
    live: Live
    diff: tuple[str, ...]
    marks: tuple[Mark, ...]
    trials: tuple[TrialLine, ...]
    forecast: Forecast | None
    stale: bool
    change: Change | None
    may: frozenset[str]


@dataclass(frozen=True, slots=True)
class Count:
    """How many texts got which levels; `name` is an entry's id, or a category's letter."""

    name: str
    category: str
    live: int
    proposed: int
    n: int


@dataclass(frozen=True, slots=True)
class TrialPage:
    """One trial: counts by category and by entry, and the texts whose level moves that this person may open.

    `forecast` is None for what is no finished back-test on stored messages.
    """

    line: TrialLine
    version: str
    flags: tuple[Count, ...]
    entries: tuple[Count, ...]
    texts: tuple[tuple[str, int, int], ...]
    unseen: int
    forecast: Forecast | None


def lines_of(documents: Documents) -> tuple[ListLine, ...]:
    """Every list, for people to read."""
    found: list[ListLine] = []
    for name, text in sorted(documents.items()):
        data: dict[str, Any] = tomllib.loads(text)
        head = data.get("list", {})
        entries = tuple(
            (str(e.get("id")), str(e.get("category")), int(e.get("level", 0)), str(e.get("reason", "")))
            for e in data.get("entry", [])
        )
        found.append(ListLine(name, str(head.get("owner", "")), str(head.get("review_date", "")), entries))
    return tuple(found)


async def overview(services: Services, requester: Requester) -> Overview:
    """Lists, open proposals, and what was in force when."""
    require(requester, "route.words")

    def read(conn: Connection) -> Overview:
        live, documents = _live(conn)
        lists = lines_of(documents)
        names = {entry: each.name for each in lists for entry, *_ in each.entries}
        return Overview(
            live=live,
            running=services.screening.matcher.version,
            troubles=services.lists.troubles,
            lists=lists,
            proposals=tuple(_line(row) for row in wordlists.versions(conn, [State.PROPOSED], VERSIONS_SHOWN)),
            steps=tuple(
                Step(row.n, row.word_version, row.list_version, row.act, row.name or "", row.reason, row.at)
                for row in wordlists.activations(conn, VERSIONS_SHOWN)
            ),
            drifts=tuple(
                Drift(
                    row.entry_id, names.get(row.entry_id, ""), row.raised_at, row.hits, row.messages, row.low, row.high
                )
                for row in drift.open_alarms(conn)
            ),
        )

    return await services.store.read(read)


async def entry_text(services: Services, requester: Requester, name: str, entry: str) -> str:
    """The TOML of an entry in force, or of a whole list if no entry is named. Raises NotFound."""
    require(requester, "route.words")
    _, documents = await services.store.read(_live)
    if name not in documents:
        raise NotFound("There is no such list.")
    if not entry:
        return documents[name]
    for known, text in split(documents[name], name)[1]:
        if known == entry:
            return text.strip() + "\n"
    raise NotFound("There is no such entry in that list.")


async def version_page(services: Services, requester: Requester, version: str) -> VersionPage:
    """One version with its difference to what is in force, its signatures and its trials. Raises NotFound."""
    require(requester, "route.words")

    def read(conn: Connection) -> VersionPage:
        row = wordlists.version_by_id(conn, version)
        if row is None:
            raise NotFound("There is no such version of the lists.")
        live, documents = _live(conn)
        own = unpack(wordlists.content(conn, version))
        signatures = wordlists.signatures(conn, version)
        stale = row.state == State.PROPOSED and row.base != live.version
        signed = any(
            mark.digest == row.digest and (mark.account == requester.account or mark.role == requester.role)
            for mark in signatures
        )
        tried = wordtrials.trials_of(conn, version)
        return VersionPage(
            line=_line(row),
            live=live,
            diff=difference(documents, own),
            marks=tuple(Mark(m.name or "", m.role, m.at, m.digest == row.digest) for m in signatures),
            trials=tuple(_trial(conn, trial, row.digest) for trial in tried),
            forecast=next((forecast_of(services, conn, t) for t in tried if is_forecast(t, row.digest)), None),
            stale=stale,
            change=Change.from_json(row.change) if row.change else None,
            may=_may(requester, row, stale or signed, wordlists.was_live(conn, version)),
        )

    return await services.store.read(read)


def _may(requester: Requester, row: Row[Any], unsignable: bool, was_live: bool) -> frozenset[str]:
    """What this person can do with a version now; the actions decide again."""
    may: set[str] = set()
    if row.state == State.PROPOSED:
        may.add("revise")
        if requester.role in LEADS:
            may |= {"refuse", "try"} | (set() if unsignable else {"sign"})
        elif row.proposed_by == requester.account:
            may.add("refuse")
    elif was_live and row.state != State.LIVE and requester.role in LEADS:
        may.add("roll_back")
    return frozenset(may)


def difference(before: Documents, after: Documents) -> tuple[str, ...]:
    """What changes, as lines of a unified difference with the names of the lists."""
    lines: list[str] = []
    for name in sorted({*before, *after}):
        old, new = before.get(name, "").splitlines(), after.get(name, "").splitlines()
        lines += difflib.unified_diff(old, new, f"{name} in force", f"{name} here", lineterm="", n=2)
    return tuple(lines)


async def trial_page(services: Services, requester: Requester, trial: str) -> TrialPage:
    """The counts of one trial, and which texts moved. Raises NotFound."""
    require(requester, "route.words")

    def read(conn: Connection) -> TrialPage:
        row = wordtrials.trial_by_id(conn, trial)
        version = None if row is None else wordlists.version_by_id(conn, row.word_version)
        if row is None or version is None:
            raise NotFound("There is no such trial.")
        moved = wordtrials.moved(conn, trial, SHOWN)
        texts = tuple((each.ref, each.live, each.proposed) for each in moved)
        if row.kind != TrialKind.CORPUS:
            kinds = wordtrials.kinds_of_rooms(conn, [ref for ref, _, _ in texts])
            texts = tuple(each for each in texts if each[0] in kinds and reads(requester, kinds[each[0]]))
        shown = texts if requester.role in LEADS else ()
        return TrialPage(
            line=_trial(conn, row, version.digest),
            version=row.word_version,
            flags=tuple(Count(f.category, f.category, f.live, f.proposed, f.n) for f in wordtrials.flags(conn, trial)),
            entries=tuple(
                Count(e.entry_id, e.category, e.live, e.proposed, e.n) for e in wordtrials.entries(conn, trial)
            ),
            texts=shown,
            unseen=len(moved) - len(shown),
            forecast=forecast_of(services, conn, row) if is_forecast(row, row.digest) else None,
        )

    return await services.store.read(read)


def _trial(conn: Connection, row: Row[Any], digest: str) -> TrialLine:
    flags = wordtrials.flags(conn, row.id)
    return TrialLine(
        id=row.id,
        kind=row.kind,
        state=row.state,
        by=row.name or row.asked_by,
        at=row.asked_at,
        until=row.until,
        days=row.days,
        done=row.done,
        total=row.total,
        unreadable=row.unreadable,
        new=sum(flag.n for flag in flags if not flag.live),
        lost=sum(flag.n for flag in flags if not flag.proposed),
        moved=sum(flag.n for flag in flags if flag.live and flag.proposed and flag.live != flag.proposed),
        current=row.digest == digest,
        is_open=row.state in wordtrials.OPEN,
    )


def _line(row: Row[Any]) -> VersionLine:
    change = Change.from_json(row.change) if row.change else None
    about = ""
    if change is not None and change.kind is not Kind.RELEASE:
        about = f"{change.name} {change.entry}".strip()
    return VersionLine(
        id=row.id,
        origin=row.origin,
        state=row.state,
        list_version=row.list_version,
        digest=row.digest,
        reason=row.reason,
        by=row.proposer or "",
        at=row.proposed_at,
        version=row.version,
        change="" if change is None else change.kind,
        about=about,
    )


def _live(conn: Connection) -> tuple[Live, Documents]:
    live = wordlists.live(conn)
    if live is None:
        raise NotFound("There are no lists yet.")
    return live, unpack(wordlists.content(conn, live.version))
