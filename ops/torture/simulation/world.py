"""One seed: a service of two or three servers, its people, a plan of faults, and what became of the promises.

Everything that is drawn comes from the seed, each part from dice of its own. Faults come while people talk; then they
end, everything is seen through, and the judge (`ops.torture.history`) compares what everybody was told, and when
people were called, with the database and with the table of times.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select

from moderation.types import Role
from ops.torture.calls import Made, judge_calls, read_duties
from ops.torture.history import Stored, Violation, judge, judge_delays, read_stored, uncalled, unmade
from ops.torture.simulation.database import SharedDatabase
from ops.torture.simulation.faults import Faults
from ops.torture.simulation.loop import SimulatedLoop
from ops.torture.simulation.network import Manners, Medium
from ops.torture.simulation.people import OnDuty, Person, Talker
from ops.torture.simulation.server import Call, Server
from ops.torture.simulation.stage import BEGIN_US, ROOMS, TALKERS, Someone, Stage, fixed_ids
from server import killpoints
from server.actions.rendering import PAGE_CHANNEL
from server.clock import from_us
from server.ids import STAFF_MODERATION, inbox_feed
from server.notify import Delivery
from server.store.schema import notice

TALK_S: Final = 8.0
SETTLE_S: Final = 90.0
LOOK_EVERY_S: Final = 0.25
# After a fault another server holds the lease within 7.5 s, and a call that was taken is due again after 12.
EXCUSED_S: Final = 8.0
RECOVERS: Final = timedelta(seconds=22)
URGENT_SHARE: Final = 0.15


@dataclass
class Result:
    """One seed: its figures, and the trace by which two runs are compared.

    Attributes:
        virtual_s: how long it was for those within.
        faults: by kind; `crash_at` also by place.
        calls: by telephone.
        trace: digest of everything that was sent, answered, called and broken, in order and with its time.
    """

    seed: int
    trace: str = ""
    virtual_s: float = 0.0
    steps: int = 0
    sent: int = 0
    acknowledged: int = 0
    told: int = 0
    flagged: int = 0
    calls: int = 0
    pages: int = 0
    rungs: int = 0
    requests: int = 0
    reconnects: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    announcements: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)


class World:
    """One seed.

    Args:
        forgetful: the database's disk does not keep what it says that it keeps.
    """

    def __init__(self, stage: Stage, seed: int, *, forgetful: bool = False) -> None:
        self._stage, self.result = stage, Result(seed)
        self._trace = hashlib.blake2b(digest_size=8)
        dice = self._dice("plan")
        self.loop = SimulatedLoop(self._dice("order"))
        stage.memory.fill(stage.image)
        self.database = SharedDatabase(self.loop, self._dice("database"), stage.memory, BEGIN_US, forgetful=forgetful)
        self.database.note = self._note
        manners = Manners(
            dice.choice((0.0, 0.1, 0.5, 1.0)), dice.choice((0.0, 0.2)), dice.choice((0.01, 0.01, 0.5, 3.0))
        )
        self.medium = Medium(self.loop, self._dice("bus"), manners)
        self.calls: list[Call] = []
        trouble = dice.choice((0.0, 0.0, 0.3))
        self.servers = [
            Server(
                f"server-{n}",
                self.loop,
                self._dice(f"server {n}"),
                stage.fixed,
                self.database,
                self.medium,
                self.calls,
                trouble,
            )
            for n in range(dice.choice((2, 2, 2, 3)))
        ]
        for server in self.servers:
            server.called = lambda notice, server=server: self._called(server, notice.id)  # type: ignore[misc]
        self.talkers: list[Talker] = []
        self.staff: list[OnDuty] = []
        self._people(dice)
        self.faults = Faults(
            self.loop,
            self.database,
            self.medium,
            self.servers,
            [*self.talkers, *self.staff],
            _moment,
            self._note,
        )
        self.faults.plan(dice, TALK_S)
        self.until_s = TALK_S + dice.choices((3.0, 17.0, 33.0, 135.0), (60, 26, 12, 2))[0]

    def _dice(self, what: str) -> random.Random:
        # Of a text, so that it is the same in every process.
        return random.Random(f"{self.result.seed} {what}")  # noqa: S311 - to be repeated, not to be kept secret

    def _people(self, dice: random.Random) -> None:
        people = self._stage.people
        for (_, place, _), someone in zip(TALKERS, people, strict=False):
            feeds = (ROOMS[place], inbox_feed(someone.account)) if dice.random() < 0.3 else (ROOMS[place],)
            self.talkers.append(self._person(Talker, someone, feeds))
        for someone in people:
            if someone.role is Role.MODERATOR:
                feeds = (inbox_feed(someone.account), STAFF_MODERATION)
                self.staff.append(self._person(OnDuty, someone, feeds))
        self._rest_s = dice.choice((0.05, 1.0, 3.0))

    def _person(self, kind: type[Any], someone: Someone, feeds: tuple[str, ...]) -> Any:
        person = kind(
            self.loop,
            self._dice(someone.account),
            self.servers,
            someone.name,
            someone.account,
            someone.token,
            feeds,
        )
        person.note = self._heard
        return person

    # --- the trace ---

    def _note(self, what: str, who: str) -> None:
        self._trace.update(f"{self.loop.time():.6f} {what} {who}\n".encode())

    def _heard(self, what: str, who: str, data: bytes) -> None:
        self._note(what, who)
        self._trace.update(data)

    def _broke(self, rule: str, what: str) -> None:
        self.result.violations.append(Violation(rule, what))

    def _called(self, server: Server, notice_id: str) -> None:
        self._note(f"call {notice_id}", server.name)
        self._check_lease()

    def _check_lease(self) -> None:
        holders = [server.name for server in self.servers if server.holds_lease]
        if len(holders) > 1:
            self._broke("lease", f"{' and '.join(holders)} at {self.loop.time():.3f} s")

    # --- the run ---

    def _at(self, when_s: float, call: Callable[..., None], *args: Any) -> None:
        self.loop.call_at(when_s, call, *args, context=self.loop.outside)

    def _keep_up(self) -> None:
        """Servers that died are started again after a while, as a supervisor does; and the lease is looked at."""
        dice = self._supervision
        for server in self.servers:
            if server.is_away and server.name not in self._starting:
                self._starting.add(server.name)
                delay = dice.uniform(0.2, 3.0)
                self.faults.trouble("away", server.name, delay)
                self._at(self.loop.time() + delay, self._start, server)
        self._check_lease()
        self._at(self.loop.time() + LOOK_EVERY_S, self._keep_up)

    def _start(self, server: Server) -> None:
        self._starting.discard(server.name)
        self._note("start", server.name)
        server.start()

    def run(self) -> Result:
        """Live through the seed and judge it."""
        self._supervision, self._starting = self._dice("supervision"), set[str]()
        with fixed_ids(self._dice("ids"), self.database.now_us), self._mortal():
            for server in self.servers:
                server.start()
            for person in (*self.talkers, *self.staff):
                self._at(0.2, person.connect)
            for (_, _, talks), talker in zip(TALKERS, self.talkers, strict=True):
                if talks:
                    count = talker.rng.randint(2, 4)
                    self._at(0.3, talker.talk, count, self._rest_s, URGENT_SHARE)
            self._at(LOOK_EVERY_S, self._keep_up)
            self.loop.run_for(self.until_s)
            while not self._is_settled() and self.loop.time() < self.until_s + SETTLE_S:
                self.loop.run_for(1.0)
            self._judge()
            for server in self.servers:
                self.loop.kill(server.host)
            self.loop.bury()
        self.loop.close()
        self._sum_up()
        return self.result

    @contextlib.contextmanager
    def _mortal(self) -> Iterator[None]:
        before = killpoints.reach
        killpoints.reach = self.faults.reach
        try:
            yield
        finally:
            killpoints.reach = before

    def _is_settled(self) -> bool:
        """Whether everything is answered, told and called."""
        people: list[Person] = [*self.talkers, *self.staff]
        if any(person.waiting or not person.is_connected for person in people):
            return False
        rows = self._stage.memory.raw.execute("SELECT id, seq FROM feed WHERE id LIKE 'room:%'").fetchall()
        heads = {str(name): int(seq) for name, seq in rows}
        if any(talker.stands_at(talker.log.feed) < heads[talker.log.feed] for talker in self.talkers):
            return False
        connection = self.database.connection
        if unmade(connection, from_us(self.database.now_us())) or uncalled(connection):
            return False
        pages = connection.execute(
            select(notice.c.recipient, notice.c.id).where(notice.c.state == "sent", notice.c.channel == PAGE_CHANNEL)
        ).all()
        seen = {person.log.account: person.log.pages for person in self.staff}
        return all(row.id in seen[row.recipient] for row in pages if row.recipient in seen)

    def _judge(self) -> None:
        connection = self.database.connection
        now = from_us(self.database.now_us())
        stored = read_stored(connection, now)
        logs = [talker.log for talker in self.talkers]
        self.result.violations += judge(logs, [person.log for person in self.staff], stored)
        duties = read_duties(connection)
        made = [
            Made(
                call.notice,
                call.host,
                _moment(call.began),
                None if call.ended is None else _moment(call.ended),
                call.delivery is Delivery.SENT,
            )
            for call in self.calls
        ]
        ladders = self._stage.fixed.ladders
        self.result.violations += judge_calls(duties, made, self.faults.troubles, ladders, now, RECOVERS)
        # What followed a fault of a server, such as reconnecting and catching up, is given as long as a look takes.
        excused = [(_seconds(one.began), _seconds(one.ended) + EXCUSED_S) for one in self.faults.troubles]
        self.result.violations += judge_delays(logs, excused)
        for what in self.loop.faults:
            self._broke("fault", what)
        self._figures(stored)
        self.result.faults = self.faults.counts
        self.result.rungs = len({(row.obligation, row.cycle, row.rung) for row in duties.calls})

    def _figures(self, stored: Stored) -> None:
        result = self.result
        result.sent = sum(len(talker.log.sent) for talker in self.talkers)
        result.acknowledged = sum(len(talker.log.acks) for talker in self.talkers)
        result.told = sum(len(talker.log.told) for talker in self.talkers)
        result.flagged = sum(row.flagged for row in stored.messages.values())

    def _sum_up(self) -> None:
        result = self.result
        result.virtual_s, result.steps = self.loop.time(), self.loop.steps
        result.calls, result.requests = len(self.calls), self.database.requests
        result.pages = sum(len(person.log.pages) for person in self.staff)
        result.reconnects = sum(person.log.links for person in (*self.talkers, *self.staff))
        result.announcements = self.medium.fates
        result.trace = self._trace.hexdigest()


def _moment(seconds: float) -> datetime:
    return from_us(BEGIN_US + round(seconds * 1e6))


def _seconds(moment: datetime) -> float:
    return (moment - from_us(BEGIN_US)).total_seconds()
