"""Trying a proposal before anybody signs it: in shadow, on the corpus, on stored messages.

A trial counts what the lists in force and the proposed ones find in the same texts. It alerts nobody and keeps ids and
levels. That bodies are opened is asked for by a person with the right to, for a limited time, and is in the audit; so
is every text that somebody has shown to them, and only those are shown whose room that person reads anyway.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import structlog
from sqlalchemy import Connection, Row

from moderation.ladders import Side
from moderation.types import Level, RoomKind
from moderation.workload import levels_of
from server.actions.services import Services
from server.actions.wordlists.checking import corpus
from server.actions.wordlists.comparing import Compare, Found, comparing
from server.actions.wordlists.documents import unpack
from server.actions.wordlists.proposals import CHANGED, Kept
from server.auth.permissions import FeedKind, may_follow, require
from server.auth.requester import Requester
from server.clock import to_ms
from server.errors import BadRequest, Conflict, NotFound, Refused
from server.ids import first_id_at, new_id
from server.rooms import side_of
from server.store import wordlists, wordtrials, workload
from server.store.commands import first_answer, keep_answer
from server.store.migrate import PRODUCTION
from server.store.unit import AuditEntry, Tx
from server.store.wordlists import State
from server.store.wordtrials import Fire, NewTrial, Stored, TrialKind, TrialState

log = structlog.get_logger()
MOST_HOURS: Final = 14 * 24
MOST_DAYS: Final = 365
# For how long the bodies of stored messages may be opened for one back-test, and a corpus be read.
BODIES_FOR: Final = timedelta(hours=2)
# Small pages, each with a rest of so many times what it took: whoever talks meanwhile never waits for long.
PAGE: Final = 50
RESTS: Final = 2
# Of the corpus nothing is read beside the writer: its pages are longer, and nobody has to wait for them.
CORPUS_PAGE: Final = 500
SHOWN: Final = 100

# What a workload forecast counts by: the beginning of the hour, and the side of the wall.
Place = tuple[datetime, Side]


class Text(NamedTuple):
    """One text to be tried; `text` is None where it can not be read. `said`: the level that it has in service.

    `place` is None for what no case comes of: a text of the corpus, or one that staff wrote.
    """

    ref: str
    version: int
    text: str | None
    said: int = 0
    place: Place | None = None


async def begin(
    services: Services,
    requester: Requester,
    client_id: str,
    version: str,
    at: int,
    kind: TrialKind,
    span: int,
    request_id: str,
) -> str:
    """Ask for a trial of a proposal; returns its id. A shadow begins at once, a back-test when its turn comes.

    Args:
        span: hours of a shadow, days of stored messages; of no account for the corpus.

    Raises:
        BadRequest: a span out of bounds.
        Conflict: the proposal has changed, or another one is in shadow.
    """
    require(requester, "route.words_decide")
    most = {TrialKind.SHADOW: MOST_HOURS, TrialKind.STORED: MOST_DAYS}.get(kind)
    if most is not None and not 1 <= span <= most:
        raise BadRequest(f"Choose a whole number from 1 to {most}.", field="span")
    lasts = timedelta(hours=span) if kind is TrialKind.SHADOW else BODIES_FOR

    def unit(tx: Tx) -> str:
        earlier = first_answer(tx, requester.account, client_id, "words_trial", Kept)
        if earlier is not None:
            return earlier.version
        wordlists.lock(tx)
        row, live = wordlists.version_by_id(tx.conn, version), wordlists.live(tx.conn)
        if row is None or live is None:
            raise NotFound("There is no such version of the lists.")
        if row.version != at or row.state != State.PROPOSED:
            raise Conflict(CHANGED, retry="never")
        if kind is TrialKind.SHADOW and wordtrials.open_trials(tx.conn, [TrialKind.SHADOW]):
            raise Conflict("One proposal at a time is in shadow. Stop the other one first.")
        days = span if kind is TrialKind.STORED else 0
        trial = wordtrials.insert_trial(
            tx, NewTrial(version, row.digest, live.version, kind, requester.account, days, lasts)
        )
        # For stored messages this is the grant to open bodies: who, when, for how many days; it ends by its time.
        detail = f"{kind} {span}" if most is not None else str(kind)
        tx.audit(AuditEntry("words_trial", "word_trial", trial, request_id, requester.account, detail))
        keep_answer(tx, requester.account, client_id, "words_trial", Kept(trial))
        return trial

    trial = await services.store.write(unit)
    services.lists.changed()
    await services.lists.look()
    return trial


async def stop(services: Services, requester: Requester, trial: str, request_id: str) -> None:
    """End a trial before its time; what it has counted stays."""
    require(requester, "route.words_decide")

    def unit(tx: Tx) -> None:
        if wordtrials.end_trial(tx, trial, TrialState.CANCELLED):
            tx.audit(AuditEntry("words_trial_stopped", "word_trial", trial, request_id, requester.account))

    await services.store.write(unit)
    services.lists.changed()
    await services.lists.look()


async def show_text(services: Services, requester: Requester, trial: str, ref: str, request_id: str) -> str | None:
    """The text in which a trial found something, for somebody who reads its room anyway; that it was read is recorded.

    None: it can not be opened any more. A text of the corpus was made up and is shown to whoever sees the page.

    Raises:
        NotFound: no such trial, nothing found there, or a text of a room that this person does not read.
    """
    require(requester, "route.words_text")

    def look(conn: Connection) -> tuple[Row[Any] | None, str | None]:
        row = wordtrials.trial_by_id(conn, trial)
        if row is None or not wordtrials.has_fire(conn, trial, ref):
            return None, None
        return row, wordtrials.kinds_of_rooms(conn, [ref]).get(ref)

    row, kind = await services.store.read(look)
    if row is None:
        raise NotFound("There is no such text in this trial.")
    if row.kind == TrialKind.CORPUS:
        return next((message.text for message in corpus() if message.id == ref), None)
    if kind is None or not reads(requester, kind):
        raise NotFound("There is no such text in this trial.")
    entry = AuditEntry("words_text_read", "message", ref, request_id, requester.account, "word_trial")
    await services.store.write(lambda tx: tx.audit(entry))
    return await services.store.read(lambda conn: wordtrials.opened(conn, services.store.keys, ref))


def reads(requester: Requester, room_kind: str) -> bool:
    """Whether this person reads such rooms by their role; nobody here reads therapy."""
    return may_follow(requester.role, FeedKind.of_room(RoomKind(room_kind)))


async def run_back_test(services: Services, trial: str) -> None:
    """Carry out one back-test from its beginning to its end, or until it is stopped. Never raises for a failed one."""
    try:
        ended = await _run(services, trial)
    except Exception as error:
        log.error("back_test_failed", trial=trial, error=type(error).__name__)
        ended = TrialState.FAILED
    if ended is None:
        return
    entry = AuditEntry("words_trial_ended", "word_trial", trial, new_id(), None, ended)

    def end(tx: Tx) -> None:
        if wordtrials.end_trial(tx, trial, ended):
            tx.audit(entry)

    await services.store.write(end)


async def _run(services: Services, trial: str) -> TrialState | None:
    """How it ended; None if somebody ended it meanwhile."""
    store = services.store

    def plan(conn: Connection) -> tuple[Row[Any], bytes, bytes, int]:
        row = wordtrials.trial_by_id(conn, trial)
        version = None if row is None else wordlists.version_by_id(conn, row.word_version)
        if row is None or version is None or version.digest != row.digest:
            raise Refused("What was to be tried is not proposed any more.")
        stored = row.kind == TrialKind.STORED
        since = row.asked_at - timedelta(days=row.days)
        total = wordtrials.messages_between(conn, since, row.asked_at) if stored else len(corpus())
        return row, wordlists.content(conn, row.against), wordlists.content(conn, row.word_version), total

    row, live, proposed, total = await store.read(plan)
    if not await store.write(lambda tx: wordtrials.begin_trial(tx, trial, total)):
        return None
    async with comparing(unpack(live), unpack(proposed)) as compare:
        async for page in _pages(services, row):
            if services.clock.now() >= row.until:
                return TrialState.OVER_TIME
            if not await _tried(services, trial, page, compare, rests=RESTS if row.kind == TrialKind.STORED else 0):
                return None
    return TrialState.DONE


async def _tried(services: Services, trial: str, page: Sequence[Text], compare: Compare, rests: int) -> bool:
    """Try one page and rest for so many times what it took, so that messages go first; False if the trial is over."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    readable = [(each, each.text) for each in page if each.text is not None]
    answers = await compare([text for _, text in readable])
    tried = [(each, answer) for (each, _), answer in zip(readable, answers, strict=True)]
    fires = [Fire(each.ref, each.version, *found) for each, answer in tried for found in answer]
    hours = Counter(counted for each, answer in tried if (counted := _hour(each, answer)) is not None)

    def keep(tx: Tx) -> bool:
        if not wordtrials.add_fires(tx, trial, fires, len(tried), len(page) - len(tried)):
            return False
        workload.add_hours(tx, trial, hours)
        return True

    going_on = await services.store.write(keep)
    await asyncio.sleep((loop.time() - began) * rests)
    return going_on


def _hour(text: Text, answer: Sequence[Found]) -> tuple[datetime, Side, Level, Level] | None:
    """As what a text counts in a forecast; None: not at all."""
    if text.place is None:
        return None
    live = max((live for _, _, live, _ in answer), default=0)
    proposed = max((proposed for *_, proposed in answer), default=0)
    return (*text.place, *levels_of(live, proposed, text.said))


def _text(stored: Stored) -> Text:
    hour = stored.at.replace(minute=0, second=0, microsecond=0)
    place = None if stored.room_kind is None else (hour, side_of(stored.room_kind))
    return Text(stored.id, stored.version, stored.text, stored.level, place)


async def _pages(services: Services, row: Row[Any]) -> AsyncIterator[Sequence[Text]]:
    """The texts of a back-test, a page at a time; stored ones by short reads beside the writer."""
    if row.kind == TrialKind.CORPUS:
        texts = [Text(message.id, 1, message.text) for message in corpus()]
        for start in range(0, len(texts), CORPUS_PAGE):
            yield texts[start : start + CORPUS_PAGE]
        return
    store, since = services.store, row.asked_at - timedelta(days=row.days)
    # Ids begin with the time, which in a real service is the clock's: nothing older is looked at.
    after = first_id_at(to_ms(since) - 60_000) if store.kind == PRODUCTION else ""
    while page := await store.read(
        lambda conn, after=after: wordtrials.page_of_messages(conn, store.keys, since, row.asked_at, after, PAGE)  # type: ignore[misc]
    ):
        after = page[-1].id
        yield [_text(stored) for stored in page]
