"""The watchword lists as documents: checking them, handing them out, taking them in, trying them, and how well they do.

The commands join the group that `ops.commands.screening` begins; `watchwords` here is that group, complete.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from ops.commands.given import DatabaseUrl, say, settings_given
from ops.commands.screening import watchwords
from ops.output import Json, answer, speaks_plainly

__all__ = ["watchwords"]
_DAY: Final = ["%Y-%m-%d"]


@watchwords.command("lint")
@speaks_plainly
def watchwords_lint(
    folder: Annotated[
        Path | None, typer.Argument(help="A folder of lists, or one list. Without it, those that are in use.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check watchword lists: every problem with its file and line. Ends with 1 if there is any, else with 0."""
    from ops.lists import lint_lists

    found = lint_lists(folder)
    good = f"{found['entries']} entries, nothing wrong"
    answer(as_json, found, *(found["problems"] or [good]), *(f"note: {line}" for line in found["overdue"]))
    if found["problems"]:
        raise typer.Exit(1)


@watchwords.command("convert")
@speaks_plainly
def watchwords_convert(
    source: Annotated[Path, typer.Argument(help="A list, .toml or .csv.", exists=True, dir_okay=False)],
    target: Annotated[Path, typer.Argument(help="Where to write it, .toml or .csv. Must not exist.", dir_okay=False)],
) -> None:
    """Write a list as CSV or TOML, with everything that it says (comments do not travel)."""
    from ops.lists import convert_list

    convert_list(source, target)


@watchwords.command("backtest")
@speaks_plainly
def watchwords_backtest(
    proposal: Annotated[
        str, typer.Argument(help="Its id, the last part of its page's address. Without it, the newest.")
    ] = "",
    lists: Annotated[
        Path | None,
        typer.Option("--lists", exists=True, help="A folder of lists, or one list: on the corpus, without a service."),
    ] = None,
    corpus: Annotated[bool, typer.Option("--corpus", help="On the labelled messages, not on stored ones.")] = False,
    days: Annotated[int, typer.Option(min=1, max=365, help="Of stored messages.")] = 30,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Say what proposed lists would find that those in use do not, what they would lose, and whom that would call.

    The running service carries it out at low priority; without one it is done here. Counts only, never a text.
    """
    from ops.backtest import check, facts_of, lines_of, try_lists, try_proposal
    from server.errors import BadRequest

    if lists is not None and proposal:
        raise BadRequest("Give a proposal or --lists, and not both.")
    if lists is not None:
        found = try_lists(lists)
    else:
        settings = settings_given(database_url=database_url)
        found = asyncio.run(try_proposal(settings, proposal, 0 if corpus else days, say))
    check(found)
    answer(as_json, facts_of(found), *lines_of(found))


@watchwords.command("quality")
@speaks_plainly
def watchwords_quality(
    since: Annotated[
        datetime | None, typer.Option("--from", help="First day; else 28 days back.", formats=_DAY)
    ] = None,
    until: Annotated[datetime | None, typer.Option("--to", help="The day after; else now.", formats=_DAY)] = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> None:
    """Say how well the filter does in service: from blind reviews and closed cases, with 95 % intervals."""
    from ops.quality import measure

    facts, lines = asyncio.run(measure(settings_given(database_url=database_url), since, until))
    answer(as_json, facts, *lines)
