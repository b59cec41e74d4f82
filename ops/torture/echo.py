"""The hub's own framing with nothing behind it: a server that sends every message back, for suites that try framing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from server.live.socket import SocketLimits, WebSocket, frame
from server.live.verbs import Upgrade
from server.live.wheel import Wheel

_TICK_S: Final = 1.0


class _Owner:
    """Keeps the deadlines of the sockets, and their tasks."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._clock = asyncio.get_running_loop().time
        self.now = self._clock()
        self.limits = SocketLimits()
        self._wheel: Wheel[WebSocket] = Wheel(self.now)

    def watch(self, socket: WebSocket, at: float) -> None:
        self._wheel.put(socket, at)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def keep_time(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self.now = self._clock()
            for watched in self._wheel.due(self.now):
                watched.review(self.now)


class _Echo(WebSocket):
    """Answers each message with itself; refuses nobody."""

    __slots__ = ()

    async def admit(self, upgrade: Upgrade) -> str | None:
        return None

    def message(self, payload: bytes, is_text: bool) -> None:
        self.write(frame(payload, is_text))


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    """What is no WebSocket is answered with an empty page."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@contextlib.asynccontextmanager
async def echo_server() -> AsyncIterator[int]:
    """Run the server on loopback; yields its port, which is open by then."""
    state = ServerState()
    owner = _Owner()
    protocol = type("OwnedEcho", (_Echo,), {"__slots__": (), "owner": owner})
    config = uvicorn.Config(_nothing, ws=protocol, log_config=None, lifespan="off")
    config.load()
    listener = socket.create_server(("127.0.0.1", 0))
    server = await asyncio.get_running_loop().create_server(
        lambda: HttpToolsProtocol(config=config, server_state=state, app_state={}), sock=listener
    )
    _ = owner.spawn(owner.keep_time())
    try:
        yield listener.getsockname()[1]
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await owner.stop()
        await asyncio.sleep(0)  # lets the transports say that they are lost
