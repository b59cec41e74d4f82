"""The second stage of the filter: what this process has stored is read again, slowly, by a model of whole sentences.

It begins after the commit, and no acknowledgement waits for it. It has one right only: to raise. Where it does, one
unit adds a finding to the message and opens or raises its author's case, so that the ladder climbs; the message itself,
its verdict and its place in the room stay as they were, and the room is told nothing.

Only an addition: what was not read, because too much waited, this process died or the model failed, is as it would be
without a second stage, and is counted. So texts wait in memory alone, bounded, until they were read.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NoReturn

import structlog
from prometheus_client import Counter
from sqlalchemy import Connection

from moderation.types import Category, Finding, Level, Role, Verdict
from server.actions.raising import Concern, case_feeds, raise_case
from server.actions.services import Services
from server.feeds import FeedEvent
from server.protocol.frames import Held, MessageItem, Shown
from server.rooms import MessageState, Room, care_for, side_of
from server.store import cases, messages, rooms
from server.store.unit import Tx

if TYPE_CHECKING:
    # Not loaded where nobody asked for it: it needs packages of its own.
    from watchwords.second import Raised, SecondStage

log = structlog.get_logger()
WAITING_MOST: Final = 500
AT_ONCE: Final = 16
# Behind everything else on the machine: the loop, the writer and the database come first.
NICENESS: Final = 10
_ROOM: Final = "room:"

TEXTS: Final = Counter(
    "evenkeel_second_stage_texts", "Messages by what the second stage did: read, raised or unread.", ["outcome"]
)


@dataclass(frozen=True, slots=True)
class _Waiting:
    feed: str
    message: str
    author: str
    body: str
    level: int

    def __repr__(self) -> str:
        return f"_Waiting({self.message})"


class SecondLook:
    """The second stage of one process. Used from the loop; hears what was committed here from when it is made."""

    def __init__(self, services: Services, stage: SecondStage) -> None:
        self._services, self._stage = services, stage
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        services.bus.listen(self.hear, lambda feed, epoch, seq: None)

    def hear(self, events: Sequence[FeedEvent]) -> None:
        """Take note of what members wrote; microseconds."""
        for event in events:
            item = event.staff if event.staff is not None else event.member
            if not event.feed.startswith(_ROOM) or not isinstance(item, MessageItem):
                continue
            view = item.view
            if item.change not in ("new", "edit") or not isinstance(view, Shown | Held):
                continue
            level = 0 if view.attention is None else view.attention.level
            if view.author.role != Role.MEMBER or level >= Level.URGENT:
                continue
            if len(self._waiting) >= WAITING_MOST:
                TEXTS.labels("unread").inc()
                continue
            self._waiting.append(_Waiting(event.feed, view.id, view.author.id, view.body, level))
            self._wake.set()

    async def run(self) -> NoReturn:
        """Read what waits, until cancelled. Whatever goes wrong in one round, the next one comes."""
        with _one_thread() as thread:
            while True:
                await self._wake.wait()
                await self.read_on(thread)

    async def read_on(self, thread: ThreadPoolExecutor | None = None) -> None:
        """Read all that waits now, in `thread`, and raise what is to be raised."""
        self._wake.clear()
        while self._waiting:
            some = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            try:
                await self._read(some, thread)
            except Exception as error:
                TEXTS.labels("unread").inc(len(some))
                log.warning("second_stage_round_failed", texts=len(some), error=type(error).__name__)

    async def _read(self, some: Sequence[_Waiting], thread: ThreadPoolExecutor | None) -> None:
        texts = [(one.body, one.level) for one in some]
        said = await asyncio.get_running_loop().run_in_executor(thread, self._stage.raises_all, texts)
        for one, raised in zip(some, said, strict=True):
            if raised is not None and await self._raise(one, raised):
                TEXTS.labels("raised").inc()
            TEXTS.labels("read").inc()

    async def _raise(self, one: _Waiting, said: Raised) -> bool:
        """Add the finding and see that somebody looks; False where the message is not as it was, or has it already."""
        room = await self._services.store.read(lambda conn: _room_of(conn, one.feed))
        if room is None:
            return False
        side = side_of(room.kind)
        found = Finding(
            messages.SECOND_STAGE, Category(said.category), Level(said.level), said.entry_id, 0, 0, said.reason
        )

        def unit(tx: Tx) -> bool:
            now = messages.records(tx.conn, self._services.store.keys, [one.message]).get(one.message)
            # Edited since, its new text is read in its turn.
            if now is None or now.state is MessageState.REMOVED or now.body != one.body:
                return False
            if now.verdict.level >= found.level or not messages.add_finding(tx, now.id, now.version, found):
                return False
            verdict = _with(now.verdict, found)
            concern = Concern(
                subject=one.author,
                subject_role=Role.MEMBER,
                side=side,
                origin=cases.SECOND,
                level=found.level,
                categories=verdict.categories,
                feed=one.feed,
                message=one.message,
                care=care_for(verdict),
                said=verdict,
            )
            raise_case(tx, self._services, concern)
            return True

        raised = await self._services.store.write(unit, [one.feed, *case_feeds(one.author, Role.MEMBER, side)])
        if raised:
            self._services.wake_ladders()
        return raised


def _room_of(conn: Connection, feed: str) -> Room | None:
    return rooms.room_by_id(conn, feed.removeprefix(_ROOM))


def _with(verdict: Verdict, found: Finding) -> Verdict:
    """The verdict as it would have been with one more, worse finding; what happens to the message stays as it is."""
    assert found.category is not None
    categories = tuple(dict.fromkeys((found.category, *verdict.categories)))
    return replace(verdict, level=found.level, categories=categories, findings=(found, *verdict.findings))


@contextlib.contextmanager
def _one_thread() -> Iterator[ThreadPoolExecutor]:
    """One thread behind all others: arithmetic without the interpreter's lock, on what the machine has left."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="second-stage", initializer=_stand_behind)
    try:
        yield thread
    finally:
        thread.shutdown(wait=False, cancel_futures=True)


def _stand_behind() -> None:
    """Lower the priority of the calling thread; only Linux has one for each thread."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
