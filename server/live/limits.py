"""How many frames a connection may cost just by being there: beats, pings, and frames that are no commands.

Counted for each socket, since each beats by itself. What a person says by them is counted for the account
(`actions.pace`), and how many connections there may be is decided in `seats`.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from server.actions.pace import Bucket, Rate

RATES: Final = MappingProxyType({"beat": Rate(30, 1.0), "broken": Rate(30, 1.0), "control": Rate(60, 5.0)})


class Allowance:
    """The buckets of one connection, each made when first used."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: dict[str, Bucket] = {}

    def wait(self, family: str, now: float) -> float:
        """Seconds until one more of `family` is allowed; 0: this one is, and is counted."""
        bucket = self._buckets.get(family)
        if bucket is None:
            bucket = self._buckets[family] = Bucket(RATES[family], now)
        return bucket.take(now)
