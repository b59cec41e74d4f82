"""Replay: what was known of a case at an instant."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from ops.commands.given import DatabaseUrl, settings_given
from ops.output import Json, answer, speaks_plainly
from server.errors import BadRequest


@speaks_plainly
def replay(
    case: Annotated[str, typer.Argument(help="The id of the case.")],
    at: Annotated[
        str | None, typer.Option("--at", help="An instant with its zone, such as 2026-11-24T03:12:00Z; else now.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option("--export", help="Write all of it to this new file, its signature beside it.")
    ] = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """What was known of a case at an instant: ids only, no words, no names. That it was asked for is recorded."""
    from moderation.replay import fold
    from ops import replay as ops

    moment = None if at is None else _moment(at)
    settings = settings_given(database_url=database_url)
    if export is not None:
        found = ops.export(settings, case, export)
        facts = {"case": case, "file": str(export), "signature": str(ops.signature_of(export))}
        said = f"{export}: {len(found.events)} events; its signature is {ops.signature_of(export).name}."
        answer(as_json, facts, said, f"`evenkeel audit verify {export}` checks it.")
        return
    found = ops.replay(settings, case)
    facts = {"case": case, "side": found.side, "subject": found.subject, "made_at": found.made_at.isoformat()}
    answer(as_json, facts | {"state": ops.facts_of(fold(found.events, moment))}, *ops.lines_of(found, moment))


def _moment(given: str) -> datetime:
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise BadRequest("Give an instant with its zone, such as 2026-11-24T03:12:00Z.", field="at")
    return moment
