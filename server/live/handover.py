"""Does this uvicorn hand a WebSocket over as the hub expects? Asked once, at start.

uvicorn documents `Config(ws=...)` but not how the class is then called. The version is pinned for that reason, and the
calls are tried out here in memory, so that an unexpected change is a clear message at start and not a silent socket.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import uvicorn
from uvicorn.server import ServerState
from websockets.server import ServerProtocol

from server.errors import Misconfigured

UVICORN: Final = "0.54.0"
_REQUEST: Final = (
    b"GET /probe HTTP/1.1\r\nHost: probe\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class _Transport(asyncio.Transport):
    """Keeps which protocol it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: object = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        del data


class _Probe(asyncio.Protocol):
    """Notes the calls that a connection would rest on."""

    calls: list[str]

    def __init__(self, config: object, server_state: Any, app_state: object) -> None:
        del config, app_state
        self.calls = ["made" if isinstance(server_state.connections, set) else "no set of connections"]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.calls.append("connected" if isinstance(transport, _Transport) else "another transport")

    def data_received(self, data: bytes) -> None:
        whole = data.startswith(b"GET /probe HTTP/1.1\r\n") and data.endswith(b"\r\n\r\n") and b"websocket" in data
        self.calls.append("request" if whole else "no whole request")


async def _app(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("the probe is never answered by an application")


def check_handover(http: str = "httptools") -> None:
    """Try the hand-over once, with uvicorn's protocol class `http` ("httptools" or "h11"). Needs a running loop.

    Raises:
        Misconfigured: another version of uvicorn or websockets is installed, or it behaves otherwise.
    """
    if uvicorn.__version__ != UVICORN:
        raise Misconfigured(
            f"Install uvicorn {UVICORN}: the live connections rest on it, and {uvicorn.__version__} is here."
        )
    for name in ("receive_data", "events_received", "accept", "data_to_send"):
        if not hasattr(ServerProtocol, name):
            raise Misconfigured(f"Install websockets as pinned: its ServerProtocol lacks {name}.")
    if http == "h11":
        from uvicorn.protocols.http.h11_impl import H11Protocol as HttpProtocol
    else:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as HttpProtocol  # type: ignore[assignment]
    config = uvicorn.Config(_app, ws=_Probe, http=HttpProtocol, log_config=None, lifespan="off")
    config.load()
    transport = _Transport()
    protocol = HttpProtocol(config=config, server_state=ServerState(), app_state={})
    try:
        protocol.connection_made(transport)
        protocol.data_received(_REQUEST)
    except Exception as exc:
        raise Misconfigured(
            f"uvicorn {UVICORN} does not hand sockets over as expected ({type(exc).__name__})."
        ) from exc
    probe = transport.protocol
    calls = probe.calls if isinstance(probe, _Probe) else ["nothing"]
    if calls != ["made", "connected", "request"]:
        raise Misconfigured(f"uvicorn {UVICORN} does not hand sockets over as expected ({', '.join(calls)}).")
