"""A back-test as the operator asks for it: begun without a browser, and answered with counts alone.

Whoever signs decides in the pages; here nothing is signed and no text is shown. The audit names the operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from moderation.workload import Forecast
from server.actions.services import Services
from server.actions.wordlists.forecasting import forecast_of, is_forecast
from server.actions.wordlists.trials import BODIES_FOR, MOST_DAYS
from server.errors import BadRequest, NotFound, Refused
from server.ids import new_id
from server.store import wordlists, wordtrials
from server.store.unit import AuditEntry, Tx
from server.store.wordlists import State
from server.store.wordtrials import NewTrial, TrialKind

_LATEST: Final = 1


@dataclass(frozen=True, slots=True)
class BegunTrial:
    """A back-test that waits for its turn."""

    trial: str
    version: str


@dataclass(frozen=True, slots=True)
class TrialFigures:
    """How far a back-test is, and what it counted. `flags`: (category, level now, level then, texts); 0: not flagged.

    `forecast` is None for the corpus, and until it is done.
    """

    trial: str
    version: str
    kind: str
    state: str
    is_open: bool
    days: int
    done: int
    total: int
    unreadable: int
    flags: tuple[tuple[str, int, int, int], ...]
    forecast: Forecast | None


async def begin_back_test(services: Services, operator: str, version: str, days: int) -> BegunTrial:
    """Ask for a back-test of a proposal on the stored messages of so many days, or on the corpus (0).

    Args:
        version: "" for the newest proposal.

    Raises:
        BadRequest: days out of bounds. NotFound: no such proposal, or none at all. Refused: it is decided already.
    """
    if not 0 <= days <= MOST_DAYS:
        raise BadRequest(f"Choose from 1 to {MOST_DAYS} days.", field="days")
    kind = TrialKind.STORED if days else TrialKind.CORPUS

    def unit(tx: Tx) -> BegunTrial:
        wordlists.lock(tx)
        newest = [] if version else wordlists.versions(tx.conn, [State.PROPOSED], _LATEST)
        row = wordlists.version_by_id(tx.conn, version or (newest[0].id if newest else ""))
        live = wordlists.live(tx.conn)
        if row is None or live is None:
            raise NotFound("There is no such proposal." if version else "Nothing is proposed.", field="proposal")
        if row.state != State.PROPOSED:
            raise Refused("This is decided already.")
        new = NewTrial(row.id, row.digest, live.version, kind, operator, days, BODIES_FOR)
        trial = wordtrials.insert_trial(tx, new)
        detail = f"{kind} {days}" if days else str(kind)
        tx.audit(AuditEntry("words_trial", "word_trial", trial, new_id(), operator, detail))
        return BegunTrial(trial, row.id)

    begun = await services.store.write(unit)
    services.lists.changed()
    return begun


async def figures(services: Services, trial: str) -> TrialFigures:
    """What a back-test has counted so far. Raises NotFound."""

    def read(conn: Connection) -> TrialFigures:
        row = wordtrials.trial_by_id(conn, trial)
        if row is None:
            raise NotFound("There is no such trial.")
        return TrialFigures(
            trial=row.id,
            version=row.word_version,
            kind=row.kind,
            state=row.state,
            is_open=row.state in wordtrials.OPEN,
            days=row.days,
            done=row.done,
            total=row.total,
            unreadable=row.unreadable,
            flags=tuple((flag.category, flag.live, flag.proposed, flag.n) for flag in wordtrials.flags(conn, trial)),
            forecast=forecast_of(services, conn, row) if is_forecast(row, row.digest) else None,
        )

    return await services.store.read(read)
