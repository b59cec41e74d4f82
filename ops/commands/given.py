"""What many commands share: the database's address, the settings of a real service, and how progress is told."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from server.settings import Settings

DatabaseUrl = Annotated[str | None, typer.Option("--database-url", help="Instead of DATABASE_URL.", show_default=False)]


def settings_given(**given: Any) -> Settings:
    """Settings of a real service, from the environment and from what was given on the command line.

    Raises:
        Misconfigured: a password stands on the command line, which everybody on this machine can read.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    from server.errors import Misconfigured
    from server.settings import load_settings

    if given.get("database_url"):
        with contextlib.suppress(ArgumentError):  # what is no address is refused later, in our words
            if make_url(given["database_url"]).password:
                raise Misconfigured(
                    "Everybody on this machine can read a password on a command line. Set DATABASE_URL instead.",
                    field="database_url",
                )
    return load_settings(kind="production", **{name: value for name, value in given.items() if value is not None})


def say(line: str) -> None:
    """Progress, for a person; the answer is on standard output."""
    print(line, file=sys.stderr, flush=True)
