"""People with an account, and who is on duty."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from moderation.wall import LONDON
from ops.commands.given import DatabaseUrl, settings_given
from ops.output import FAILED, Json, answer, speaks_plainly
from server.errors import BadRequest

if TYPE_CHECKING:
    from server.actions.rota_view import ShownRota

user = typer.Typer(help="People with an account.", no_args_is_help=True)
shift = typer.Typer(help="Who is on duty.", no_args_is_help=True)
rota = typer.Typer(help="The rota: who is on, who will be, and where gaps are.", no_args_is_help=True)
STAFF_ROLES: Final = ("admin", "moderator", "moderator_lead", "clinician", "clinical_lead", "therapist", "facilitator")


@user.command("add")
@speaks_plainly
def user_add(
    role: Annotated[str, typer.Option(help=f"One of {', '.join(STAFF_ROLES)}.")],
    name: Annotated[str, typer.Option(help="As others see it.")],
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Make an account for a member of staff. The password is random and shown once."""
    from ops.people import add_staff

    (person,) = asyncio.run(add_staff(settings_given(database_url=database_url), [(role, name)]))
    facts = {"account": person.account, "name": person.name, "role": person.role, "password": person.password}
    answer(as_json, facts, f"{person.role} {person.name}: password {person.password}  (shown only now)")


@shift.command("add")
@speaks_plainly
def shift_add(
    name: Annotated[str, typer.Option(help="Of somebody with a staff account.")],
    hours: Annotated[float, typer.Option(min=0.1, max=24, help="How long.")] = 8.0,
    starts: Annotated[str | None, typer.Option(help="ISO 8601 with a zone, such as 2026-12-01T09:00+00:00.")] = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Put somebody on duty in their own role, from now or from a given time."""
    from ops.people import add_shift

    begins = None if starts is None else _moment(starts, "starts")
    made = asyncio.run(add_shift(settings_given(database_url=database_url), name, begins, timedelta(hours=hours)))
    facts = {"shift": made.id, "starts_at": made.starts_at.isoformat(), "ends_at": made.ends_at.isoformat()}
    answer(as_json, facts, f"{name} is on duty from {made.starts_at:%d %b %H:%M} to {made.ends_at:%d %b %H:%M} UTC.")


@rota.command("show")
@speaks_plainly
def rota_show(
    at: Annotated[
        str | None, typer.Option(help="ISO 8601 with a zone, past or future, such as 2026-12-24T22:00+00:00.")
    ] = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Who is on the rota now, or was or will be at another moment, and the 14 days from then."""
    shown = _rota(database_url, None if at is None else _moment(at, "at"))
    lines = [f"At {_wall(shown.at)} in London:"]
    for one in shown.running:
        silent = "" if one.begun or at is not None else "  (has not answered: not begun)"
        lines.append(f"  {one.name}, {_plain(one.role)}, until {_wall(one.ends_at)}{silent}")
    if not shown.running:
        lines.append("  nobody")
    lines += ["Then:"] if shown.coming else []
    for one in shown.coming:
        lines.append(f"  {_wall(one.starts_at)} to {_wall(one.ends_at)}  {one.name}, {_plain(one.role)}")
    answer(as_json, msgspec.to_builtins(shown), *lines)


@rota.command("gaps")
@speaks_plainly
def rota_gaps(database_url: DatabaseUrl = None, as_json: Json = False) -> None:
    """The gaps of the next 14 days. Ends with 1 if a warning of one of them has come."""
    shown = _rota(database_url, None)
    lines = [
        f"{_wall(gap.starts_at)} to {_wall(gap.ends_at)}  {_plain(gap.role)}: {_plain(gap.lack)}"
        f" ({gap.there} of {gap.needed})" + (f"  WARNING {gap.within_h} h" if gap.within_h else "")
        for gap in shown.gaps
    ]
    answer(as_json, {"gaps": msgspec.to_builtins(shown.gaps)}, *(lines or ["There is no gap in the next 14 days."]))
    if any(gap.within_h for gap in shown.gaps):
        raise typer.Exit(FAILED)


def _rota(database_url: str | None, at: datetime | None) -> ShownRota:
    from ops.people import show_rota

    return asyncio.run(show_rota(settings_given(database_url=database_url), at))


def _wall(at: datetime) -> str:
    return f"{at.astimezone(LONDON):%a %d %b %H:%M}"


def _plain(code: str) -> str:
    return code.replace("_", " ")


def _moment(written: str, option: str) -> datetime:
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise BadRequest("Write the time with its zone, such as 2026-12-01T09:00+00:00.", field=option)
    return moment
