"""What must hold at every moment, looked at when the service starts and every minute: every open case has a timer.

A case without one would be nobody's. If one is ever found, it is reported as loudly as the log can, and it is given a
timer that is due now: the people on duty look first, the engineers afterwards.
"""

from __future__ import annotations

import structlog

from moderation.ladders import Side
from server.actions.services import Services
from server.store import cases
from server.store.unit import Tx

log = structlog.get_logger()


async def check_obligations(services: Services) -> int:
    """Give every open case that has no running obligation one that is due now. Returns how many there were."""
    orphans = await services.store.read(cases.cases_without_obligation)
    for case in orphans:
        log.critical("case_without_obligation", case=case)

        def arm(tx: Tx, case: str = case) -> None:
            row = cases.case_by_id(tx.conn, case, lock=True)
            if row is not None and cases.obligation_of(tx.conn, case, lock=True) is None:
                cases.insert_obligation(tx, case, Side(row.side), row.level, tx.now)
                cases.add_history(tx, case, "rearmed")

        await services.store.write(arm)
    if orphans:
        services.wake_ladders()
    return len(orphans)
