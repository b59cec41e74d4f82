"""How long a client may take to say what it wants over HTTP, and how much of it: uvicorn itself waits for ever.

A request line and its headers must be here within `head_s` seconds of the connection, or of the first byte of a further
request, and hold no more than HEAD_BYTES; the body must follow within `body_s`. Whoever is slower is answered 408,
whoever says more 431, whoever says what is no HTTP 400, and the connection ends. No page is drawn for these answers,
but each says where help is. A socket has deadlines of its own from the hand-over on (`server.live`).
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from server.web.security import HELP_LINE

HEAD_BYTES: Final = 32 * 1024
_WHY: Final = {
    HTTPStatus.BAD_REQUEST: "We could not read that request.",
    HTTPStatus.REQUEST_TIMEOUT: "That took too long to reach us. Please try again.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "That request was too large.",
}


class PatientHttp(HttpToolsProtocol):
    """uvicorn's HTTP protocol with an end to its patience."""

    head_s: ClassVar[float] = 10.0
    body_s: ClassVar[float] = 30.0

    _deadline: asyncio.TimerHandle | None = None
    _in_head = True
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect(self.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
            if self._deadline is None:
                self._expect(self.head_s)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_BYTES:
            self._end(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._expect(self.body_s)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        self._expect(None)
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._expect(None)
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        del msg  # uvicorn's own words, for its log
        self._end(HTTPStatus.BAD_REQUEST)

    def _expect(self, within_s: float | None) -> None:
        """Give the client that many seconds from now; None: nothing is expected of it."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if within_s is None else self.loop.call_later(within_s, self._late)

    def _late(self) -> None:
        self._deadline = None
        self._end(HTTPStatus.REQUEST_TIMEOUT)

    def _end(self, status: HTTPStatus) -> None:
        self._expect(None)
        if self.transport.is_closing():
            return
        cycle: Any = self.cycle  # None before the first request
        if not self.pipeline and (cycle is None or cycle.response_complete or not cycle.response_started):
            text = f"{_WHY[status]} {HELP_LINE}\n"
            head = (
                f"HTTP/1.1 {status.value} {status.phrase}\r\nconnection: close\r\ncontent-type: text/plain\r\n"
                "x-content-type-options: nosniff\r\ncache-control: no-store\r\n"
                f"content-length: {len(text)}\r\n\r\n"
            )
            self.transport.write((head + text).encode("ascii"))
        self.transport.close()


def patient(head_s: float, body_s: float) -> type[PatientHttp]:
    """The same with other bounds, in seconds."""
    bounds: dict[str, Any] = {"head_s": head_s, "body_s": body_s}
    return type("OtherPatientHttp", (PatientHttp,), bounds)
