"""Watchword lists as they are written, out to TOML or CSV and back, without loss.

For handing a list to somebody who works in a spreadsheet, and for taking one over from elsewhere. Nothing is written
out or folded here, so that `{a|b}` and `%fragments%` come back as they left; comments do not travel. Whether a list is
any good is for `lint`.
"""

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from watchwords.lexicon import ENTRY_FIELDS, MANY_VALUED, LexiconError, ListHeader, read_header, read_table

_HEADER_FIELDS = ("name", "version", "owner", "reviewer", "review_date")
# One line of CSV is the list itself, a fragment, or an entry; `kind` says which. Values of a field that holds many
# stand one to a line of its cell.
_COLUMNS = ("kind", "name", "version", "owner", "text", *ENTRY_FIELDS)


@dataclass(frozen=True, slots=True)
class WrittenList:
    """One list as it is written. `entries`: the fields that each entry has, by name, in the order of the list."""

    header: ListHeader
    fragments: dict[str, str]
    entries: tuple[dict[str, Any], ...]


def from_toml(source: str, where: str = "list.toml") -> WrittenList:
    """The list that a TOML text holds. Raises LexiconError (`where:line: ...`) for what is no list."""
    data = read_table(source, where)
    header = read_header(data.get("list"), where)
    entries, fragments = data.get("entry", []), data.get("fragments", {})
    if not isinstance(entries, list) or not isinstance(fragments, dict):
        raise LexiconError(f"{where}:1: entries are [[entry]] tables and [fragments] is one table; correct them")
    kept = tuple({name: value for name, value in entry.items() if value != []} for entry in entries)
    return WrittenList(header, fragments, kept)


def to_toml(given: WrittenList) -> str:
    """The list as TOML that `from_toml` and the filter read."""
    lines = ["[list]", *_assignments(_header_values(given.header))]
    if given.fragments:
        lines += ["", "[fragments]", *_assignments(given.fragments)]
    return "\n".join(lines) + "\n" + "".join(f"\n{entry_to_toml(entry)}" for entry in given.entries)


def entry_to_toml(entry: dict[str, Any]) -> str:
    """One entry of a list as TOML, with its heading."""
    fields = {name: entry[name] for name in ENTRY_FIELDS if name in entry}
    return "\n".join(["[[entry]]", *_assignments(fields)]) + "\n"


def from_csv(source: str, where: str = "list.csv") -> WrittenList:
    """The list that a CSV text holds, its columns in any order. Raises LexiconError with the line.

    Only columns of `to_csv` may be there; an empty cell is a field that the entry does not have.
    """
    rows = csv.DictReader(io.StringIO(source, newline=""))
    if unknown := set(rows.fieldnames or ()) - set(_COLUMNS):
        raise LexiconError(f"{where}:1: unknown column {', '.join(sorted(map(str, unknown)))}; correct or remove it")
    header: dict[str, Any] | None = None
    fragments: dict[str, str] = {}
    entries: list[dict[str, Any]] = []
    for row in rows:
        place = f"{where}:{rows.line_num}"
        if None in row:
            raise LexiconError(f"{place}: more cells than columns; put values with commas in quotation marks")
        cells = {name: cell for name, cell in row.items() if cell}
        match cells.pop("kind", ""):
            case "list":
                header = {name: _value(name, cells[name], place) for name in _HEADER_FIELDS if name in cells}
            case "fragment":
                fragments[cells.get("name", "")] = cells.get("text", "")
            case "entry":
                entries.append({name: _value(name, cells[name], place) for name in ENTRY_FIELDS if name in cells})
            case kind:
                raise LexiconError(f"{place}: the kind is {kind!r}; write list, fragment or entry")
    return WrittenList(read_header(header, where), fragments, tuple(entries))


def entry_lines(source: str) -> tuple[int, ...]:
    """On which line of a CSV text that `from_csv` reads each entry ends, in their order."""
    rows = csv.DictReader(io.StringIO(source, newline=""))
    return tuple(rows.line_num for row in rows if row.get("kind") == "entry")


def to_csv(given: WrittenList) -> str:
    """The list as CSV with a line for the list, one for each fragment and one for each entry.

    Raises:
        LexiconError: a value holds a line break, which a cell of many values can not carry.
    """
    out = io.StringIO(newline="")
    rows = csv.DictWriter(out, _COLUMNS, restval="", lineterminator="\r\n")
    rows.writeheader()
    rows.writerow({"kind": "list", **_header_values(given.header)})
    rows.writerows({"kind": "fragment", "name": name, "text": text} for name, text in given.fragments.items())
    for entry in given.entries:
        cells = {name: _cell(entry, name) for name in ENTRY_FIELDS if name in entry}
        rows.writerow({"kind": "entry", **cells})
    return out.getvalue()


def _header_values(header: ListHeader) -> dict[str, Any]:
    return {name: value for name in _HEADER_FIELDS if (value := getattr(header, name)) != ""}


def _assignments(values: dict[str, Any]) -> Iterable[str]:
    return (f"{name} = {_toml(value)}" for name, value in values.items())


def _toml(value: Any) -> str:
    """A value in TOML. Its strings are JSON's, but for one character that JSON leaves as it is and TOML does not."""
    if isinstance(value, list):
        return "[" + "".join(f"\n    {_toml(one)}," for one in value) + "\n]" if value else "[]"
    if isinstance(value, date):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _cell(entry: dict[str, Any], name: str) -> Any:
    value = entry[name]
    if name not in MANY_VALUED:
        return value
    if any("\n" in one or "\r" in one for one in value):
        raise LexiconError(f"{entry.get('id')}: a value of {name} holds a line break; write it as two, or as a space")
    return "\n".join(value)


def _value(name: str, cell: str, place: str) -> Any:
    """What a cell says in the column of that name."""
    if name in MANY_VALUED:
        return cell.replace("\r\n", "\n").split("\n")
    try:
        if name in {"level", "version"}:
            return int(cell)
        return date.fromisoformat(cell) if name == "review_date" else cell
    except ValueError:
        raise LexiconError(f"{place}: {name} is {cell!r}; write a number, or a date like 2027-05-31") from None
