"""A second pair of eyes: obligations that nobody moves on, read from the database by the supervisor itself.

Reads only, on a connection of its own, made anew for each look: whatever state the worker or the last connection is in
says nothing about this one. Time is the database's, by which the due times were written, passed through the mapping
that a demonstration may hold.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from server.clock import SERVER_CLOCK, ClockMapping, real_us
from server.supervisor.alarm import Alarm

OVERDUE: Final = "obligation_overdue"
NOBODY: Final = "nobody_to_call"
AFTER_S: Final = 15.0
_MOST: Final = 20
TIMEOUT_S: Final = 10.0

_MAPPING: Final = "SELECT origin_us, offset_us, speed FROM clock_map"
# Whoever took one and let it run out counts too: only a met obligation is nobody's duty.
_DUE: Final = """
    SELECT id, "case", due_at FROM obligation WHERE state <> 'met' AND due_at IS NOT NULL ORDER BY due_at LIMIT 1000
"""
# None of the last calls of a ladder reached the account of anybody: it runs on, but only this process can say so. The
# last column counts the calls that have not been tried at all yet.
_NOBODY: Final = """
    SELECT o.id, o."case", MIN(n.due_at), COUNT(CASE WHEN n.state = 'pending' AND n.attempts = 0 THEN 1 END)
    FROM obligation o JOIN notice n ON n.obligation = o.id
    WHERE o.state = 'running'
        AND n.cycle = (SELECT MAX(l.cycle) FROM notice l WHERE l.obligation = o.id)
        AND NOT EXISTS (
            SELECT 1 FROM notice m JOIN account a ON a.id = m.recipient
            WHERE m.obligation = o.id AND m.cycle = n.cycle AND m.state IN ('sent', 'answered') AND a.state = 'active')
    GROUP BY o.id, o."case" ORDER BY MIN(n.due_at) LIMIT 1000
"""
QUERIES: Final = (_MAPPING, _DUE, _NOBODY)

Rows = Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Late:
    """One obligation to raise: which, why, and by how many real seconds it is late."""

    event: str
    obligation: str
    case: str
    late_s: float


@dataclass(frozen=True, slots=True)
class Seen:
    """One look: the database's time in microseconds since 1970, not yet mapped, and the answers to the queries."""

    now_us: int
    answers: Sequence[Rows]


def read_sqlite(path: str) -> Seen:
    """A look into a file opened read-only. SQLite has no clock of its own: it is this machine's."""
    connection = sqlite3.connect(f"file:{urllib.parse.quote(path)}?mode=ro", uri=True, timeout=TIMEOUT_S)
    try:
        return Seen(real_us(), [connection.execute(query).fetchall() for query in QUERIES])
    finally:
        connection.close()


def reader_for(database_url: str) -> Callable[[], Seen]:
    """How to look into the database of a URL as the settings write it."""
    scheme, _, rest = database_url.partition("://")
    if scheme.startswith("sqlite"):
        return lambda: read_sqlite(rest.removeprefix("/"))
    # Only where it is needed: this process is small without an event loop and a driver.
    from server.supervisor.postgres import read_postgres

    def look() -> Seen:
        clock, *answers = read_postgres(f"postgresql://{rest}", (SERVER_CLOCK, *QUERIES), TIMEOUT_S)
        return Seen(int(clock[0][0]), answers)

    return look


def find_late(seen: Seen, after_s: float) -> list[Late]:
    """What is to be raised now, the latest first."""
    answers = seen.answers
    mapping = ClockMapping(*answers[0][0]) if answers[0] else ClockMapping()
    mapped = mapping.apply(seen.now_us)

    def late_s(due_us: int) -> float:
        return (mapped - due_us) / 1e6 / mapping.speed

    overdue = [Late(OVERDUE, row[0], row[1], late_s(row[2])) for row in answers[1] if late_s(row[2]) > after_s]
    known = {late.obligation for late in overdue}
    nobody = {
        row[0]: Late(NOBODY, row[0], row[1], late_s(row[2]))
        for row in answers[2]
        if row[0] not in known and (row[3] == 0 or late_s(row[2]) > after_s)
    }
    return sorted([*overdue, *nobody.values()], key=lambda late: -late.late_s)


class OverdueWatch:
    """Looks every few seconds, in a thread of its own, and raises what it finds again and again until it is moved on.

    Args:
        read: looks into the database; may raise or take its time.
        after_s: how late an obligation may be; also for how long the database may be out of sight.
        again_s: between two alarms about one obligation.
        look_s: between two looks.
    """

    def __init__(
        self,
        read: Callable[[], Seen],
        alarm: Alarm,
        *,
        after_s: float = AFTER_S,
        again_s: float = 60.0,
        look_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._alarm = alarm
        self._after_s, self._again_s, self._look_s = after_s, again_s, look_s
        self._clock = clock
        self._raised: dict[tuple[str, str], tuple[float, int]] = {}
        self._blind_since: float | None = None
        self._blind_said = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="overdue", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._look_s):
            self.look()

    def look(self) -> None:
        """Look once. Never raises."""
        now = self._clock()
        try:
            late = find_late(self._read(), self._after_s)
        except Exception as error:
            self._blind(now, type(error).__name__)
            return
        self._blind_since = None
        due = {(found.event, found.obligation): found for found in late}
        self._raised = {key: value for key, value in self._raised.items() if key in due}
        sounded = 0
        for key, found in due.items():
            before = self._raised.get(key)
            if sounded >= _MOST or (before is not None and now - before[0] < self._again_s):
                continue
            times = 1 if before is None else before[1] + 1
            self._raised[key] = (now, times)
            sounded += 1
            self._alarm.sound(
                found.event,
                obligation=found.obligation,
                case=found.case,
                late_s=round(found.late_s),
                times=times,
                count=len(due),
            )

    def _blind(self, now: float, error: str) -> None:
        if self._blind_since is None:
            self._blind_since, self._blind_said = now, now - self._again_s
        blind_s = now - self._blind_since
        if blind_s >= self._after_s and now - self._blind_said >= self._again_s:
            self._blind_said = now
            self._alarm.sound("database_out_of_sight", error=error, seconds=round(blind_s))
