"""The alarm of an entry that begins to find more or less than it did.

Each whole day (UTC) is counted once and kept; the last 24 hours are counted at each look. An alarm is raised once, with
a row of the audit, shown on the lists' page and as a number, and ends when the entry is within its band again. Nobody
is called by the ladder: a case is about a person.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from moderation.drift import Base, band
from server.actions.services import Services
from server.actions.wordlists.documents import split, unpack
from server.clock import to_ms
from server.ids import first_id_at, new_id
from server.store import drift, wordlists
from server.store.migrate import PRODUCTION
from server.store.unit import AuditEntry, Tx

DAY: Final = timedelta(days=1)
_SLACK_MS: Final = 60_000


async def look_at_rates(services: Services) -> int:
    """Count what is not counted yet, raise and end alarms; returns how many are open."""
    now = services.clock.now()
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    since = today - services.drift.base
    done = await services.store.read(lambda conn: drift.counted_days(conn, since))
    days = [day for n in range(services.drift.base.days) if (day := since + n * DAY) not in done]
    counts = {day: await _count(services, day, day + DAY) for day in days}
    if counts:
        await services.store.write(lambda tx: drift.keep_days(tx, counts))
    lately = await _count(services, now - DAY, now)
    bases = await services.store.read(lambda conn: _bases(conn, since, now - DAY))

    def unit(tx: Tx) -> int:
        wordlists.lock(tx)
        alarms = {row.entry_id: row for row in drift.open_alarms(tx.conn)}
        still = 0
        for entry, base in bases.items():
            limits = band(services.drift, base, lately[drift.MESSAGES])
            hits, known = lately.get(entry, 0), alarms.pop(entry, None)
            is_out = limits is not None and not limits[0] <= hits <= limits[1]
            still += is_out or (known is not None and limits is None)
            if limits is not None and is_out and known is None:
                raised = drift.raise_alarm(tx, entry, hits, lately[drift.MESSAGES], *limits)
                _audit(tx, "words_drift", raised, "above" if hits > limits[1] else "below")
            elif limits is not None and not is_out and known is not None:
                drift.end_alarm(tx, known.id)
                _audit(tx, "words_drift_over", known.id, "within")
        for gone in alarms.values():  # not in force any more
            drift.end_alarm(tx, gone.id)
            _audit(tx, "words_drift_over", gone.id, "gone")
        return still

    return await services.store.write(unit)


async def _count(services: Services, since: datetime, until: datetime) -> dict[str, int]:
    # Ids begin with the time, which in a real service is the clock's: nothing else is looked at.
    real = services.store.kind == PRODUCTION
    after = first_id_at(to_ms(since) - _SLACK_MS) if real else ""
    before = first_id_at(to_ms(until) + _SLACK_MS) if real else ""
    return await services.store.read(lambda conn: drift.count(conn, since, until, after, before))


def _bases(conn: Connection, since: datetime, until: datetime) -> dict[str, Base]:
    """By entry in force: what its whole days within [since, until) since its last change hold."""
    days: dict[datetime, dict[str, int]] = {}
    for row in drift.rates(conn, since):
        if row.day + DAY <= until:
            days.setdefault(row.day, {})[row.entry_id] = row.messages
    found = {}
    for entry, changed in _unchanged_since(conn, since).items():
        mine = [counts for day, counts in days.items() if day >= changed and counts.get(drift.MESSAGES)]
        hits, messages = (sum(counts.get(name, 0) for counts in mine) for name in (entry, drift.MESSAGES))
        found[entry] = Base(len(mine), hits, messages)
    return found


def _unchanged_since(conn: Connection, since: datetime) -> dict[str, datetime]:
    """Of each entry in force that says anything: since when it reads as it does, but no earlier than `since`."""
    texts: dict[str, str] = {}
    changed: dict[str, datetime] = {}
    for row in drift.activations_since(conn, since):
        documents = unpack(wordlists.content(conn, row.word_version))
        now = {entry: text for name, document in documents.items() for entry, text in split(document, name)[1]}
        changed = {
            entry: changed[entry] if texts.get(entry) == text else max(since, row.at) for entry, text in now.items()
        }
        texts = now
    return changed


def _audit(tx: Tx, act: str, alarm: str, detail: str) -> None:
    tx.audit(AuditEntry(act, "word_drift", alarm, new_id(), None, detail))
