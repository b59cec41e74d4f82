"""How commands speak: lines for a person, or one JSON object with `--json`; an operator's slip is no traceback."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from typing import Annotated, Any, Final, ParamSpec, TypeVar

import typer
from rich.console import Console

from server.errors import ServiceError

P = ParamSpec("P")
R = TypeVar("R")

Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")]
FAILED: Final = 1
REFUSED: Final = 2


def answer(as_json: bool, facts: dict[str, Any], *lines: str) -> None:
    """Print `facts` as JSON, or `lines` for a person."""
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))
        return
    console = Console(highlight=False, soft_wrap=True)
    for line in lines:
        console.print(line, markup=False)


def speaks_plainly(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command: what the service refuses becomes one line (or one JSON object) and exit status 2."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except ServiceError as error:
            if kwargs.get("as_json"):
                print(json.dumps({"error": error.error_code, "message": error.text, "field": error.field}))
            else:
                print(error.text, file=sys.stderr)
            raise typer.Exit(REFUSED) from None

    return run
