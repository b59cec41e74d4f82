"""Typed ids, and the one way to make them.

An id is 128 bits in 26 characters (Crockford base 32): 48 bits of milliseconds, so that rows made together lie together
in an index, then 80 random bits. It is never trusted: knowing one gives nobody access.
"""

from __future__ import annotations

import os
import struct
import time
from typing import NewType

AccountId = NewType("AccountId", str)
RoomId = NewType("RoomId", str)
MessageId = NewType("MessageId", str)
CaseId = NewType("CaseId", str)
ObligationId = NewType("ObligationId", str)
NoticeId = NewType("NoticeId", str)
FeedId = NewType("FeedId", str)
RequestId = NewType("RequestId", str)

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
# Sixteen random bits at a time, of which ten are used: eight small integers instead of shifts of a large one.
_RANDOM = struct.Struct("8H").unpack
_ANY_PAIR = [_PAIRS[bits & 1023] for bits in range(65_536)]
# Random bytes of the operating system, fetched a page at a time: each call of os.urandom lets go of the interpreter's
# lock, and in a busy process another thread takes it.
_POOL: list[bytes] = []
_POOL_PIECES = 256
os.register_at_fork(after_in_child=_POOL.clear)


def random_16() -> bytes:
    """16 bytes from the operating system's generator, given out once; safe in any thread."""
    try:
        return _POOL.pop()
    except IndexError:
        page = os.urandom(16 * _POOL_PIECES)
        _POOL.extend(page[place : place + 16] for place in range(16, len(page), 16))
        return page[:16]


def _spelt(milliseconds: int) -> str:
    return "".join([_PAIRS[(milliseconds >> shift) & 1023] for shift in (40, 30, 20, 10, 0)])


_last_spelt = (0, _spelt(0))


def new_id() -> str:
    """Return a fresh id, 26 characters, sortable by the millisecond in which it was made."""
    global _last_spelt  # noqa: PLW0603 - a pair, read and replaced whole
    now = time.time_ns() // 1_000_000
    known, spelt = _last_spelt
    if known != now:
        spelt = _spelt(now)
        _last_spelt = now, spelt
    a, b, c, d, e, f, g, h = _RANDOM(random_16())
    pair = _ANY_PAIR
    return f"{spelt}{pair[a]}{pair[b]}{pair[c]}{pair[d]}{pair[e]}{pair[f]}{pair[g]}{pair[h]}"


def first_id_at(milliseconds: int) -> str:
    """What every id made at or after that time is no less than. Milliseconds of real time since 1970."""
    return _spelt(max(0, milliseconds))


def room_feed(room: str) -> FeedId:
    return FeedId(f"room:{room}")


def inbox_feed(account: str) -> FeedId:
    return FeedId(f"inbox:{account}")


STAFF_MODERATION = FeedId("staff:moderation")
STAFF_CLINICAL = FeedId("staff:clinical")
# Findings and reports about staff: for the clinical lead alone, never for the people they are about.
STAFF_LEAD = FeedId("staff:lead")
STAFF_FEEDS = (STAFF_MODERATION, STAFF_CLINICAL, STAFF_LEAD)
