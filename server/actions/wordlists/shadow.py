"""A proposal in shadow: every message that this process stores is also read with the proposed lists; nobody is alerted.

It begins after the commit and runs in a thread, so that no message waits for it. What waits is bounded: a text that
finds no room is counted as not tried, and so is one whose result could not be stored. A text is held only until it was
read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

import structlog

from server.actions.wordlists.comparing import compared
from server.feeds import FeedEvent
from server.protocol.frames import Held, MessageItem, Shown
from server.store.store import Store
from server.store.wordtrials import Fire, add_fires
from watchwords.matcher import Matcher

log = structlog.get_logger()
WAITING_MOST: Final = 2_000
AT_ONCE: Final = 100
_ROOM: Final = "room:"


class Shadow:
    """The shadow of one process. Used from the loop; idle while no trial is given.

    Args:
        live: the lists in use, asked for at each text.
    """

    def __init__(self, store: Store, live: Callable[[], Matcher]) -> None:
        self._store, self._live = store, live
        self._trial: str | None = None
        self._proposed: Matcher | None = None
        self._waiting: deque[tuple[str, int, str]] = deque()
        self._lost = 0
        self._wake = asyncio.Event()

    @property
    def trial(self) -> str | None:
        """The trial that runs here."""
        return self._trial

    def begin(self, trial: str, proposed: Matcher) -> None:
        """Read what comes from now on for this trial."""
        self.end()
        self._trial, self._proposed = trial, proposed

    def end(self) -> None:
        """Read nothing more; what waits is forgotten."""
        self._trial = self._proposed = None
        self._waiting.clear()
        self._lost = 0

    def hear(self, events: Sequence[FeedEvent]) -> None:
        """Take note of what was committed; microseconds, and nothing at all while no trial runs."""
        if self._trial is None:
            return
        for event in events:
            item = event.staff if event.staff is not None else event.member
            if not event.feed.startswith(_ROOM) or not isinstance(item, MessageItem):
                continue
            if item.change not in ("new", "edit") or not isinstance(item.view, Shown | Held):
                continue
            if len(self._waiting) >= WAITING_MOST:
                self._lost += 1
            else:
                self._waiting.append((item.view.id, event.seq, item.view.body))
            self._wake.set()

    async def run(self) -> NoReturn:
        """Read what waits, until cancelled. Whatever goes wrong in one round, the next one comes."""
        while True:
            await self._wake.wait()
            try:
                await self.read_on()
            except Exception as error:
                log.warning("shadow_round_failed", error=type(error).__name__)

    async def read_on(self) -> None:
        """Read all that waits now, and store what was found."""
        self._wake.clear()
        while (self._waiting or self._lost) and self._trial is not None and self._proposed is not None:
            trial, proposed, live = self._trial, self._proposed, self._live()
            some = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            lost, self._lost = self._lost, 0
            fires = await asyncio.to_thread(_fires, live, proposed, some)
            try:
                await self._keep(trial, fires, len(some), lost)
            except Exception:
                self._lost += len(some) + lost
                raise

    async def _keep(self, trial: str, fires: list[Fire], done: int, lost: int) -> None:
        if not await self._store.write(lambda tx: add_fires(tx, trial, fires, done, lost)) and self._trial == trial:
            self.end()


def _fires(live: Matcher, proposed: Matcher, texts: list[tuple[str, int, str]]) -> list[Fire]:
    return [Fire(ref, seq, *found) for ref, seq, text in texts for found in compared(live, proposed, text)]
