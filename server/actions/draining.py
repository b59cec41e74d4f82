"""Whether this service may be stopped now: not while an urgent case is open and nobody else could call people.

SIGTERM always drains, whatever is open: a machine that goes down asks nobody. This is for planned work, where a person
can still choose another moment, start another process first, or say why it has to be now.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import func, select

from moderation.types import Level
from server.actions.services import Services
from server.errors import BadRequest, Conflict
from server.ids import new_id
from server.store import cases
from server.store.schema import obligation
from server.store.standing import stand_aside
from server.store.unit import AuditEntry, Tx

# What an audit row may hold: a code, never a text. `change-2041` finds the rest.
_REASON: Final = re.compile(r"[a-z0-9][a-z0-9._-]{2,39}")


@dataclass(frozen=True, slots=True)
class Draining:
    """The service is about to drain. `urgent` cases are open; `others` can call people meanwhile, or nobody can."""

    urgent: int
    others: bool


async def allow_drain(services: Services, operator: str, service: str, reason: str) -> Draining:
    """Let a planned stop of `service` through and record it.

    Args:
        reason: code of the change or incident for which it has to be now; "" for none.

    Raises:
        BadRequest: the reason is no code.
        Conflict: an urgent case is open, no other service could call people about it, and no reason was given.
    """
    if reason and not _REASON.fullmatch(reason):
        raise BadRequest("Give the reason as the code of a change or incident, such as change-2041.", field="reason")

    request_id = structlog.contextvars.get_contextvars().get("request_id") or new_id()

    def unit(tx: Tx) -> Draining:
        open_urgent = (obligation.c.state != cases.MET) & (obligation.c.level >= Level.URGENT)
        urgent = tx.conn.execute(select(func.count()).select_from(obligation).where(open_urgent)).scalar_one()
        found = Draining(urgent, services.store.is_shared and stand_aside(tx, service))
        if found.urgent and not found.others and not reason:
            raise Conflict(
                f"{urgent} urgent case(s) are open and no other process could call anybody about them. Start another "
                "one first, see them closed, or say why it has to be now with --reason CODE.",
                code="urgent_open",
            )
        tx.audit(AuditEntry("drain", "service", service, request_id, operator, reason))
        return found

    return await services.store.write(unit)
