"""The pages of the rota: one's own shifts, questions, swaps and hand-overs; and, for those who lead, writing it.

Plain forms: everything here works without a script. What was typed stays in its form when it is refused. Days and times
are those of the clock on the wall in London.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime, time
from typing import Any, Final

from starlette.responses import Response

from server.auth.permissions import POLICY
from server.errors import BadRequest, Conflict, Refused, ServiceError
from server.web import verbs
from server.web.forms import strict
from server.web.rows import moment
from server.web.verbs import LONDON, ON_ROTA, Role, SwapState, Turns, instant_of
from server.web.visit import Visit, see_other

HERE: Final = "/staff/rota"
BOOK: Final = "/staff/rota/book"
_SPAN: Final = ("from_day", "from_time", "to_day", "to_time")
_DAYS: Final = tuple(f"day_{n}" for n in range(7))


def clock(at: datetime) -> str:
    """A moment as these pages write it: the wall in London, with the day of the week."""
    return f"{at.astimezone(LONDON):%a %-d %b, %H:%M}"


def iso(at: datetime) -> str:
    return moment(int(at.timestamp() * 1000)).iso


async def index(visit: Visit) -> Response:
    return await _index(visit)


async def _index(visit: Visit, error: ServiceError | None = None) -> Response:
    services, who = visit.services, visit.who
    own = await verbs.rota_view.own(services, who)
    over = await verbs.rota_view.overview(services, who)
    names = {**over.names, **{one.account: one.name for one in own.others}, who.account: who.name}
    return visit.page(
        "rota.jinja",
        200 if error is None else error.status,
        here="staff",
        o=over,
        own=own,
        names=names,
        offers=await verbs.handovers.offers(services, who, visit.request_id),
        swaps=[{"row": row, "mine": row.asker == who.account} for row in own.swaps],
        may_write=_may(visit, "route.rota_change"),
        serves=_may(visit, "route.rota_own"),
        error=error,
        fields=visit.fields,
        clock=clock,
        iso=iso,
        states=SwapState,
    )


def _may(visit: Visit, operation: str) -> bool:
    return visit.who.role in (POLICY[operation].roles or frozenset())


async def calendar(visit: Visit) -> Response:
    """One's own shifts as a file that calendar programs read."""
    text = await verbs.rota_view.feed(visit.services, visit.who)
    headers = {"content-disposition": 'attachment; filename="rota.ics"'}
    return Response(text, media_type="text/calendar; charset=utf-8", headers=headers)


# --- one's own --------------------------------------------------------------------------------------------------------


async def answer(visit: Visit) -> Response:
    """ "I am here" before a shift: by a press, never by opening a page."""
    fields = strict(visit.fields, "client_id")
    await verbs.reach.answer(visit.services, visit.who, fields["client_id"], visit.path("check"), visit.request_id)
    return see_other(HERE)


async def ask_swap(visit: Visit) -> Response:
    async def do() -> None:
        fields = strict(visit.fields, "client_id", "shift", "other")
        other, _, back = fields["other"].partition(" ")
        await verbs.swaps.ask_swap(
            visit.services,
            visit.who,
            fields["client_id"],
            _instant(fields["shift"], "shift"),
            other,
            _instant(back, "other") if back else None,
            visit.request_id,
        )

    return await _done(visit, do, _index, HERE)


async def settle_swap(visit: Visit) -> Response:
    async def do() -> None:
        fields = strict(visit.fields, "client_id", "state")
        if fields["state"] not in set(SwapState):
            raise BadRequest(visit.texts("error.bad_request"), field="state")
        await verbs.swaps.settle_swap(
            visit.services,
            visit.who,
            fields["client_id"],
            visit.path("swap"),
            SwapState(fields["state"]),
            visit.request_id,
        )

    return await _done(visit, do, _index, HERE)


async def hand_over(visit: Visit) -> Response:
    """Words for a case that is handed over, or its acceptance."""

    async def do() -> None:
        fields = strict(visit.fields, "client_id", "act", optional=("words",))
        what, words = visit.path("handover"), fields["words"]
        if fields["act"] == "accept":
            await verbs.handovers.accept(visit.services, visit.who, fields["client_id"], what, words, visit.request_id)
        elif fields["act"] == "words":
            await verbs.handovers.write_words(visit.services, visit.who, what, words, visit.request_id)
        else:
            raise BadRequest(visit.texts("error.bad_request"), field="act")

    return await _done(visit, do, _index, HERE)


# --- writing it -------------------------------------------------------------------------------------------------------


async def book(visit: Visit) -> Response:
    """Everything that can be written, with the rotation of `?rotation=` ready to be changed."""
    return await _book(visit)


async def _book(visit: Visit, error: ServiceError | None = None) -> Response:
    found = await verbs.rota_view.book(visit.services, visit.who)
    chosen = visit.fields.get("rotation", "") or visit.request.query_params.get("rotation", "")
    pattern = found.patterns.get(chosen)
    typed: Mapping[str, str] = visit.fields
    if pattern is not None and not visit.fields:
        typed = {
            "rotation_name": pattern.name,
            "role": pattern.role,
            "begins": f"{pattern.begins:%H:%M}",
            "ends": f"{pattern.ends:%H:%M}",
            "each": str(pattern.each),
            "need": str(pattern.need),
            "skill": pattern.skill,
            "people": "\n".join(found.names.get(account, account) for account in pattern.people),
            **{f"day_{n}": "1" for n in pattern.weekdays},
        }
    over = await verbs.rota_view.overview(visit.services, visit.who)
    return visit.page(
        "rota_book.jinja",
        200 if error is None else error.status,
        here="staff",
        b=found,
        o=over,
        lines=[_line(visit, row, found.names) for row in found.rows],
        chosen=chosen if pattern is not None else "",
        error=error,
        fields=typed,
        form=visit.request.url.path.rpartition("/")[2],
        roles=ON_ROTA,
        days=_DAYS,
        clock=clock,
        iso=iso,
    )


def _line(visit: Visit, row: Any, names: Mapping[str, str]) -> dict[str, object]:
    """A row that can be taken back, in words."""
    kind = type(row).__name__.lower()
    who = names.get(row.out if kind == "cover" else row.account, "")
    by = names.get(row.into, "") if kind == "cover" else ""
    said = visit.texts(f"rota.line_{kind}", who=who, by=by)
    return {"n": row.n, "said": said, "starts_at": row.starts_at, "ends_at": row.ends_at}


async def rotation(visit: Visit) -> Response:
    async def do() -> None:
        optional = ("rotation", "skill", "people", *_DAYS)
        fields = strict(
            visit.fields,
            *("client_id", "rotation_name", "role", "begins", "ends", "first", "each", "need"),
            optional=optional,
        )
        if fields["role"] not in set(Role):
            raise BadRequest(visit.texts("error.bad_request"), field="role")
        turns = Turns(
            fields["rotation"],
            fields["rotation_name"],
            Role(fields["role"]),
            _time(visit, fields, "begins"),
            _time(visit, fields, "ends"),
            [line.strip() for line in fields["people"].split("\n") if line.strip()],
            _day(visit, fields, "first"),
            frozenset(n for n, name in enumerate(_DAYS) if fields[name]),
            _whole(visit, fields, "each"),
            _whole(visit, fields, "need"),
            fields["skill"],
        )
        await verbs.rota.write_rotation(visit.services, visit.who, fields["client_id"], turns, visit.request_id)

    return await _done(visit, do, _book, BOOK)


async def extra(visit: Visit) -> Response:
    async def do() -> None:
        fields = strict(visit.fields, "client_id", "name", *_SPAN)
        starts_at, ends_at = _span(visit, fields)
        await verbs.rota.add_extra(
            visit.services, visit.who, fields["client_id"], fields["name"], starts_at, ends_at, visit.request_id
        )

    return await _done(visit, do, _book, BOOK)


async def leave(visit: Visit) -> Response:
    async def do() -> None:
        fields = strict(visit.fields, "client_id", "name", *_SPAN)
        starts_at, ends_at = _span(visit, fields)
        await verbs.rota.add_leave(
            visit.services, visit.who, fields["client_id"], fields["name"], starts_at, ends_at, visit.request_id
        )

    return await _done(visit, do, _book, BOOK)


async def cover(visit: Visit) -> Response:
    async def do() -> None:
        fields = strict(visit.fields, "client_id", "out", "into", *_SPAN)
        starts_at, ends_at = _span(visit, fields)
        await verbs.rota.add_cover(
            visit.services,
            visit.who,
            fields["client_id"],
            fields["out"],
            fields["into"],
            starts_at,
            ends_at,
            visit.request_id,
        )

    return await _done(visit, do, _book, BOOK)


async def skill(visit: Visit) -> Response:
    async def do() -> None:
        fields = strict(visit.fields, "client_id", "name", "skill", optional=("until", "gone"))
        until = instant_of(_day(visit, fields, "until"), time()) if fields["until"] else None
        await verbs.rota.set_skill(
            visit.services,
            visit.who,
            fields["client_id"],
            fields["name"],
            fields["skill"],
            not fields["gone"],
            until,
            visit.request_id,
        )

    return await _done(visit, do, _book, BOOK)


async def withdraw(visit: Visit) -> Response:
    async def do() -> None:
        fields = strict(visit.fields, "client_id", "row")
        await verbs.rota.withdraw(
            visit.services, visit.who, fields["client_id"], _whole(visit, fields, "row"), visit.request_id
        )

    return await _done(visit, do, _book, BOOK)


async def _done(
    visit: Visit,
    do: Callable[[], Awaitable[None]],
    again: Callable[[Visit, ServiceError | None], Awaitable[Response]],
    then: str,
) -> Response:
    """Carry it out and go to `then`; what is refused is told on the page, with everything that was typed."""
    try:
        await do()
    except (BadRequest, Conflict, Refused) as error:
        return await again(visit, error)
    return see_other(then)


def _span(visit: Visit, fields: Mapping[str, str]) -> tuple[datetime, datetime]:
    start = instant_of(_day(visit, fields, "from_day"), _time(visit, fields, "from_time"))
    return start, instant_of(_day(visit, fields, "to_day"), _time(visit, fields, "to_time"))


def _day(visit: Visit, fields: Mapping[str, str], name: str) -> date:
    try:
        day = date.fromisoformat(fields[name])
    except ValueError:
        raise BadRequest(visit.texts("rota.no_day"), field=name) from None
    if not 2000 <= day.year <= 2999:
        raise BadRequest(visit.texts("rota.no_day"), field=name)
    return day


def _time(visit: Visit, fields: Mapping[str, str], name: str) -> time:
    try:
        given = time.fromisoformat(fields[name])
    except ValueError:
        raise BadRequest(visit.texts("rota.no_time"), field=name) from None
    return given.replace(tzinfo=None)


def _whole(visit: Visit, fields: Mapping[str, str], name: str) -> int:
    given = fields[name]
    if not (given.isascii() and given.isdigit() and len(given) < 9):
        raise BadRequest(visit.texts("rota.no_number"), field=name)
    return int(given)


def _instant(given: str, field: str) -> datetime:
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise BadRequest("Choose one of the shifts.", field=field)
    return at.astimezone(UTC)
