"""The watchword lists: read from TOML, checked, and versioned by their content.

A list is a clinical document: each entry says what it finds, how soon a person must look, why, where it comes from,
and shows with examples that it does. A load that finds anything wrong stops, and says in which file, on which line,
and what to do.
"""

import hashlib
import json
import re
import tomllib
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import re2

from watchwords.normalise import fold

LISTS = Path(__file__).parent / "lists"
CATEGORIES = "SHOVAECGPX"

_ALTERNATIVES = re.compile(r"\{([^{}]*)\}")
_FRAGMENT = re.compile(r"%([a-z_]+)%")
_ENTRY_FIELDS = {
    "id",
    "phrases",
    "pattern",
    "category",
    "level",
    "reason",
    "source",
    "match",
    "no_match",
    "exceptions",
}
_MOST_EXPANSIONS = 20_000


class LexiconError(ValueError):
    """A list that can not be used: `file:line: what is wrong; what to do`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to look for.

    `phrases` are folded and written out in full; `pattern` is re2 syntax over the folded text, or empty. Level 0
    marks an idiom: whatever is found wholly inside it is dropped. `exceptions` are folded phrases that, where they
    touch a match of this entry, drop it. `match` and `no_match` are texts that this entry must and must not find.
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


@dataclass(frozen=True, slots=True)
class ListHeader:
    """Who answers for one list, and until when."""

    name: str
    version: int
    owner: str
    review_date: date


@dataclass(frozen=True, slots=True)
class Lexicon:
    """All lists together. `version` changes when, and only when, what they find or say changes."""

    headers: tuple[ListHeader, ...]
    entries: tuple[Entry, ...]
    version: str


def load_lexicon(path: Path = LISTS) -> Lexicon:
    """The lists in a directory (every `*.toml`), or in one file, with every example checked.

    Raises:
        LexiconError: anything is wrong, including an example that an entry does not answer as it says, or no entry
        at all.
    """
    files = sorted(path.glob("*.toml")) if path.is_dir() else [path]
    headers: list[ListHeader] = []
    entries: list[Entry] = []
    for file in files:
        header, found = _read(file)
        headers.append(header)
        entries += found
    if not entries:
        raise LexiconError(
            f"{path}:1: no list entry was found; a filter without lists reads nothing: restore the lists"
        )
    seen: dict[str, str] = {}
    for entry in entries:
        if entry.id in seen:
            raise LexiconError(f"{entry.where}: the id {entry.id!r} is also at {seen[entry.id]}; rename one")
        seen[entry.id] = entry.where
    lexicon = Lexicon(tuple(headers), tuple(entries), content_version(entries))
    check_examples(lexicon)
    return lexicon


def content_version(entries: list[Entry]) -> str:
    """A stable hash of all that entries find and say; where they stand in a file does not matter."""
    content = sorted(
        [e.id, e.category, e.level, e.reason, sorted(e.phrases), e.pattern, sorted(e.exceptions)] for e in entries
    )
    return "w" + hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:12]


def check_examples(lexicon: Lexicon) -> None:
    """Make sure that each entry finds its `match` examples and none of its `no_match` ones.

    Raises:
        LexiconError: naming the entry and the number of the example, counted from 1.
    """
    from watchwords.matcher import Matcher

    matcher = Matcher(lexicon)
    for entry in lexicon.entries:
        for number, example in enumerate(entry.match, 1):
            if entry.id not in matcher.entries_in(example):
                raise LexiconError(
                    f"{entry.where}: {entry.id}: match example {number} is not found; "
                    "correct the phrase, pattern or example"
                )
        for number, example in enumerate(entry.no_match, 1):
            if entry.id in matcher.entries_in(example):
                raise LexiconError(
                    f"{entry.where}: {entry.id}: no_match example {number} is found; "
                    "narrow the entry or add an exception"
                )


def _read(file: Path) -> tuple[ListHeader, list[Entry]]:
    """One list file."""
    try:
        source = file.read_text(encoding="utf-8")
        data = tomllib.loads(source)
    except OSError as error:
        raise LexiconError(f"{file}:1: can not be read ({error.strerror}); restore the file") from error
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise LexiconError(f"{file}:{line[1] if line else 1}: not valid TOML: {error}; correct that line") from error
    lines = source.splitlines()
    places = [number for number, line in enumerate(lines, 1) if line.strip() == "[[entry]]"]
    match data.get("list"):
        case {"name": str(name), "version": int(version), "owner": str(owner), "review_date": date() as review}:
            header = ListHeader(name, version, owner, review)
        case _:
            raise LexiconError(f"{file}:1: [list] needs name, version, owner and review_date; add them")
    fragments = data.get("fragments", {})
    tables = data.get("entry", [])
    if not tables:
        raise LexiconError(f"{file}:1: the list {header.name!r} is empty; add an [[entry]] or remove the file")
    if len(places) != len(tables):
        raise LexiconError(f"{file}:1: write each entry as an [[entry]] table on a line of its own")
    return header, [_entry(table, fragments, f"{file}:{place}") for table, place in zip(tables, places, strict=True)]


def _entry(table: dict[str, Any], fragments: dict[str, str], where: str) -> Entry:
    """One checked entry; raises LexiconError with its place."""
    name = table.get("id")
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9]+(?:-[a-z0-9]+)*", name):
        raise LexiconError(f"{where}: an entry needs an id of lower-case words and hyphens; add one")
    if unknown := set(table) - _ENTRY_FIELDS:
        raise LexiconError(f"{where}: {name}: unknown field {', '.join(sorted(unknown))}; correct or remove it")
    category, level = table.get("category"), table.get("level")
    if not isinstance(category, str) or len(category) != 1 or category not in CATEGORIES:
        raise LexiconError(f"{where}: {name}: category must be one of {' '.join(CATEGORIES)}; correct it")
    if isinstance(level, bool) or level not in (0, 1, 2, 3):
        raise LexiconError(f"{where}: {name}: level must be 0, 1, 2 or 3; correct it")
    for field in ("reason", "source"):
        if not isinstance(table.get(field), str) or not table[field].strip():
            raise LexiconError(f"{where}: {name}: {field} is missing; write it in plain words")
    lists = {field: table.get(field, []) for field in ("phrases", "match", "no_match", "exceptions")}
    for field, values in lists.items():
        if not isinstance(values, list) or not all(isinstance(value, str) and value.strip() for value in values):
            raise LexiconError(f"{where}: {name}: {field} must be a list of texts; correct it")
    if not lists["match"]:
        raise LexiconError(f"{where}: {name}: match needs at least one example that the entry finds; add one")
    pattern = table.get("pattern", "")
    if not isinstance(pattern, str) or bool(pattern) == bool(lists["phrases"]):
        raise LexiconError(f"{where}: {name}: give either phrases or a pattern; add one, or split the entry")
    return Entry(
        id=name,
        category=category,
        level=level,
        reason=table["reason"],
        source=table["source"],
        phrases=_phrases(lists["phrases"], f"{where}: {name}"),
        pattern=_pattern(pattern, fragments, f"{where}: {name}") if pattern else "",
        match=tuple(lists["match"]),
        no_match=tuple(lists["no_match"]),
        exceptions=_phrases(lists["exceptions"], f"{where}: {name}"),
        where=where,
    )


def _phrases(written: list[str], where: str) -> tuple[str, ...]:
    """Folded phrases with every `{a|b|}` written out."""
    out: dict[str, None] = {}
    todo = list(written)
    while todo:
        phrase = todo.pop()
        choice = _ALTERNATIVES.search(phrase)
        if choice:
            todo += [phrase[: choice.start()] + one + phrase[choice.end() :] for one in choice[1].split("|")]
        else:
            folded = fold(phrase).strip()
            if not folded or not any(c.isalnum() or ord(c) > 0x2000 for c in folded):
                raise LexiconError(f"{where}: a phrase has no letter in it; remove it")
            out[folded] = None
        if len(out) + len(todo) > _MOST_EXPANSIONS:
            raise LexiconError(f"{where}: more than {_MOST_EXPANSIONS} phrases; use a pattern or fewer alternatives")
    return tuple(sorted(out))


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
    try:
        empty = re2.compile(pattern.encode("ascii"), _options()).search(b"") is not None
    except UnicodeEncodeError as error:
        raise LexiconError(f"{where}: a pattern sees folded text and must be ASCII; use phrases for emoji") from error
    except re2.error as error:
        raise LexiconError(
            f"{where}: re2 does not accept the pattern; it knows no look-around or back-reference"
        ) from error
    if empty:
        raise LexiconError(f"{where}: the pattern matches an empty text; make at least one part of it required")
    return pattern


def _options() -> Any:
    options = re2.Options()
    options.log_errors = False
    return options
