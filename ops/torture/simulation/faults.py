"""What goes wrong in a seed: a plan drawn beforehand, carried out while people talk, and remembered for the judge."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from ops.torture.calls import Trouble
from ops.torture.simulation.database import SharedDatabase
from ops.torture.simulation.loop import Crashed, SimulatedLoop, current_host
from ops.torture.simulation.network import Medium
from ops.torture.simulation.people import Person
from ops.torture.simulation.server import Server
from server import killpoints

FAULTS: Final = (
    "crash", "crash_at", "crash_at", "stop", "freeze", "freeze", "no_database", "no_database", "slow_database",
    "slow_and_gone", "gone_in_write", "gone_in_write", "database_crash", "no_bus", "clock", "cut", "cut",
    "slow_reader", "slow_reader",
)  # fmt: skip
COUNTS: Final = (0, 1, 2, 3, 4, 6)
# Who is away can not be hurt again.
_OF_SERVERS: Final = frozenset({"crash", "crash_at", "stop", "freeze", "no_bus", "no_database", "gone_in_write"})
# Which sides are told that a connection broke: after so many seconds, or never.
_CUTS: Final[tuple[tuple[float | None, float | None], ...]] = ((0.0, 0.0), (0.1, None), (None, 0.1), (None, None))


class Faults:
    """The faults of one seed.

    Args:
        moment: a second of the loop as a time of the database's clock.
        note: what is put into the trace: what, and who.

    Attributes:
        counts: faults by kind; a death at a named place also by "at" and its name.
        troubles: those that excuse a late call or a second one.
    """

    def __init__(
        self,
        loop: SimulatedLoop,
        database: SharedDatabase,
        medium: Medium,
        servers: Sequence[Server],
        people: Sequence[Person],
        moment: Callable[[float], datetime],
        note: Callable[[str, str], None],
    ) -> None:
        self._loop, self._database, self._medium = loop, database, medium
        self._servers, self._people = servers, people
        self._moment, self._note = moment, note
        self._armed: tuple[str, str] | None = None
        self.counts: Counter[str] = Counter()
        self.troubles: list[Trouble] = []
        # What each does to a server or a person, given its length in seconds and dice of its own.
        self._kinds: dict[str, Callable[[Server, float, random.Random], None]] = {
            "crash": self._crash,
            "crash_at": self._crash_at,
            "stop": self._stop,
            "freeze": self._freeze,
            "no_database": self._no_database,
            "slow_database": self._slow_database,
            "slow_and_gone": self._slow_and_gone,
            "gone_in_write": self._gone_in_write,
            "database_crash": self._database_crash,
            "no_bus": self._no_bus,
            "clock": self._clock,
            "cut": self._cut,
            "slow_reader": self._slow_reader,
        }

    def plan(self, dice: random.Random, until_s: float) -> None:
        """Draw some faults and lay them on the clock."""
        for _ in range(dice.choice(COUNTS)):
            kind, at = dice.choice(FAULTS), dice.uniform(0.5, until_s)
            self._at(at, self._come, kind, random.Random(dice.getrandbits(64)))  # noqa: S311 - to be repeated

    def trouble(self, kind: str, who: str, length_s: float) -> None:
        """Remember that something is wrong from now on for so long."""
        now = self._loop.time()
        self.troubles.append(Trouble(kind, who, self._moment(now), self._moment(now + length_s)))

    def reach(self, place: str) -> None:
        """A named place of the service (`server.killpoints`) is reached; raises Crashed if its server dies there."""
        host = self._database.carrying_out_for or current_host()
        if host is None or self._armed != (host.name, place) or host.is_dead:
            return
        self._armed = None
        self.counts[f"at {place}"] += 1
        self.trouble("crash", host.name, 0.0)
        self._note(place, host.name)
        next(server for server in self._servers if server.host is host).crash()
        raise Crashed

    def _at(self, when_s: float, call: Callable[..., None], *args: Any) -> None:
        self._loop.call_at(when_s, call, *args, context=self._loop.outside)

    def _come(self, kind: str, dice: random.Random) -> None:
        server = dice.choice(self._servers)
        if dice.random() < 0.5:
            # Whoever calls people is the one with whom most can go wrong.
            server = next((one for one in self._servers if one.holds_lease), server)
        length_s = dice.choice((dice.uniform(0.05, 2.0), dice.uniform(2.0, 12.0)))
        self._note(kind, server.name)
        if server.is_away and kind in _OF_SERVERS:
            return
        self.counts[kind] += 1
        self._kinds[kind](server, length_s, dice)

    # --- of servers ---

    def _crash(self, server: Server, length_s: float, dice: random.Random) -> None:
        server.crash()
        self.trouble("crash", server.name, length_s)

    def _crash_at(self, server: Server, length_s: float, dice: random.Random) -> None:
        self._armed = (server.name, dice.choice(killpoints.ALL))
        self.trouble("crash_at", server.name, length_s)

    def _stop(self, server: Server, length_s: float, dice: random.Random) -> None:
        server.stop()
        self.trouble("stop", server.name, length_s)

    def _freeze(self, server: Server, length_s: float, dice: random.Random) -> None:
        self._loop.freeze(server.host, length_s)
        self.trouble("freeze", server.name, length_s)

    def _clock(self, server: Server, length_s: float, dice: random.Random) -> None:
        server.clock.wrong_us = dice.choice((-1, 1)) * dice.choice((2, 3_600, 7_000)) * 1_000_000
        self._at(self._loop.time() + length_s, self._set_right, server)

    def _set_right(self, server: Server) -> None:
        server.clock.wrong_us = 0

    # --- of what lies between ---

    def _no_bus(self, server: Server, length_s: float, dice: random.Random) -> None:
        self._medium.cut_off(server.host, length_s)

    def _no_database(self, server: Server, length_s: float, dice: random.Random) -> None:
        self._database.cut_off(server.host, length_s)
        self.trouble("no_database", server.name, length_s)

    def _slow_database(self, server: Server, length_s: float, dice: random.Random) -> None:
        self._database.slow_until, self._database.slow_s = self._loop.time() + length_s, dice.uniform(0.2, 4.0)
        self.trouble("slow_database", "", length_s)

    def _slow_and_gone(self, server: Server, length_s: float, dice: random.Random) -> None:
        """Answers take so long that they are nearly given up; then this server gets none."""
        slow_s, gone_s = dice.uniform(1.0, 6.0), dice.uniform(7.0, 12.0)
        until = self._loop.time() + slow_s
        self._database.slow_until, self._database.slow_s = until, 2.8
        self._at(until, self._database.cut_off, server.host, gone_s)
        self.trouble("slow_and_gone", "", slow_s + gone_s)

    def _gone_in_write(self, server: Server, length_s: float, dice: random.Random) -> None:
        """A batch is on its way for so long that another server has taken over when it comes."""
        gone_s = dice.uniform(7.5, 13.0)
        self._database.cut_off_at_write(server.host, gone_s, lambda: self.trouble("gone_in_write", server.name, gone_s))

    def _database_crash(self, server: Server, length_s: float, dice: random.Random) -> None:
        length_s = min(length_s, 3.0)
        self._database.crash(length_s)
        self.trouble("database_crash", "", length_s)

    # --- of people ---

    def _cut(self, server: Server, length_s: float, dice: random.Random) -> None:
        dice.choice(self._people).cut(*dice.choice(_CUTS))

    def _slow_reader(self, server: Server, length_s: float, dice: random.Random) -> None:
        dice.choice(self._people).slow_until = self._loop.time() + length_s
