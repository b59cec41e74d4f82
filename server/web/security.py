"""What stands between a browser and every page: host, headers, origin, the cookie, the token in forms.

Pure functions and small ASGI layers. Decided here: which request is even looked at, and which headers leave with each
answer. Not decided here: who may do what (`policy`).

The referrer policy is `same-origin`, not `no-referrer`: under `no-referrer` browsers send `Origin: null` with ordinary
form posts, and the exact check of Origin could not stand. Nothing is sent to other sites either way.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from server.auth.origins import check_host, is_loopback_host, only
from server.ids import new_id
from server.web.settings import WebSettings

REQUEST_ID_HEADER = "x-request-id"
CSRF_HEADER = "x-evenkeel-csrf"
CSRF_FIELD = "csrf"
# What machines ask, who know the service by the address of its machine and can often not say another Host.
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
# For refusals that are made before there is a page: plain text, in ASCII.
HELP_LINE = (
    "Need help now? If a life is in danger, call 999. For urgent mental health help, call NHS 111 and choose option 2. "
    "To talk to someone at any time, call Samaritans on 116 123, or text SHOUT to 85258."
)


def content_security_policy(form_origins: Iterable[str] = ()) -> str:
    """Nothing from anywhere but here; no inline script or style, no framing; no string becomes markup or code."""
    form = " ".join(["'self'", *sorted(form_origins)])
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src 'self' data:",
            "font-src 'self'",
            f"form-action {form}",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def set_session_cookie(response: Response, settings: WebSettings, token: str) -> None:
    response.set_cookie(settings.cookie, token, path="/", secure=settings.tls, httponly=True, samesite="lax")


def clear_session_cookie(response: Response, settings: WebSettings) -> None:
    response.delete_cookie(settings.cookie, path="/", secure=settings.tls, httponly=True, samesite="lax")


class RequestId:
    """Give every request an id of our own making: in the scope, in the answer and in what is logged meanwhile."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = new_id()
        scope.setdefault("state", {})["request_id"] = request_id
        bind_contextvars(request_id=request_id)

        async def with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        await self.app(scope, receive, with_id)


class SecurityHeaders:
    """Put the security headers on every answer, and `no-store` on all but the assets."""

    def __init__(self, app: ASGIApp, settings: WebSettings) -> None:
        self.app = app
        self._always = {
            "content-security-policy": content_security_policy(),
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "x-content-type-options": "nosniff",
            "referrer-policy": "same-origin",
            "permissions-policy": "camera=(), microphone=(), geolocation=()",
        }
        if settings.tls:
            self._always["strict-transport-security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._always.items():
                    headers.setdefault(name, value)
                if "cache-control" not in headers:
                    headers["cache-control"] = "no-store, private"
                    headers.add_vary_header("Cookie")
            await send(message)

        await self.app(scope, receive, with_headers)


class AllowedHosts:
    """Answer only requests that name this service: exact, with port. Probes may name this machine instead."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self.app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_ours(scope):
            text = f"This is not an address of this service. {HELP_LINE}"
            await PlainTextResponse(text, status_code=400)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _is_ours(self, scope: Scope) -> bool:
        host = only(Headers(scope=scope).getlist("host"))
        return check_host(host, self._hosts) or (scope["path"] in PROBES and is_loopback_host(host))
