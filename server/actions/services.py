"""What every action is handed first: the parts of the running service, wired once in `server.main`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from moderation.attention import AttentionPolicy
from moderation.draws import ReviewPolicy
from moderation.drift import DriftPolicy
from moderation.ladders import LadderPolicy
from moderation.rota_policy import RotaPolicy
from server.actions.limits import Throttle
from server.actions.pace import Pace
from server.actions.passwords import Passwords
from server.actions.room_cache import RoomCache
from server.actions.screening import Screening
from server.actions.wordlists.running import Lists
from server.bus.port import Bus, Nudge
from server.clock import Clock
from server.notify import Notifier
from server.numbers import Numbers
from server.settings import Settings
from server.store.store import Store
from server.tracing import Tracing


class Wake:
    """A signal that can be waited for; setting it twice is setting it once."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[], None]] = []

    def __call__(self) -> None:
        for listener in self._listeners:
            listener()

    def listen(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)


class Revocations:
    """Tells who listens which sessions have just been ended here, so that their sockets close at once.

    Other processes are nudged by the bus, and find out from the rows (`actions.sessions.sessions_alive`).
    """

    def __init__(self) -> None:
        self._listeners: list[Callable[[tuple[str, ...]], None]] = []

    def __call__(self, sessions: tuple[str, ...]) -> None:
        if sessions:
            for listener in self._listeners:
                listener(sessions)

    def listen(self, listener: Callable[[tuple[str, ...]], None]) -> None:
        """Call `listener` in the loop with the ids of sessions that were ended; it must not wait or raise."""
        self._listeners.append(listener)


@dataclass(slots=True)
class Services:
    """Frozen in use: nothing but `is_stopping` is replaced while the service runs.

    Attributes:
        secret: 32 bytes for tokens that are not stored (form tokens), derived from the wrapping key.
        notifiers: the channels by which people on duty are called, by name.
        review: what is drawn of each shift to be read blind.
        rota: how many must be on duty, and how a shift begins and ends.
        drift: when an entry of the lists finds more or less than it did.
        wake_ladders: tells the ladder job that something fell due just now; the rows are what guarantees it.
        revoked: called with the ids of sessions that were just ended, after the commit.
        passwords: hashes passwords beside the loop.
        throttle: slows down guessing.
        pace: how often an account may say what, by socket or by HTTP.
        lists: the watchword lists that this process runs, which are those in force.
        numbers: what `/metrics` says.
        tracing: spans for a collector, where there is one.
        is_stopping: this process drains, and is ready for nobody new.
    """

    settings: Settings
    store: Store
    bus: Bus
    screening: Screening
    ladders: LadderPolicy
    attention: AttentionPolicy
    secret: bytes = field(repr=False)
    notifiers: dict[str, Notifier] = field(default_factory=dict)
    review: ReviewPolicy = field(default_factory=ReviewPolicy.load)
    rota: RotaPolicy = field(default_factory=RotaPolicy.load)
    drift: DriftPolicy = field(default_factory=DriftPolicy.load)
    room_cache: RoomCache = field(default_factory=RoomCache)
    wake_ladders: Wake = field(default_factory=Wake)
    revoked: Revocations = field(default_factory=Revocations)
    numbers: Numbers = field(default_factory=Numbers)
    tracing: Tracing = field(default_factory=Tracing)
    is_stopping: bool = False
    passwords: Passwords = field(init=False)
    throttle: Throttle = field(init=False)
    pace: Pace = field(init=False)
    lists: Lists = field(init=False)

    def __post_init__(self) -> None:
        self.lists = Lists(self.store, self.screening, self.bus)
        self.passwords = Passwords(self.settings.argon2_memory_kib, self.settings.argon2_passes)
        self.throttle = Throttle(self.secret, self.bus.spend)
        self.pace = Pace(tell=self.bus.spend)
        self.bus.heed_spent(self._spent_elsewhere)
        self.revoked.listen(lambda sessions: self.bus.nudge(Nudge.SESSIONS, sessions))
        self.wake_ladders.listen(lambda: self.bus.nudge(Nudge.LADDERS))

    def _spent_elsewhere(self, allowance: str, times: int) -> None:
        self.pace.heard(allowance, times)
        self.throttle.heard(allowance, times, self.clock.now())

    @property
    def clock(self) -> Clock:
        return self.store.clock
