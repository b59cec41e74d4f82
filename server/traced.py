"""Where the spans are put round what the service does, once, as it is put together (`server.main`).

Only where spans are asked for: without them the hub is given its verbs and the store its writer as they are. Routes of
HTTP and rounds of the ladders are spanned where they are defined (`web.policy`, `jobs.ladders`, `actions.escalation`).
Not spanned: a beat and a leave, which touch nothing but memory, and fan-out, whose cost is counted in `/metrics`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from server.actions.services import Services
from server.auth.requester import Requester
from server.feeds import Following
from server.live.dispatch import LiveVerbs
from server.live.verbs import Upgrade
from server.protocol import frames
from server.store.batch import Outcome
from server.store.unit import Unit
from server.store.writer import Session, Writer
from server.tracing import Tracing


class TracedVerbs(LiveVerbs):
    """The hub's verbs, with a span for each command that reads or writes, named as its frame."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._tracing = services.tracing

    async def open_connection(self, upgrade: Upgrade) -> Requester:
        with self._tracing.span("upgrade", {"request": upgrade.request_id}):
            return await super().open_connection(upgrade)

    async def redeem_ticket(self, requester: Requester, upgrade: Upgrade, ticket: str | None) -> None:
        with self._tracing.span("hello"):
            await super().redeem_ticket(requester, upgrade, ticket)

    async def run(self, requester: Requester, command: frames.AnyCommand, request_id: str) -> frames.AnyReply:
        with self._tracing.span(type(command).__name__.lower()):
            return await super().run(requester, command, request_id)

    async def follow(self, requester: Requester, feed: str, after: frames.Position | None) -> Following:
        with self._tracing.span("join"):
            return await super().follow(requester, feed, after)


def verbs_for(services: Services) -> LiveVerbs:
    """The verbs of the hub, with spans where somebody is told of them."""
    return TracedVerbs(services) if services.tracing.is_on else LiveVerbs(services)


def trace_flushes(writer: Writer, tracing: Tracing) -> None:
    """Put a span round each batch that `writer` carries out from now on, with how many units it held."""
    if not tracing.is_on:
        return
    carry_out = writer.carry_out

    def traced(session: Session, units: Sequence[Unit[Any]]) -> list[Outcome]:
        with tracing.span("flush", {"units": len(units)}) as tell:
            outcomes = carry_out(session, units)
            tell({"failed": sum(outcome.error is not None for outcome in outcomes)})
            return outcomes

    writer.carry_out = traced
