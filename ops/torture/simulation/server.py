"""One server of a simulation: the service's own hub, verbs, lease and ladders, on a host that can die.

Wired as `server.main` does it, without HTTP: what is not the service's own is its database's way, its bus, its clock,
its lines and the telephone by which it calls people.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

from moderation.attention import AttentionPolicy
from moderation.ladders import LadderPolicy
from ops.torture.simulation.database import HostDatabase, SharedDatabase
from ops.torture.simulation.loop import Host, SimulatedLoop
from ops.torture.simulation.network import Line, Medium, SimulatedBus
from server.actions.invariants import check_obligations
from server.actions.pace import Pace
from server.actions.screening import Screening
from server.actions.services import Services
from server.clock import Clock
from server.errors import ServiceError
from server.jobs.ladders import run_ladders
from server.jobs.lease import JOBS, Lease
from server.live.connection import Connection
from server.live.dispatch import LiveVerbs
from server.live.hub import Hub
from server.main import tie
from server.notify import Delivery, Notice
from server.settings import Settings
from server.store.keys import Keyring
from server.store.migrate import TEST
from server.store.seals import AuditKey
from server.store.store import Store

PHONE: Final = "phone"
DRAIN_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Fixed:
    """What all servers of all seeds have in common."""

    settings: Settings
    screening: Screening
    ladders: LadderPolicy
    attention: AttentionPolicy
    wrapping_key: bytes


@dataclass(slots=True)
class Call:
    """One call by telephone: when it began and ended (None: it never did), and what its caller was told."""

    notice: str
    host: str
    began: float
    ended: float | None = None
    delivery: Delivery | None = None


class Telephone:
    """The outside channel: it sends, fails, hangs and raises, as the seed says.

    Args:
        trouble: share of calls that do not simply go out.
    """

    def __init__(self, server: Server, rng: random.Random, trouble: float, calls: list[Call]) -> None:
        self._server, self._rng, self._trouble, self._calls = server, rng, trouble, calls

    async def send(self, notice: Notice) -> Delivery:
        loop, host = self._server.loop, self._server.host
        if host.is_dead:
            return Delivery.FAILED
        call = Call(notice.id, host.name, loop.time())
        self._calls.append(call)
        self._server.called(notice)
        fate = self._rng.random()
        if fate < self._trouble / 3:
            await asyncio.sleep(60.0)
        await asyncio.sleep(self._rng.uniform(0.02, 0.8))
        if fate < self._trouble * 2 / 3:
            raise ConnectionError("the line is engaged")
        call.ended = loop.time()
        call.delivery = Delivery.FAILED if fate < self._trouble else Delivery.SENT
        return call.delivery


class HostClock(Clock):
    """A machine's own idea of the time, which may be wrong.

    Attributes:
        wrong_us: how far it is ahead of the database's, in microseconds.
    """

    def __init__(self, database: SharedDatabase) -> None:
        super().__init__()
        self._database = database
        self.wrong_us = 0

    def now_us(self) -> int:
        return self._database.now_us() + self.wrong_us


class Server:
    """One server and, after each death, the next in its place.

    Attributes:
        is_open: it takes connections.
        is_away: it died, or does not start; somebody has to start it again.
        called: told of each call that is made.
    """

    def __init__(
        self,
        name: str,
        loop: SimulatedLoop,
        rng: random.Random,
        fixed: Fixed,
        database: SharedDatabase,
        medium: Medium,
        calls: list[Call],
        trouble: float,
    ) -> None:
        self.name, self.loop, self._rng = name, loop, rng
        self._fixed, self._database, self._medium = fixed, database, medium
        self._calls, self._trouble = calls, trouble
        self.host = Host(name)
        self.lease: Lease | None = None
        self.hub: Hub | None = None
        self.services: Services | None = None
        self.clock = HostClock(database)
        self.lines: list[Line] = []
        self.is_open, self.is_away = False, True
        self.called: Callable[[Notice], None] = lambda notice: None
        self._numbers = 0

    def start(self) -> None:
        """Start it, or another one in its place; the clock of its machine stays as it is."""
        self.host = Host(self.name)
        self.is_away = False
        self.loop.start(self.host, self._serve())

    async def _serve(self) -> None:
        fixed, loop = self._fixed, self.loop
        key = AuditKey(fixed.wrapping_key)
        store = Store(
            HostDatabase(self._database, self.host, self._database.now_us, key.seal_row),
            Keyring(fixed.wrapping_key),
            self.clock,
            TEST,
            self._database.now_us,
            key,
        )
        bus = SimulatedBus(self._medium, self.host)
        store.on_commit(bus.announce)
        services = Services(
            settings=fixed.settings,
            store=store,
            bus=bus,
            screening=fixed.screening,
            ladders=fixed.ladders,
            attention=fixed.attention,
            secret=bytes(32),
            notifiers={PHONE: Telephone(self, self._rng, self._trouble, self._calls)},
        )
        services.pace = Pace(loop.time)
        try:
            await check_obligations(services)
        except ServiceError:
            self.crash()  # as a process that can not start: the next one is tried
            return
        hub = Hub(
            LiveVerbs(services), clock=loop.time, now_ms=lambda: self.clock.now_us() // 1000, chance=self._rng.random
        )
        tie(hub, services)
        self.lease = Lease(store, JOBS, self.name, clock=loop.time)
        self.services, self.hub = services, hub
        hub.start()
        loop.start(self.host, self.lease.keep())
        loop.start(self.host, run_ladders(services, self.lease))
        self.is_open = True

    def crash(self) -> None:
        """It dies, here and now; those who were connected learn of it soon, or have to find out."""
        self.is_open, self.is_away = False, True
        self.loop.kill(self.host)
        for line in self.lines:
            line.cut(None if self._rng.random() < 0.2 else self._rng.uniform(0.0, 0.5), None)
        self.lines.clear()

    def stop(self) -> None:
        """Stop it in order, as `server.main.serve_edges` does; then it is away."""
        self.loop.start(self.host, self._stop())

    async def _stop(self) -> None:
        if self.services is None or self.lease is None or self.hub is None:
            return
        self.is_open = False
        self.services.is_stopping = True
        await self.lease.hand_over()
        await self.hub.drain(DRAIN_S)
        self.crash()

    @property
    def holds_lease(self) -> bool:
        """Whether it believes that it may call people now."""
        return not self.host.is_dead and self.lease is not None and self.lease.is_held()

    def connect(
        self, rng: random.Random, heard: Callable[[bytes | None], None], held_until: Callable[[], float]
    ) -> Line:
        """A line from somebody to this server."""
        hub = self.hub
        if hub is None:
            raise RuntimeError("nobody can connect to a server that is not open")

        def protocol() -> Connection:
            self._numbers += 1
            connection = _numbered(hub)(None, SimpleNamespace(connections=set()), None)
            connection.number = self._numbers
            made: Connection = connection
            return made

        line = Line(self.loop, rng, self.host, protocol, heard, held_until)
        self.lines.append(line)
        return line


def _numbered(hub: Hub) -> Any:
    """The protocol of `hub`, for connections whose place in a set depends on when they came, not on where they lie."""
    return type("Numbered", (hub.protocol,), {"__slots__": ("number",), "__hash__": lambda self: self.number})
