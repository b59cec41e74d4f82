"""One request as the pages see it: who asks, what was posted, and how an answer is drawn.

Decided here: what every page is given, and what a refusal looks like. Every refusal carries the crisis lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from jinja2 import ChainableUndefined, ChoiceLoader, Environment, FileSystemLoader, PackageLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from server.auth.credentials import form_token
from server.auth.origins import client_address
from server.auth.requester import Requester
from server.errors import ServiceError, TooFast
from server.ids import new_id
from server.web.assets import Assets
from server.web.security import clear_session_cookie
from server.web.settings import WebSettings
from server.web.texts import Texts

if TYPE_CHECKING:
    from server.web.verbs import Services

# The parts of the catalogue that the browser's modules look codes up in.
MEMBER_TEXTS = ("help", "care", "handling", "send", "held", "view", "role", "connection", "room", "category", "level")
STAFF_TEXTS = (
    *MEMBER_TEXTS,
    *("state", "act", "outcome", "gist", "console", "oncall", "fact", "rung", "origin", "error"),
)


def environment(settings: WebSettings, assets: Assets, texts: Texts) -> Environment:
    """Our templates before the design system's, with escaping always on."""
    env = Environment(
        loader=ChoiceLoader([FileSystemLoader(settings.web / "templates"), PackageLoader("nhsuk_frontend_jinja")]),
        autoescape=True,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.globals.update(
        asset=assets.url,
        t=texts,
        t_or=lambda section, code: texts(f"{section}.{code}"),
        service_name=settings.service_name,
        quick_exit_url=settings.quick_exit_url,
        rules_version=settings.rules_version,
        demo=settings.demo,
    )
    return env


@dataclass(frozen=True, slots=True)
class Edge:
    """What lives as long as the process."""

    services: Services
    settings: WebSettings
    assets: Assets
    texts: Texts
    env: Environment


@dataclass(slots=True)
class Visit:
    """One request.

    Attributes:
        requester: None where nobody is signed in.
        fields: the posted form; empty for a GET or for JSON.
        body: the posted JSON; empty otherwise.
    """

    edge: Edge
    request: Request
    request_id: str
    requester: Requester | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def services(self) -> Services:
        return self.edge.services

    @property
    def settings(self) -> WebSettings:
        return self.edge.settings

    @property
    def texts(self) -> Texts:
        return self.edge.texts

    @property
    def who(self) -> Requester:
        """The requester of an operation that the policy does not open to the public."""
        if self.requester is None:
            raise RuntimeError("a public operation asked for its requester")
        return self.requester

    @property
    def address(self) -> str:
        """The client's address: the peer's, or what a trusted proxy says of it."""
        peer = self.request.client.host if self.request.client else None
        forwarded = ",".join(self.request.headers.getlist("x-forwarded-for"))
        return client_address(peer, forwarded, self.settings.trusted_proxies)

    def path(self, name: str) -> str:
        return str(self.request.path_params[name])

    def page(self, template: str, status: int = 200, **context: Any) -> Response:
        """Draw a page."""
        csrf = form_token(self.settings.secret, self.requester.session) if self.requester else ""
        html = self.edge.env.get_template(template).render(
            requester=self.requester, csrf=csrf, client_id=f"f-{new_id()}", request_id=self.request_id, **context
        )
        return HTMLResponse(html, status_code=status)

    def refusal(self, error: ServiceError, *, json: bool) -> Response:
        """The answer to a request that was not carried out: always with a way to help."""
        status = error.status
        text = self.texts("error.too_many") if isinstance(error, TooFast) else error.text
        response: Response
        if json:
            response = JSONResponse(
                {
                    "code": error.error_code,
                    "message": text,
                    "field": error.field,
                    "retry": error.retry,
                    "request_id": self.request_id,
                },
                status,
            )
        else:
            heading = self.texts.maybe(f"error_title.{status}") or HTTPStatus(status).phrase
            again = self.request.url.path if self.request.method == "GET" and error.retry != "never" else ""
            response = self.page(
                "refusal.jinja",
                status,
                heading=heading,
                text=text,
                kept=self.fields.get("body", ""),
                sign_in=status == HTTPStatus.UNAUTHORIZED,
                again=again,
            )
        if error.retry_after_ms is not None:
            response.headers["retry-after"] = str(max(1, -(-error.retry_after_ms // 1000)))
        if status == HTTPStatus.UNAUTHORIZED and self.settings.cookie in self.request.cookies:
            clear_session_cookie(response, self.settings)
        return response


def see_other(url: str) -> Response:
    """After a post: look at the result with a GET."""
    return RedirectResponse(url, HTTPStatus.SEE_OTHER)
