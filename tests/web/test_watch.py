"""What the watch from another machine is told by the service: how late it is, and of nobody."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from ops.watch import Limits, Look, State, look
from server.actions.reports import ask_for_help
from server.ids import new_id
from server.protocol.frames import Help
from tests import harness
from tests.web.conftest import Site

TOKEN = "a token of the watch, for tests"


async def seen(site: Site, token: str) -> Look:
    return await asyncio.to_thread(look, site.origin, token, Limits())


async def test_the_service_says_how_late_it_is_to_whoever_has_the_token(served: Site) -> None:
    """With the token a look sees what is overdue, in seconds; with another one, or where none is set, nothing."""
    services = served.services
    assert await seen(served, TOKEN) == Look(State.UNKNOWN, 404)
    services.settings = services.settings.model_copy(update={"watch_token": TOKEN})
    assert await seen(served, TOKEN) == Look(State.WELL, 200, 0.0)
    await ask_for_help(services, await harness.member(services, "Robin"), Help(client_id=new_id()), new_id())
    await services.store.fast_forward(timedelta(minutes=10))
    late = await seen(served, TOKEN)
    assert late.state is State.OVERDUE
    assert 599 < (late.overdue_s or 0) < 660
    assert await seen(served, "") == Look(State.WELL, 200, 0.0)
    assert await seen(served, TOKEN + "!") == Look(State.UNKNOWN, 404)
