"""The page of how well the filter does in service: figures with their intervals, drawn and in tables."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from starlette.responses import Response

from server.errors import BadRequest
from server.web import verbs
from server.web.charts import intervals
from server.web.verbs import Estimate, Share
from server.web.visit import Visit


async def quality_page(visit: Visit) -> Response:
    """The figures of `?from=` to `?to=`, both days included; without them, of the last 28 days."""
    last = _day(visit, "to") or visit.services.clock.now().date()
    first = _day(visit, "from") or last - verbs.quality.USUAL + timedelta(days=1)
    if first > last:
        raise BadRequest(visit.texts("quality.backwards"), field="from")
    found = await verbs.quality.quality(
        visit.services, visit.who, _midnight(first), _midnight(last) + timedelta(days=1)
    )
    lines = [line for line in (*found.categories, *found.lists) if verbs.quality.has_anything(line)]
    named = [(_name(visit, line.name), line) for line in lines]
    over_all: list[tuple[str, Estimate | Share]] = [
        (visit.texts("quality.sensitivity"), found.sensitivity),
        (visit.texts("quality.noticed"), found.noticed),
        (visit.texts("quality.ppv"), found.ppv),
        (visit.texts("quality.ppv_cases"), found.ppv_cases),
    ]
    return visit.page(
        "words_quality.jinja",
        here="staff",
        f=found,
        first=first.isoformat(),
        last=last.isoformat(),
        over_all=over_all,
        chart=intervals((name, each.value, each.low, each.high) for name, each in over_all),
        lines=named,
        by_name=intervals(
            (name, line.sensitivity.value, line.sensitivity.low, line.sensitivity.high) for name, line in named
        ),
        said=said,
    )


def said(figure: Estimate | Share) -> str:
    """A share as these pages write it: the value, its interval, and on how many messages it rests."""
    if figure.value is None or figure.low is None or figure.high is None:
        return "-"
    rests_on = figure.total if isinstance(figure, Share) else figure.read
    return f"{figure.value:.0%} ({figure.low:.0%} to {figure.high:.0%}), {rests_on} judged"


def _name(visit: Visit, name: str) -> str:
    """A category by its words, a list by its name."""
    return visit.texts.maybe(f"category.{name}") or f"{visit.texts('quality.list')} {name}"


def _day(visit: Visit, name: str) -> date | None:
    given = visit.request.query_params.get(name, "")
    if not given:
        return None
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise BadRequest(visit.texts("quality.no_day"), field=name) from None


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
