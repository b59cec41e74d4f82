"""The one gate that every route goes through, and what it checks in which order.

`origin -> read what was posted -> who is this -> may they -> token -> handler`. A route names an operation; the rule
for it is looked up in `server.auth.permissions.POLICY`, and a route whose operation has no rule stops the start.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.auth import origins
from server.auth.credentials import form_token_holds
from server.auth.origins import check_origin
from server.auth.permissions import POLICY, Rule
from server.errors import Misconfigured, NotSignedIn, Refused, ServiceError
from server.web import verbs
from server.web.forms import MAX_BODY_BYTES, WrongMediaType, media_type, read_body, read_form
from server.web.security import CSRF_FIELD, CSRF_HEADER
from server.web.visit import Edge, Visit

log = logging.getLogger(__name__)

Handler = Callable[[Visit], Awaitable[Response]]
Kind = Literal["page", "file", "json", "bare"]
SAFE_METHODS = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Entry:
    """One route.

    Attributes:
        kind: how a refusal is answered: a "file", which browsers save, by a page as well; "bare" ones (assets, health)
            never look at the session.
        most_bytes: how long what is posted may be.
    """

    method: Literal["GET", "POST"]
    path: str
    operation: str
    handler: Handler
    kind: Kind = "page"
    most_bytes: int = MAX_BODY_BYTES


def route(edge: Edge, entry: Entry) -> Route:
    """The route with the gate before it.

    Raises:
        Misconfigured: its operation has no rule.
    """
    rule = POLICY.get(entry.operation)
    if rule is None:
        raise Misconfigured(f"The operation {entry.operation} has no rule.")

    async def guarded(request: Request) -> Response:
        visit = Visit(edge, request, request.state.request_id)
        try:
            await admit(visit, entry, rule)
            return await entry.handler(visit)
        except ServiceError as error:
            return visit.refusal(error, json=entry.kind not in ("page", "file"))
        except Exception as error:
            report(error, entry.operation, visit.request_id)
            failure = ServiceError(edge.texts("error.internal"), retry="same")
            return visit.refusal(failure, json=entry.kind not in ("page", "file"))

    tracing = edge.services.tracing

    async def traced(request: Request) -> Response:
        with tracing.span(f"{entry.method} {entry.path}", {"method": request.method, "route": entry.path}) as tell:
            response = await guarded(request)
            tell({"status": response.status_code})
            return response

    return Route(entry.path, traced if tracing.is_on else guarded, methods=[entry.method], name=entry.operation)


async def admit(visit: Visit, entry: Entry, rule: Rule) -> None:
    """Let the visit through, with its requester and what was posted, or refuse it.

    Raises:
        Refused: another origin, another role, or no valid token.
        NotSignedIn: nobody is signed in where somebody must be.
        BadRequest: what was posted can not be read.
    """
    request, texts = visit.request, visit.texts
    changes = request.method not in SAFE_METHODS
    program = entry.kind == "json" and is_program(request)
    if (
        changes
        and not program
        and not check_origin(origins.only(request.headers.getlist("origin")), visit.settings.origins)
    ):
        raise Refused(texts("error.bad_origin"), code="bad_origin")
    if entry.kind == "bare":
        return
    given = await read_posted(visit, entry) if changes else ""
    await identify(visit, rule)
    # What is open to the public is guarded by the exact Origin above: there is no session to bind a token to.
    bound = changes and rule.csrf and rule.roles is not None and not program
    if bound and not form_token_holds(visit.settings.secret, visit.who.session, given):
        raise Refused(texts("error.csrf"), code="csrf")


def is_program(request: Request) -> bool:
    """Whether this comes from no browser, and so is known by its bearer token; see `server.auth.origins`."""
    return origins.is_program(request.headers.keys())


async def read_posted(visit: Visit, entry: Entry) -> str:
    """Read the form or the JSON into the visit and return the token that came with it, "" for none."""
    request = visit.request
    given = request.headers.get(CSRF_HEADER, "")
    if entry.kind == "json":
        if media_type(request) != "application/json":
            raise WrongMediaType(visit.texts("error.media_type"))
        visit.body = await read_body(request, entry.most_bytes)
        return given
    fields = await read_form(request, entry.most_bytes)
    given = fields.pop(CSRF_FIELD, given)
    visit.fields = fields
    return given


async def identify(visit: Visit, rule: Rule) -> None:
    """Find out who this is, and refuse them if the rule does not name their role."""
    headers = visit.request.headers
    if is_program(visit.request):
        token = origins.bearer_token(headers.getlist("authorization"))
    else:
        token = origins.cookie_value(headers.getlist("cookie"), visit.settings.cookie)
    if token:
        try:
            visit.requester = await verbs.sessions.authenticate(visit.services, token)
        except NotSignedIn as error:
            if rule.roles is not None:
                raise NotSignedIn(visit.texts("error.expired"), code="expired") from error
    if rule.roles is None:
        return
    if visit.requester is None:
        raise NotSignedIn(visit.texts("error.not_signed_in"))
    if visit.requester.role not in rule.roles:
        raise Refused(visit.texts("error.refused"))


def report(error: Exception, operation: str, request_id: str) -> None:
    """Log an unforeseen failure by its type and place only: an exception's text may quote what somebody wrote."""
    places = " < ".join(f"{f.name}:{f.lineno}" for f in reversed(traceback.extract_tb(error.__traceback__)[-6:]))
    log.error("request failed: %s in %s at %s (%s)", type(error).__name__, operation, places, request_id)
