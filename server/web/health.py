"""For machines: alive, ready, and the numbers; the numbers only for this machine itself."""

from __future__ import annotations

import ipaddress

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response

from server.actions import gauges
from server.errors import NotFound, NotSignedIn
from server.web import verbs
from server.web.visit import Visit


async def alive(visit: Visit) -> Response:
    return JSONResponse({"alive": True})


async def ready(visit: Visit) -> Response:
    """Whether an ordinary action can reach the database, and whether this process hears the others.

    A token that nobody holds must be refused as such. A process that is deaf still delivers, up to five seconds late.
    """
    try:
        await verbs.accounts.authenticate(visit.services, "readiness")
    except NotSignedIn:
        hears = visit.services.bus.hears()
        return JSONResponse({"ready": hears}, 200 if hears else 503)
    return JSONResponse({"ready": False}, 503)


async def metrics(visit: Visit) -> Response:
    """The numbers, without any label that names a person.

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
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
