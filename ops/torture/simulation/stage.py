"""What every seed begins with: a migrated database in memory with rooms and people in it, and what is compiled once."""

from __future__ import annotations

import contextlib
import gc
import random
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import structlog
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from moderation.attention import AttentionPolicy
from moderation.ladders import LadderPolicy
from moderation.types import Role, RoomKind
from ops.torture.simulation.database import Memory
from ops.torture.simulation.server import Fixed
from server import ids
from server.auth import credentials
from server.ids import room_feed
from server.main import build_screening
from server.rooms import Member, Room, RoomState
from server.settings import load_settings
from server.store.accounts import NewAccount, NewSession, insert_account, start_session
from server.store.batch import AuditChain, KnownHeads, run_batch
from server.store.duty import insert_shift
from server.store.hot import HotRunner
from server.store.keys import Keyring
from server.store.migrate import TEST, upgrade
from server.store.rooms import create_room, set_standing
from server.store.schema import feed
from server.store.seals import AuditKey
from server.store.unit import Tx, Unit

# The first second of every seed, by the database's clock: noon on a working day.
BEGIN_US: Final = 1_794_830_400_000_000
ROOMS: Final = (room_feed(ids.RoomId("R1")), room_feed(ids.RoomId("R2")))
# Name, room, and whether they talk: who only listens does not learn from their own message what they have missed.
TALKERS: Final = (("A", 0, True), ("B", 0, True), ("C", 0, False), ("D", 1, True))


@dataclass(frozen=True, slots=True)
class Someone:
    """An account that every seed begins with."""

    account: str
    name: str
    role: Role
    token: str = field(repr=False)


def _someone(account: str, name: str, role: Role) -> Someone:
    return Someone(account, name, role, account.ljust(43, "0"))


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
        screening = build_screening(settings, now_ns=lambda: 0)
        self.fixed = Fixed(settings, screening, LadderPolicy.load(), AttentionPolicy.load(), b"k" * 32)
        self.people = (
            *(_someone(f"M{name}", f"Member {name}", Role.MEMBER) for name, _, _ in TALKERS),
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
        engine = create_engine("sqlite://", poolclass=StaticPool, creator=lambda: raw, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection, fixed_ids(random.Random(0), lambda: BEGIN_US):  # noqa: S311
            upgrade(connection)
            for name in ids.STAFF_FEEDS:
                connection.execute(feed.insert().values(id=name, epoch=1, seq=0, version=1))
            unit = Unit(self._settle_in)
            run_batch(
                connection,
                HotRunner(connection),
                [unit],
                AuditChain(AuditKey(self.fixed.wrapping_key).seal_row),
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
        for name in ROOMS:
            room = Room(name.partition(":")[2], RoomKind.COMMUNITY, name, "A simulation", RoomState.OPEN, None)
            create_room(tx, room)
        for (_, place, _), someone in zip(TALKERS, self.people, strict=False):
            set_standing(tx, ROOMS[place].partition(":")[2], someone.account, Member.ACTIVE)


@contextlib.contextmanager
def fixed_ids(dice: random.Random, now_us: Callable[[], int]) -> Iterator[None]:
    """Let ids be made of `dice` and of a simulated clock, not of the machine's."""

    class _Time:
        @staticmethod
        def time_ns() -> int:
            return now_us() * 1000

    before = ids.random_16, vars(ids)["time"]
    ids.random_16 = lambda: dice.randbytes(16)
    vars(ids)["time"] = _Time
    try:
        yield
    finally:
        ids.random_16, vars(ids)["time"] = before


def _drop(logger: Any, name: str, event: Any) -> Any:
    del logger, name, event
    raise structlog.DropEvent
