"""Typed ids, and the one way to make them.

An id is 128 bits in 26 characters (Crockford base 32): 48 bits of milliseconds, so that rows made together lie together
in an index, then 80 random bits. It is never trusted: knowing one gives nobody access.
"""

from __future__ import annotations

import os
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


def new_id() -> str:
    """Return a fresh id, 26 characters, sortable by the millisecond in which it was made."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    pairs = _PAIRS
    return "".join([pairs[(value >> shift) & 1023] for shift in range(120, -1, -10)])


def room_feed(room: str) -> FeedId:
    return FeedId(f"room:{room}")


def inbox_feed(account: str) -> FeedId:
    return FeedId(f"inbox:{account}")


STAFF_MODERATION = FeedId("staff:moderation")
STAFF_CLINICAL = FeedId("staff:clinical")
# Findings and reports about staff: for the clinical lead alone, never for the people they are about.
STAFF_LEAD = FeedId("staff:lead")
STAFF_FEEDS = (STAFF_MODERATION, STAFF_CLINICAL, STAFF_LEAD)
