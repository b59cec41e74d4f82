"""One timer for all connections: who is to be looked at in which second.

A connection may stand in several seconds; being looked at too often does no harm. Nothing is ever taken out early, so
putting one in is a dictionary look-up and a set insertion.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Generic, TypeVar

T = TypeVar("T")


class Wheel(Generic[T]):
    """Times are seconds of one monotonic clock; the resolution is one second, rounded up."""

    __slots__ = ("_done", "_slots")

    def __init__(self, now: float) -> None:
        self._slots: dict[int, set[T]] = {}
        self._done = ceil(now) - 1

    def put(self, who: T, at: float) -> None:
        """Give out `who` no sooner than `at`, and at the first look after."""
        slot = max(ceil(at), self._done + 1)
        members = self._slots.get(slot)
        if members is None:
            self._slots[slot] = {who}
        else:
            members.add(who)

    def due(self, now: float) -> Iterator[T]:
        """Take out everybody whose time has come, each once."""
        upto = int(now)
        for slot in sorted(slot for slot in self._slots if slot <= upto):
            self._done = max(self._done, slot)
            yield from self._slots.pop(slot)
