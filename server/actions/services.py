"""What every action is handed first: the parts of the running service, wired once in `server.main`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from moderation.ladders import LadderPolicy
from server.actions.room_cache import RoomCache
from server.actions.screening import Screening
from server.bus.port import Bus
from server.clock import Clock
from server.notify import Notifier
from server.settings import Settings
from server.store.store import Store


class Wake:
    """A signal that can be waited for; setting it twice is setting it once."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[], None]] = []

    def __call__(self) -> None:
        for listener in self._listeners:
            listener()

    def listen(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)


@dataclass(slots=True)
class Services:
    """Frozen in use: nothing is replaced while the service runs.

    Attributes:
        secret: 32 bytes for tokens that are not stored (form tokens), derived from the wrapping key.
        notifiers: the channels by which people on duty are called, by name.
        wake_ladders: tells the ladder job that something fell due just now; the rows are what guarantees it.
    """

    settings: Settings
    store: Store
    bus: Bus
    screening: Screening
    ladders: LadderPolicy
    secret: bytes
    notifiers: dict[str, Notifier] = field(default_factory=dict)
    room_cache: RoomCache = field(default_factory=RoomCache)
    wake_ladders: Wake = field(default_factory=Wake)

    @property
    def clock(self) -> Clock:
        return self.store.clock
