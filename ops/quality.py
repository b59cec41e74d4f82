"""`evenkeel watchwords quality`: the figures of the filter in service, read beside whatever runs on the database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from moderation.measuring import Estimate, Measured
from server.actions.quality import USUAL, facts, has_anything, quality_of
from server.clock import Clock, from_us
from server.errors import BadRequest
from server.settings import Settings
from server.store.clock import db_now
from server.store.store import read_mapping
from server.store.whole import read_snapshot
from watchwords.quality import Share


async def measure(
    settings: Settings, since: datetime | None, until: datetime | None
) -> tuple[dict[str, Any], list[str]]:
    """The figures of a period as plain values, and as lines. The days begin at midnight UTC; None: 28 days until now.

    Raises:
        BadRequest: the period ends before it begins.
    """

    def read(conn: Connection) -> tuple[Measured, datetime, datetime]:
        end = until.replace(tzinfo=UTC) if until else from_us(db_now(Clock(read_mapping(conn)))(conn))
        begin = since.replace(tzinfo=UTC) if since else end - USUAL
        if begin >= end:
            raise BadRequest("The period must end after it begins.", field="to")
        return quality_of(conn, begin, end), begin, end

    figures, begin, end = await read_snapshot(settings.database_url, read)
    return facts(figures, begin, end), list(lines_of(figures))


def lines_of(figures: Measured) -> list[str]:
    """The figures for a person, one to a line; what nothing is known of is left out."""
    lines = [
        f"{figures.messages} messages drawn from, {figures.read} read, {figures.misses} missed; "
        f"{figures.unread} in strata that nobody read",
        _line("sensitivity (2 and 3 found)", figures.sensitivity),
        _line("noticed at all", figures.noticed),
        _line("PPV, read blind", figures.ppv),
        _line("PPV by closed cases", figures.ppv_cases),
    ]
    if figures.agreement.pairs:
        kappa = "-" if figures.agreement.kappa is None else f"{figures.agreement.kappa:.3f}"
        lines.append(f"{'two readers (kappa)':28} {kappa}  {figures.agreement.pairs} pairs")
    for line in (*figures.categories, *figures.lists):
        if has_anything(line):
            lines += [_line(f"{line.name}: sensitivity", line.sensitivity), _line(f"{line.name}: PPV", line.ppv)]
    lines += [f"{entry.entry:28} {entry.wrong} wrong, {entry.right} right" for entry in figures.entries if entry.wrong]
    return lines


def _line(name: str, figure: Estimate | Share) -> str:
    if figure.value is None:
        return f"{name:28} -"
    of = figure.total if isinstance(figure, Share) else figure.read
    return f"{name:28} {figure.value:.3f}  ({figure.low:.3f}-{figure.high:.3f})  {of} judged"
