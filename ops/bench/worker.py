"""The worker of a bench: the real one, on one core, without the limits on how often an account may speak.

That a person is slowed down after twenty messages is right for persons; a load generator stands for hundreds of them on
few accounts. The buckets are still counted; they only never run dry.

What else may be left out, and only where a bench asks for it by name in `EVENKEEL_BENCH_WITHOUT`: `durability` (what
that is: `ops.bench.volatile`), and `filter`, which finds every text clean without looking at it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import cast

from moderation.types import Role, RoomKind, TextKind, Verdict
from ops.bench.volatile import without_durability
from server import main as service
from server import worker
from server.actions import pace
from server.actions.screening import Screening
from server.main import build_screening
from server.settings import Settings
from server.store.store import Store, open_store

_NEVER_DRY = pace.Rate(burst=1_000_000_000, per_s=1e9)
_CLEAN = "Good morning."


class _Unread:
    """Stands for `Screening`: gives every text the verdict of a clean one."""

    def __init__(self, screening: Screening) -> None:
        self._screening = screening
        self._clean: dict[tuple[TextKind, RoomKind | None, Role], Verdict] = {}

    def __getattr__(self, name: str) -> object:
        return getattr(self._screening, name)

    def screen(self, text: str, text_kind: TextKind, room_kind: RoomKind | None, author_role: Role) -> Verdict:
        del text
        place = (text_kind, room_kind, author_role)
        if place not in self._clean:
            self._clean[place] = self._screening.screen(_CLEAN, *place)
        return self._clean[place]


def _without_filter(
    settings: Settings, watch: service.Watch | None = None, now_ns: Callable[[], int] = time.thread_time_ns
) -> Screening:
    return cast(Screening, _Unread(build_screening(settings, watch, now_ns)))


async def _volatile_store(database_url: str, wrapping_key: bytes, *, kind: str) -> Store:
    return without_durability(await open_store(database_url, wrapping_key, kind=kind))


def never_slow_down() -> None:
    """From now on nobody is too fast for this process."""
    pace.MEMBER = dict.fromkeys(pace.MEMBER, _NEVER_DRY)  # type: ignore[misc,assignment]


def main() -> int:
    """As `server.worker`, pinned to the core that `EVENKEEL_BENCH_CORE` names."""
    core = os.environ.get("EVENKEEL_BENCH_CORE")
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core)})
    never_slow_down()
    without = os.environ.get("EVENKEEL_BENCH_WITHOUT", "").split(",")
    if "durability" in without:
        service.open_store = _volatile_store  # type: ignore[attr-defined]
    if "filter" in without:
        service.build_screening = _without_filter
    return worker.main()


if __name__ == "__main__":
    sys.exit(main())
