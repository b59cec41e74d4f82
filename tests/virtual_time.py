"""An event loop whose time is its own: nobody waits, and the same steps always come in the same order.

For properties about code that waits between attempts: on a real clock, what has happened after so many steps depends
on how busy the machine is, and a failure can not be played again.
"""

from __future__ import annotations

import asyncio
import selectors


class _NoWaiting(selectors.DefaultSelector):
    """Moves the clock on where a selector would wait. Nothing ever comes from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("every task waits, and nothing is there to wake one")
            self.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that begins at second 0 and jumps to the next timer when there is nothing else to do."""

    def __init__(self) -> None:
        self._waiting = _NoWaiting()
        super().__init__(self._waiting)

    def time(self) -> float:
        return self._waiting.now
