"""From a back-test of stored messages to what the proposed lists would ask of the people on duty."""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row

from moderation.ladders import Audience
from moderation.shifts import ShiftPolicy
from moderation.workload import Forecast, forecast
from server.actions.services import Services
from server.store import workload
from server.store.wordtrials import TrialKind, TrialState

# How far back it is looked how far ladders climbed: the people and the rota of now, and not those of last year.
LADDERS_OF: Final = timedelta(days=90)
_AUDIENCES: Final = (Audience.MODERATORS_ON_SHIFT, Audience.DUTY_CLINICIAN, Audience.CLINICAL_LEAD)


@functools.cache
def shifts() -> ShiftPolicy:
    """When a night shift is."""
    return ShiftPolicy.load()


def is_forecast(trial: Row[Any], digest: str) -> bool:
    """Whether a forecast can be made of a trial: it read stored messages to the end, with the words of that digest."""
    return bool(trial.kind == TrialKind.STORED and trial.state == TrialState.DONE and trial.digest == digest)


def forecast_of(services: Services, conn: Connection, trial: Row[Any]) -> Forecast:
    """The forecast of a finished back-test, by the ladders as they stand and as far as they climbed lately."""
    counts = workload.hours_of(conn, trial.id)
    climbed = workload.climbed(conn, trial.asked_at - LADDERS_OF, _AUDIENCES)
    since = trial.asked_at - timedelta(days=trial.days)
    return forecast(counts, since, trial.asked_at, shifts(), services.ladders, climbed)
