"""People with an account, and who is on duty."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Annotated, Final

import typer

from ops.commands.given import DatabaseUrl, settings_given
from ops.output import Json, answer, speaks_plainly
from server.errors import BadRequest

user = typer.Typer(help="People with an account.", no_args_is_help=True)
shift = typer.Typer(help="Who is on duty.", no_args_is_help=True)
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

    begins = None if starts is None else _moment(starts)
    made = asyncio.run(add_shift(settings_given(database_url=database_url), name, begins, timedelta(hours=hours)))
    facts = {"shift": made.id, "starts_at": made.starts_at.isoformat(), "ends_at": made.ends_at.isoformat()}
    answer(as_json, facts, f"{name} is on duty from {made.starts_at:%d %b %H:%M} to {made.ends_at:%d %b %H:%M} UTC.")


def _moment(written: str) -> datetime:
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise BadRequest("Write the start with its zone, such as 2026-12-01T09:00+00:00.", field="starts")
    return moment
