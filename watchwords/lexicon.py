"""The watchword lists: read from TOML, checked, and versioned by their content.

A list is a clinical document: each entry says what it finds, how soon a person must look, why, where it comes from, who
reviewed it and until when, and shows with examples that it does. A load that finds anything wrong stops, and says in
which file, on which line, and what to do. What can only be judged with all lists at hand is in `lint`.
"""

import hashlib
import json
import math
import re
import tomllib
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import re2

from watchwords.keys import alternatives_of
from watchwords.normalise import fold
from watchwords.prepared import is_proven
from watchwords.slots import SlotError, compile_slots

LISTS = Path(__file__).parent / "lists"
CATEGORIES = "SHOVAECGPX"

_ALTERNATIVES = re.compile(r"\{([^{}]*)\}")
_FRAGMENT = re.compile(r"%([a-z_]+)%")
MANY_VALUED = ("phrases", "slots", "match", "no_match", "exceptions", "unless")
ENTRY_FIELDS = ("id", "category", "level", "pattern", "reason", "source", "reviewer", "review_date", *MANY_VALUED)
_MOST_EXPANSIONS = 20_000
# Options for the linear-time engine, under which it logs nothing.
_QUIET = re2.Options()
_QUIET.log_errors = False
# A letter, a digit or a picture.
_SAYS_SOMETHING = re.compile(r"[^\W_]|[\u2001-\U0010ffff]")


class LexiconError(ValueError):
    """A list that can not be used: `file:line: what is wrong; what to do`. `others`: further ones."""

    def __init__(self, message: str, others: "tuple[LexiconError, ...]" = ()) -> None:
        super().__init__(message + (f" (and {len(others)} more)" if others else ""))
        self.others = others


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to look for.

    `phrases` are folded and written out in full; `pattern` is re2 syntax over the folded text (of its slots, if it
    has any), or empty. Level 0 marks an idiom: whatever is found wholly inside it is dropped. `exceptions` are folded
    phrases, and `unless` other entries, that drop a match of this entry where they touch it. `match` and `no_match` are
    texts that this entry must and must not find.
    """

    id: str
    category: str
    level: int
    reason: str
    source: str
    phrases: tuple[str, ...]
    pattern: str
    match: tuple[str, ...]
    no_match: tuple[str, ...]
    exceptions: tuple[str, ...]
    where: str
    unless: tuple[str, ...] = ()
    reviewer: str = ""
    review_date: date | None = None


@dataclass(frozen=True, slots=True)
class ListHeader:
    """Who answers for one list, who reviewed it (the owner, if nobody else is named), and until when that holds."""

    name: str
    version: int
    owner: str
    review_date: date
    reviewer: str = ""


@dataclass(frozen=True, slots=True)
class Lexicon:
    """All lists together. `version` changes when, and only when, what they find or say changes."""

    headers: tuple[ListHeader, ...]
    entries: tuple[Entry, ...]
    version: str


@dataclass(slots=True)
class Parsed:
    """What could be read of some lists, and what could not, in the order of files and lines."""

    headers: list[ListHeader] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    problems: list[LexiconError] = field(default_factory=list)


def load_lexicon(path: Path = LISTS) -> Lexicon:
    """The lists in a directory (every `*.toml`), or in one file, with every example checked.

    Raises:
        LexiconError: anything is wrong, including an example that an entry does not answer as it says, or no entry
        at all.
    """
    from watchwords.lint import load_matcher

    return load_matcher(path).lexicon


def parse_lists(path: Path = LISTS) -> Parsed:
    """Whatever can be read of a directory's lists (every `*.toml`) or of one file, each entry checked by itself."""
    files = sorted(path.glob("*.toml")) if path.is_dir() else [path]
    parsed = Parsed()
    for file in files:
        try:
            _read(file, parsed)
        except LexiconError as problem:
            parsed.problems.append(problem)
    if not parsed.entries and not parsed.problems:
        advice = "a filter without lists reads nothing: restore the lists"
        parsed.problems.append(LexiconError(f"{path}:1: no list entry was found; {advice}"))
    return parsed


def content_version(entries: list[Entry]) -> str:
    """A stable hash of all that entries find and say; where they stand in a file does not matter."""
    content = sorted(
        [e.id, e.category, e.level, e.reason, sorted(e.phrases), e.pattern, sorted(e.exceptions), sorted(e.unless)]
        for e in entries
    )
    return "w" + hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:12]


def read_table(source: str, where: str) -> dict[str, Any]:
    """A list's TOML as plain values; raises LexiconError with the line."""
    try:
        return tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise LexiconError(f"{where}:{line[1] if line else 1}: not valid TOML: {error}; correct that line") from error


def read_header(table: Any, where: str) -> ListHeader:
    """The checked [list] table; raises LexiconError."""
    match table:
        case {"name": str(name), "version": int(version), "owner": str(owner), "review_date": date() as review}:
            return ListHeader(name, version, owner, review, str(table.get("reviewer", "")))
        case _:
            raise LexiconError(f"{where}:1: [list] needs name, version, owner and review_date; add them")


def _read(file: Path, parsed: Parsed) -> None:
    """Add what one list file holds; raises LexiconError where nothing of it can be used."""
    try:
        source = file.read_text(encoding="utf-8")
    except OSError as error:
        raise LexiconError(f"{file}:1: can not be read ({error.strerror}); restore the file") from error
    except UnicodeDecodeError as error:
        raise LexiconError(f"{file}:1: is not UTF-8 text; save it as UTF-8") from error
    data = read_table(source, str(file))
    places = [number for number, line in enumerate(source.splitlines(), 1) if line.strip() == "[[entry]]"]
    header = read_header(data.get("list"), str(file))
    parsed.headers.append(header)
    fragments = data.get("fragments", {})
    tables = data.get("entry", [])
    if not isinstance(tables, list) or not tables:
        raise LexiconError(f"{file}:1: the list {header.name!r} is empty; add an [[entry]] or remove the file")
    if len(places) != len(tables):
        raise LexiconError(f"{file}:1: write each entry as an [[entry]] table on a line of its own")
    for table, place in zip(tables, places, strict=True):
        try:
            parsed.entries.append(_entry(table, fragments, header, f"{file}:{place}"))
        except LexiconError as problem:
            parsed.problems.append(problem)


def _entry(table: dict[str, Any], fragments: dict[str, str], header: ListHeader, where: str) -> Entry:
    """One checked entry; raises LexiconError with its place."""
    name = table.get("id")
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9]+(?:-[a-z0-9]+)*", name):
        raise LexiconError(f"{where}: an entry needs an id of lower-case words and hyphens; add one")
    where_named = f"{where}: {name}"
    if unknown := set(table) - set(ENTRY_FIELDS):
        raise LexiconError(f"{where_named}: unknown field {', '.join(sorted(unknown))}; correct or remove it")
    category, level = table.get("category"), table.get("level")
    if not isinstance(category, str) or len(category) != 1 or category not in CATEGORIES:
        raise LexiconError(f"{where_named}: category must be one of {' '.join(CATEGORIES)}; correct it")
    if isinstance(level, bool) or level not in (0, 1, 2, 3):
        raise LexiconError(f"{where_named}: level must be 0, 1, 2 or 3; correct it")
    for name_of_text in ("reason", "source"):
        if not isinstance(table.get(name_of_text), str) or not table[name_of_text].strip():
            raise LexiconError(f"{where_named}: {name_of_text} is missing; write it in plain words")
    reviewer, review = _review(table, header, where_named)
    lists = {many: table.get(many, []) for many in MANY_VALUED}
    for many, values in lists.items():
        if not isinstance(values, list) or not all(isinstance(value, str) and value.strip() for value in values):
            raise LexiconError(f"{where_named}: {many} must be a list of texts; correct it")
    if not lists["match"]:
        raise LexiconError(f"{where_named}: match needs at least one example that the entry finds; add one")
    pattern = table.get("pattern", "")
    if not isinstance(pattern, str) or bool(pattern) == bool(lists["phrases"] or lists["slots"]):
        raise LexiconError(f"{where_named}: give either phrases or slots or a pattern; add one, or split the entry")
    if lists["slots"]:
        pattern = _slots(lists["slots"], where_named)
    return Entry(
        id=name,
        category=category,
        level=level,
        reason=table["reason"],
        source=table["source"],
        phrases=_phrases(lists["phrases"], where_named),
        pattern=_pattern(pattern, fragments, where_named) if pattern else "",
        match=tuple(lists["match"]),
        no_match=tuple(lists["no_match"]),
        exceptions=_phrases(lists["exceptions"], where_named),
        where=where,
        unless=tuple(lists["unless"]),
        reviewer=reviewer,
        review_date=review,
    )


def _review(table: dict[str, Any], header: ListHeader, where: str) -> tuple[str, date]:
    """Who reviewed an entry and until when, from the entry or else from its list."""
    reviewer, until = table.get("reviewer", header.reviewer or header.owner), table.get("review_date")
    if not isinstance(reviewer, str) or not reviewer.strip():
        raise LexiconError(f"{where}: reviewer must be a name or a role; correct or remove it")
    if until is not None and not isinstance(until, date):
        raise LexiconError(f"{where}: review_date must be a date like 2027-05-31; correct or remove it")
    return reviewer, until or header.review_date


def _slots(written: list[str], where: str) -> str:
    try:
        return "|".join(compile_slots(slots) for slots in written)
    except SlotError as error:
        raise LexiconError(f"{where}: {error}") from error


def _phrases(written: list[str], where: str) -> tuple[str, ...]:
    """Folded phrases with every `{a|b|}` written out."""
    out: set[str] = set()
    for phrase in written:
        spelt = _spelt(phrase, _MOST_EXPANSIONS - len(out))
        if spelt is None:
            raise LexiconError(f"{where}: more than {_MOST_EXPANSIONS} phrases; use a pattern or fewer alternatives")
        if not all(map(_SAYS_SOMETHING.search, spelt)):
            raise LexiconError(f"{where}: a phrase has no letter in it; remove it")
        out.update(spelt)
    return tuple(sorted(out))


def _spelt(phrase: str, most: int) -> list[str] | None:
    """A phrase folded and with its alternatives written out, the innermost first; None if they are more than `most`.

    The parts are folded and not each of what they make together: characters fold one by one.
    """
    parts = _ALTERNATIVES.split(phrase)
    choices = [list(map(fold, part.split("|"))) if number % 2 else [fold(part)] for number, part in enumerate(parts)]
    if math.prod(map(len, choices)) > most:
        return None
    spelt = [" ".join(one.split()) for one in map("".join, product(*choices))]
    if len(parts) == 1 or not any("{" in part for part in parts[::2]):
        return spelt
    out: list[str] = []
    for one in spelt:
        further = _spelt(one, most - len(out))
        if further is None:
            return None
        out += further
    return out


def _pattern(written: str, fragments: dict[str, str], where: str) -> str:
    """A pattern with its fragments filled in, that the linear-time engine accepts and that matches no empty text."""

    def fill(name: re.Match[str]) -> str:
        if name[1] not in fragments:
            raise LexiconError(
                f"{where}: no fragment is called {name[1]!r}; add it to [fragments] or correct the pattern"
            )
        return f"(?:{fragments[name[1]]})"

    pattern = written
    for _ in range(3):
        pattern = _FRAGMENT.sub(fill, pattern)
    if is_proven(pattern):
        return pattern
    try:
        empty = any(compiled(part).search(b"") is not None for part in alternatives_of(pattern))
    except UnicodeEncodeError as error:
        raise LexiconError(f"{where}: a pattern sees folded text and must be ASCII; use phrases for emoji") from error
    except re2.error as error:
        raise LexiconError(
            f"{where}: re2 does not accept the pattern; it knows no look-around or back-reference"
        ) from error
    if empty:
        raise LexiconError(f"{where}: the pattern matches an empty text; make at least one part of it required")
    return pattern


@lru_cache(4_096)
def compiled(pattern: str) -> "re2._Regexp[bytes]":
    """A pattern (ASCII) as the linear-time engine has it, which logs nothing; the last ones are remembered.

    Raises:
        re2.error: the engine does not accept it.
        UnicodeEncodeError: it is not ASCII.
    """
    return re2.compile(pattern.encode("ascii"), _QUIET)
