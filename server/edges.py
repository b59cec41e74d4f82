"""How connections get from the listening socket to uvicorn: a few in each turn of the loop.

An event loop accepts all that wait at once and reads all of their first requests in the next turn. Two thousand people
who come as the clock strikes then hold up everybody's messages for most of a second. Those who are not accepted yet
wait in the listening socket, where they cost nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable
from typing import Final

import structlog
import uvicorn

_log = structlog.get_logger(__name__)

ACCEPTS_A_TURN: Final = 4
BACKLOG: Final = 2048
# Without descriptors or memory, accepting fails at once and for as long as that lasts.
AGAIN_S: Final = 0.25
_SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# accept(2): the network's trouble with the one who came, or a firewall's word. That one did not come; the next may.
_NOBODY_CAME: Final = frozenset(
    {
        errno.EAGAIN,
        errno.ECONNABORTED,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENONET,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EPROTO,
        errno.ETIMEDOUT,
    }
)


class Doorman:
    """Accepts on `listener`, which has to be listening, from entering the loop until `close`."""

    def __init__(self, listener: socket.socket, make: Callable[[], asyncio.Protocol]) -> None:
        self._listener = listener
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._coming: set[asyncio.Task[None]] = set()
        self._again: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        listener.listen(BACKLOG)
        self._open()

    def _open(self) -> None:
        self._again = None
        self._loop.add_reader(self._listener.fileno(), self._let_in)

    def _let_in(self) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                accepted, _address = self._listener.accept()
            except OSError as exc:
                if exc.errno in _NOBODY_CAME:
                    return
                if exc.errno not in _SCARCE:
                    raise
                _log.error("accept_failed", reason=errno.errorcode[exc.errno])
                self._loop.remove_reader(self._listener.fileno())
                self._again = self._loop.call_later(AGAIN_S, self._open)
                return
            task = self._loop.create_task(self._hand_over(accepted))
            self._coming.add(task)
            task.add_done_callback(self._coming.discard)

    async def _hand_over(self, accepted: socket.socket) -> None:
        try:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(self._make, accepted)
        except OSError:  # it is gone already
            accepted.close()
        except Exception as exc:
            _log.error("hand_over_failed", error=type(exc).__name__)
            accepted.close()

    def close(self) -> None:
        """Accept nobody any more."""
        if self._again is not None:
            self._again.cancel()
        else:
            self._loop.remove_reader(self._listener.fileno())


class Edges(uvicorn.Server):
    """uvicorn, with our own way of letting people in and of stopping: drain first, then close."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])
        self._doormen = [Doorman(listener, self._protocol) for listener in sockets or ()]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for doorman in self._doormen:
            doorman.close()
        await super().shutdown(sockets=sockets)

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
