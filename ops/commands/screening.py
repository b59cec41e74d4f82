"""Asking the filter: what it finds in a text, and what would happen to it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ops.output import Json, answer, speaks_plainly

watchwords = typer.Typer(help="The watchword lists.", no_args_is_help=True)


@watchwords.command("screen")
@speaks_plainly
def watchwords_screen(
    text: Annotated[str | None, typer.Argument(help="Without it, standard input is read.")] = None,
    room: Annotated[str, typer.Option(help="community, group, therapy or support.")] = "community",
    role: Annotated[str, typer.Option(help="Role of the author.")] = "member",
    as_json: Json = False,
) -> None:
    """Say what the filter finds in a text, and what would happen to it. Nothing is stored or sent."""
    from ops.screen import screen_text

    verdict = screen_text(sys.stdin.read() if text is None else text, room, role)
    lines = [f"level {verdict['level']}, {verdict['disposition']}{'' if verdict['complete'] else ', NOT CHECKED'}"]
    lines += [
        f"  {f['level']}  {f['category'] or f['check']}  {f['start']}-{f['end']}  {f['reason']}"
        for f in verdict["findings"]
    ]
    answer(as_json, verdict, *lines)
