"""The request that asks for a socket, as the service is shown it, and the HTTP answer when there is none to be had."""

from __future__ import annotations

import asyncio
import email.utils
import json
from collections.abc import Sequence
from http import HTTPStatus

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHeader
from websockets.headers import parse_subprotocol
from websockets.http11 import Request, Response

from server.errors import BadRequest, ServiceError
from server.live.verbs import Upgrade


def describe(request: Request, transport: asyncio.BaseTransport, request_id: str) -> Upgrade:
    """What `request`, come in on `transport`, asks for.

    Raises:
        BadRequest: its list of subprotocols can not be read.
    """
    try:
        offered = [
            name for value in request.headers.get_all("Sec-WebSocket-Protocol") for name in parse_subprotocol(value)
        ]
    except InvalidHeader:
        raise BadRequest("Correct the header Sec-WebSocket-Protocol.", field="Sec-WebSocket-Protocol") from None
    peer = transport.get_extra_info("peername")
    return Upgrade(
        path=request.path,
        headers=tuple((name.lower(), value) for name, value in request.headers.raw_items()),
        peer=(str(peer[0]), int(peer[1])) if isinstance(peer, tuple) and len(peer) >= 2 else None,
        scheme="wss" if transport.get_extra_info("sslcontext") else "ws",
        offered=tuple(offered),
        request_id=request_id,
    )


def refusal(error: ServiceError, status: int, request_id: str, extra: Sequence[tuple[str, str]] = ()) -> bytes:
    """The whole HTTP answer for `error`, with the fields of an error frame in JSON, and `extra` headers."""
    body = {
        "code": error.error_code,
        "message": error.text,
        "field": error.field,
        "retry": error.retry,
        "request_id": request_id,
    }
    data = json.dumps(body).encode()
    headers = [
        ("Date", email.utils.formatdate(usegmt=True)),
        ("Connection", "close"),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(data))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        *extra,
    ]
    if error.retry_after_ms is not None:
        headers.append(("Retry-After", str(-(-error.retry_after_ms // 1000))))
    return Response(status, HTTPStatus(status).phrase, Headers(headers), data).serialize()
