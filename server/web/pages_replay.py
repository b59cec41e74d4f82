"""The page of a replay: what was known of a case at an instant, for the leads. Works without a script."""

from __future__ import annotations

from datetime import datetime

from starlette.responses import Response

from server.errors import BadRequest
from server.web import replays, verbs
from server.web.visit import Visit


async def replay_page(visit: Visit) -> Response:
    """A case at `?at=`, or at the last thing that happened; opening it is written down by the action."""
    asked = _instant(visit)
    replay = await verbs.replay_case(visit.services, visit.who, visit.path("case"), visit.request_id)
    at = asked or max(event.at for event in replay.events)
    shown = replays.page(replay, at, visit.texts)
    return visit.page("replay.jinja", here="staff", case=replay.case, p=shown, is_past=asked is not None)


def _instant(visit: Visit) -> datetime | None:
    given = visit.request.query_params.get("at", "")
    if not given:
        return None
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise BadRequest(visit.texts("replay.no_instant"), field="at")
    return at
