"""The order of frames on one connection, without any I/O: `hello` first, `hello` once, nothing else before `welcome`.

Decided here: whether a command may come now. Not decided here: who the person is, how long the server waits for
`hello` (5 s, then 4408) or what a command does.
"""

from __future__ import annotations

from enum import Enum

from server.protocol.codes import ErrorCode, ProtocolError
from server.protocol.frames import FEATURES, AnyCommand, Beat, Hello, Welcome


class _Stage(Enum):
    NEW = "new"
    GREETED = "greeted"
    READY = "ready"


class Session:
    """One connection's place in the order of frames.

    Attributes:
        features: what was agreed; a field or item that belongs to a feature is sent only after that.
    """

    __slots__ = ("_stage", "features")

    def __init__(self) -> None:
        self._stage = _Stage.NEW
        self.features: frozenset[str] = frozenset()

    @property
    def is_ready(self) -> bool:
        """Whether `welcome` was sent."""
        return self._stage is _Stage.READY

    def check(self, command: AnyCommand) -> ProtocolError | None:
        """None where `command` may come now, otherwise what to answer. An accepted `hello` is remembered."""
        if isinstance(command, Hello):
            if self._stage is not _Stage.NEW:
                return ProtocolError(ErrorCode.HELLO_TWICE, "Say `hello` once per connection.", re=command.client_id)
            self._stage = _Stage.GREETED
            return None
        if self._stage is _Stage.READY:
            return None
        named = None if isinstance(command, Beat) else command.client_id
        return ProtocolError(ErrorCode.HELLO_FIRST, "Say `hello` and wait for `welcome`.", re=named)

    def agree(self, offered: tuple[str, ...]) -> tuple[str, ...]:
        """The offered features that this server has, in its own order: what `welcome.features` says."""
        return tuple(feature for feature in FEATURES if feature in offered)

    def welcomed(self, welcome: Welcome) -> None:
        """`welcome` is on its way: from now on every other command may come."""
        self._stage = _Stage.READY
        self.features = frozenset(welcome.features)
