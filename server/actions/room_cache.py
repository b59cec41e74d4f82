"""What posting needs to know of a room, remembered so that a message costs no read.

An entry is good while the version of the feed stands. That version is compared under the feed's lock before a seq is
given out, so an entry that is out of date is never acted upon, only looked up again.
"""

from __future__ import annotations

from dataclasses import dataclass

from server.rooms import Member, Room


@dataclass(frozen=True, slots=True)
class Access:
    """A room that somebody may enter, and the version of its rights at which that was found out."""

    room: Room
    version: int
    member: Member | None


class RoomCache:
    """Remembers accesses by (feed, account), at most LIMIT of them."""

    LIMIT = 50_000

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Access] = {}

    def get(self, feed: str, account: str) -> Access | None:
        return self._known.get((feed, account))

    def put(self, feed: str, account: str, access: Access) -> None:
        if len(self._known) >= self.LIMIT:
            self._known.clear()
        self._known[feed, account] = access

    def drop(self, feed: str, account: str) -> None:
        self._known.pop((feed, account), None)
