"""For machines: alive, ready, overdue, and the numbers; the numbers only for this machine itself."""

from __future__ import annotations

import hmac
import ipaddress

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, Response

from server.actions import gauges
from server.auth.origins import bearer_token
from server.errors import NotFound, NotSignedIn
from server.web import verbs
from server.web.visit import Visit


async def alive(visit: Visit) -> Response:
    return JSONResponse({"alive": True})


async def ready(visit: Visit) -> Response:
    """Whether an ordinary action can reach the database, this process hears the others, and is not about to stop.

    A token that nobody holds must be refused as such. A process that is deaf still delivers, up to five seconds late.
    """
    is_ready = await _is_ready(visit)
    return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)


async def _is_ready(visit: Visit) -> bool:
    try:
        await verbs.sessions.authenticate(visit.services, "readiness")
    except NotSignedIn:
        return visit.services.bus.hears() and not visit.services.is_stopping
    return False


async def watched(visit: Visit) -> Response:
    """For `evenkeel watch`: ready or not, and by how many seconds the latest duty is overdue. Numbers, and of nobody.

    Raises:
        NotFound: without the watch token of the settings.
    """
    token = visit.services.settings.watch_token
    given = bearer_token(visit.request.headers.getlist("authorization")) or ""
    if not token or not hmac.compare_digest(given.encode(), token.encode()):
        raise NotFound(visit.texts("error.not_found"))
    is_ready = await _is_ready(visit)
    late = round(await verbs.overdue_s(visit.services), 1)
    return JSONResponse({"ready": is_ready, "overdue_s": late}, 200 if is_ready else 503)


async def metrics(visit: Visit) -> Response:
    """The numbers of all workers behind this port, without any label that names a person.

    Raises:
        NotFound: the question came from another machine, or through a proxy.
    """
    try:
        local = ipaddress.ip_address(visit.address).is_loopback
    except ValueError:
        local = False
    if not local or "x-forwarded-for" in visit.request.headers or "forwarded" in visit.request.headers:
        raise NotFound(visit.texts("error.not_found"))
    await gauges.refresh(visit.services)
    return Response(visit.services.numbers.text(), media_type=CONTENT_TYPE_LATEST)
