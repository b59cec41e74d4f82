"""One seed: a service of two or three servers, its people, a plan of faults, and what became of the promises.

Everything that is drawn comes from the seed, each part from dice of its own. Faults come while people talk; then they
end, everything is seen through, and the judge (`ops.torture.history`) compares what everybody was told, and when
people were called, with the database and with the table of times.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, cast

import structlog
from sqlalchemy import create_engine, select
from sqlalchemy.pool import StaticPool

from moderation.ladders import LadderPolicy
from moderation.pipeline import Pipeline
from moderation.policy import DispositionPolicy
from moderation.types import Role, RoomKind
from ops.torture.history import Made, Stored, Trouble, Violation, judge, judge_calls, read_duties, read_stored, unmade
from ops.torture.simulation.database import Memory, SharedDatabase
from ops.torture.simulation.loop import Crashed, SimulatedLoop, current_host
from ops.torture.simulation.network import Manners, Medium
from ops.torture.simulation.people import OnDuty, Person, Talker
from ops.torture.simulation.server import Call, Fixed, Server
from server import ids, killpoints
from server.actions.screening import Screening
from server.auth import credentials
from server.clock import from_us
from server.ids import inbox_feed, room_feed
from server.main import load_lists
from server.notify import Delivery
from server.rooms import Member, Room, RoomState
from server.settings import load_settings
from server.store.accounts import NewAccount, NewSession, insert_account, insert_shift, start_session
from server.store.batch import AuditChain, KnownHeads, run_batch
from server.store.hot import HotRunner
from server.store.keys import Keyring
from server.store.migrate import TEST, upgrade
from server.store.rooms import create_room, set_standing
from server.store.schema import feed, notice
from server.store.unit import Tx, Unit

# The first second of every seed, by the database's clock: noon on a working day.
BEGIN_US: Final = 1_794_830_400_000_000
TALK_S: Final = 8.0
SETTLE_S: Final = 90.0
# After a fault another server holds the lease within 7.5 s, and a call that was taken is due again after 12.
RECOVERS: Final = timedelta(seconds=22)
URGENT_SHARE: Final = 0.15
FAULTS: Final = (
    "crash", "crash_at", "crash_at", "stop", "freeze", "freeze", "no_database", "no_database", "slow_database",
    "database_crash", "no_bus", "clock", "cut", "cut", "slow_reader", "slow_reader",
)  # fmt: skip
# Faults that touch nobody but a person and their line.
_OUTSIDE: Final = frozenset({"cut", "slow_reader", "no_bus", "clock"})
_ROOMS: Final = (room_feed(ids.RoomId("R1")), room_feed(ids.RoomId("R2")))
# Name, room, and whether they talk: who only listens does not learn from their own message what they have missed.
_TALKERS: Final = (("A", 0, True), ("B", 0, True), ("C", 0, False), ("D", 1, True))


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


@dataclass(frozen=True, slots=True)
class Someone:
    """An account that every seed begins with."""

    account: str
    name: str
    token: str
    role: Role


def _someone(account: str, name: str, role: Role) -> Someone:
    return Someone(account, name, account.ljust(43, "0"), role)


class Stage:
    """What the seeds of one process share: an empty service in memory, compiled lists and statements."""

    def __init__(self) -> None:
        settings = load_settings(
            kind=TEST,
            database_url="sqlite:///never-opened.db",
            argon2_memory_kib=8,
            argon2_passes=1,
            redis_url="",
            port=8000,
            # Seldom, so that it matters when a nudge is lost, and still within what the judge calls late.
            ladder_poll_s=3.0,
        )
        # The deadline of a check is for real time; here none passes while a text is screened.
        pipeline = Pipeline(load_lists(), DispositionPolicy.load(), lambda: 0, deadline=timedelta(seconds=1))
        self.fixed = Fixed(settings, Screening(pipeline), LadderPolicy.load(), b"k" * 32)
        self.people = (
            *(_someone(f"M{name}", f"Member {name}", Role.MEMBER) for name, _, _ in _TALKERS),
            _someone("S1", "Sam One", Role.MODERATOR),
            _someone("S2", "Sam Two", Role.MODERATOR),
            _someone("K1", "Kit Clinician", Role.CLINICIAN),
            _someone("L1", "Lee Lead", Role.CLINICAL_LEAD),
        )
        self.image = self._image()
        self.memory = Memory()
        structlog.configure(processors=[_drop], wrapper_class=structlog.make_filtering_bound_logger(40))
        # Compiled lists are never collected: a full collection otherwise walks all of them, seed after seed.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000)

    def _image(self) -> bytes:
        """A migrated database with the rooms and the people in it."""
        raw = sqlite3.connect(":memory:", isolation_level=None)
        engine = create_engine(
            "sqlite://", poolclass=StaticPool, creator=lambda: raw, isolation_level="AUTOCOMMIT"
        )
        with engine.connect() as connection, fixed_ids(random.Random(0), lambda: BEGIN_US):
            upgrade(connection)
            for name in ids.STAFF_FEEDS:
                connection.execute(feed.insert().values(id=name, epoch=1, seq=0, version=1))
            unit = Unit(self._settle_in)
            run_batch(
                connection,
                HotRunner(connection),
                [unit],
                AuditChain(),
                lambda conn: BEGIN_US - 5_000_000,
                KnownHeads(),
                guarded=False,
            )
        return raw.serialize()

    def _settle_in(self, tx: Tx) -> None:
        keys = Keyring(self.fixed.wrapping_key)
        for someone in self.people:
            new = NewAccount(
                someone.account, someone.name, credentials.name_key(someone.name), someone.role, "-", "2026-11"
            )
            insert_account(tx, keys, new)
            session = NewSession(f"session-{someone.account}", credentials.token_hash(someone.token), timedelta(days=9))
            start_session(tx, someone.account, session)
            if someone.role is not Role.MEMBER:
                insert_shift(tx, someone.account, someone.role, tx.now, tx.now + timedelta(days=1))
        for name in _ROOMS:
            room = Room(name.partition(":")[2], RoomKind.COMMUNITY, name, "A simulation", RoomState.OPEN, None)
            create_room(tx, room)
        for (name, place, _), someone in zip(_TALKERS, self.people, strict=False):
            del name
            set_standing(tx, _ROOMS[place].partition(":")[2], someone.account, Member.ACTIVE)


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
        self.database = SharedDatabase(
            self.loop, self._dice("database"), stage.memory, BEGIN_US, forgetful=forgetful
        )
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
        self._troubles: list[Trouble] = []
        self._armed: tuple[str, str] | None = None
        self._plan(dice)
        self.until_s = TALK_S + dice.choices((3.0, 17.0, 33.0, 135.0), (60, 26, 12, 2))[0]

    def _dice(self, what: str) -> random.Random:
        # Of a text, so that it is the same in every process.
        return random.Random(f"{self.result.seed} {what}")  # noqa: S311 - to be repeated, not to be kept secret

    def _people(self, dice: random.Random) -> None:
        people = self._stage.people
        for (name, place, _), someone in zip(_TALKERS, people, strict=False):
            del name
            feeds = (_ROOMS[place], inbox_feed(someone.account)) if dice.random() < 0.3 else (_ROOMS[place],)
            self.talkers.append(self._person(Talker, someone, feeds))
        for someone in people:
            if someone.role is Role.MODERATOR:
                feeds = (inbox_feed(someone.account), ids.STAFF_MODERATION)
                self.staff.append(self._person(OnDuty, someone, feeds))
        self._rest_s = dice.choice((0.2, 1.5, 4.0))

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

    # --- faults ---

    def _plan(self, dice: random.Random) -> None:
        """Draw the faults and lay them on the clock."""
        for _ in range(dice.choice((0, 1, 2, 3, 4, 5))):
            kind, at = dice.choice(FAULTS), dice.uniform(0.5, TALK_S)
            self._at(at, self._fault, kind, random.Random(dice.getrandbits(64)))  # noqa: S311

    def _at(self, when_s: float, call: Callable[..., None], *args: Any) -> None:
        self.loop.call_at(when_s, call, *args, context=self.loop.outside)

    def _fault(self, kind: str, dice: random.Random) -> None:
        now, server = self.loop.time(), dice.choice(self.servers)
        length_s = dice.choice((dice.uniform(0.05, 2.0), dice.uniform(2.0, 12.0)))
        self._note(kind, server.name)
        if server.is_away and kind in ("crash", "crash_at", "stop", "freeze", "no_bus", "no_database"):
            return
        self.result.faults[kind] += 1
        who = server.name
        if kind == "crash":
            server.crash()
        elif kind == "crash_at":
            place = dice.choice(killpoints.ALL)
            self._armed = (server.name, place)
        elif kind == "stop":
            server.stop()
        elif kind == "freeze":
            self.loop.freeze(server.host, length_s)
        elif kind == "no_database":
            self.database.cut_off(server.host, length_s)
        elif kind == "slow_database":
            self.database.slow_until, self.database.slow_s = now + length_s, dice.uniform(0.2, 4.0)
            who = ""
        elif kind == "database_crash":
            length_s = min(length_s, 3.0)
            self.database.crash(length_s)
            who = ""
        elif kind == "no_bus":
            self.medium.cut_off(server.host, length_s)
        elif kind == "clock":
            server.clock.wrong_us = dice.choice((-1, 1)) * dice.choice((2, 3_600, 7_000)) * 1_000_000
            self._at(now + length_s, self._set_right, server)
        else:
            person = dice.choice([*self.talkers, *self.staff])
            if kind == "cut":
                told = dice.choice(((0.0, 0.0), (0.1, None), (None, 0.1), (None, None)))
                person.cut(*told)
            else:
                person.slow_until = now + length_s
        if kind not in _OUTSIDE:
            self._trouble(kind, who, length_s)

    def _trouble(self, kind: str, who: str, length_s: float) -> None:
        now = self.loop.time()
        self._troubles.append(Trouble(kind, who, _moment(now), _moment(now + length_s)))

    def _set_right(self, server: Server) -> None:
        server.clock.wrong_us = 0

    def _reach(self, place: str) -> None:
        """A named place of the service (`server.killpoints`) is reached: does its server die there?"""
        host = self.database.carrying_out_for or current_host()
        if host is None or self._armed != (host.name, place) or host.is_dead:
            return
        server = next(server for server in self.servers if server.host is host)
        self._armed = None
        self.result.faults[f"at {place}"] += 1
        self._trouble("crash", host.name, 0.0)
        self._note(place, host.name)
        server.crash()
        raise Crashed

    def _keep_up(self) -> None:
        """Servers that died are started again after a while, as a supervisor does; and the lease is looked at."""
        dice = self._supervision
        for server in self.servers:
            if server.is_away and server.name not in self._starting:
                self._starting.add(server.name)
                delay = dice.uniform(0.2, 3.0)
                self._trouble("away", server.name, delay)
                self._at(self.loop.time() + delay, self._start, server)
        self._check_lease()
        self._at(self.loop.time() + 0.25, self._keep_up)

    def _start(self, server: Server) -> None:
        self._starting.discard(server.name)
        self._note("start", server.name)
        server.start()

    # --- the run ---

    def run(self) -> Result:
        """Live through the seed and judge it."""
        self._supervision, self._starting = self._dice("supervision"), set[str]()
        with fixed_ids(self._dice("ids"), self.database.now_us), self._mortal():
            for server in self.servers:
                server.start()
            for person in (*self.talkers, *self.staff):
                self._at(0.2, person.connect)
            for (_, _, talks), talker in zip(_TALKERS, self.talkers, strict=True):
                if talks:
                    count = talker.rng.randint(2, 4)
                    self._at(0.3, talker.talk, count, self._rest_s, URGENT_SHARE)
            self._at(0.25, self._keep_up)
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
        killpoints.reach = self._reach
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
        if unmade(self.database.connection, from_us(self.database.now_us())):
            return False
        pages = self.database.connection.execute(
            select(notice.c.recipient, notice.c.id).where(notice.c.state == "sent", notice.c.channel == "page")
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
        self.result.violations += judge_calls(duties, made, self._troubles, ladders, now, RECOVERS)
        for what in self.loop.faults:
            self._broke("fault", what)
        self._figures(stored)
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


@contextlib.contextmanager
def fixed_ids(dice: random.Random, now_us: Callable[[], int]) -> Iterator[None]:
    """Let ids be made of `dice` and of a simulated clock, not of the machine's."""

    class _Time:
        @staticmethod
        def time_ns() -> int:
            return now_us() * 1000

    before = ids.random_16, ids.time
    ids.random_16 = lambda: dice.randbytes(16)
    ids.time = cast(Any, _Time)
    try:
        yield
    finally:
        ids.random_16, ids.time = before


def _drop(logger: Any, name: str, event: Any) -> Any:
    del logger, name, event
    raise structlog.DropEvent

