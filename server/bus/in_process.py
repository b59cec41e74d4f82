"""The bus of a single process: hands committed events straight to its listeners, in the loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from server.bus.port import Nudge
from server.feeds import FeedEvent


class InProcessBus:
    """Delivers synchronously; there is no other process to tell."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Sequence[FeedEvent]], None]] = []

    def announce(self, events: Sequence[FeedEvent]) -> None:
        for listener in self._listeners:
            listener(events)

    def listen(self, events: Callable[[Sequence[FeedEvent]], None], moved: Callable[[str, int, int], None]) -> None:
        del moved  # nobody else writes to this database
        self._listeners.append(events)

    def nudge(self, what: Nudge, ids: Sequence[str] = ()) -> None:
        del what, ids

    def heed(self, what: Nudge, look: Callable[[Sequence[str]], None]) -> None:
        del what, look

    def spend(self, allowance: str) -> None:
        del allowance

    def heed_spent(self, count: Callable[[str, int], None]) -> None:
        del count

    def hears(self) -> bool:
        return True
