"""The watchword lists as documents: checking them, and handing them out and taking them in.

The commands join the group that `ops.commands.screening` begins; `watchwords` here is that group, complete.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ops.commands.screening import watchwords
from ops.output import Json, answer, speaks_plainly

__all__ = ["watchwords"]


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
