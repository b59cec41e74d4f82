"""`evenkeel watchwords lint` and `convert`: what is asked of lists as files, as plain values."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from server.clock import Clock
from server.errors import BadRequest
from watchwords.exchange import from_csv, from_toml, to_csv, to_toml
from watchwords.lexicon import LISTS, LexiconError, parse_lists
from watchwords.lint import lint, overdue

_READ: Final = {".toml": from_toml, ".csv": from_csv}
_WRITE: Final = {".toml": to_toml, ".csv": to_csv}


def lint_lists(path: Path | None) -> dict[str, Any]:
    """Every problem of the lists in a folder or of one file, each as `file:line: what; what to do`, how many entries
    could be read, and which are past their review. `path` None: the lists that come with the program.
    """
    place = LISTS if path is None else path
    return {
        "problems": [str(problem) for problem in lint(place)],
        "entries": len(parse_lists(place).entries),
        "overdue": list(overdue(place, Clock().now().date())),
    }


def convert_list(source: Path, target: Path) -> None:
    """Write the list in `source` to `target`, each TOML or CSV by its name. Raises BadRequest with what to do."""
    if source.suffix not in _READ or target.suffix not in _WRITE:
        raise BadRequest("A list is a .toml or a .csv file; name both so.")
    if target.exists():
        raise BadRequest(f"{target} exists; name another file, or remove it.")
    try:
        given = _READ[source.suffix](source.read_bytes().decode("utf-8"), str(source))
        target.write_bytes(_WRITE[target.suffix](given).encode("utf-8"))
    except (LexiconError, UnicodeDecodeError) as error:
        raise BadRequest(str(error)) from error
