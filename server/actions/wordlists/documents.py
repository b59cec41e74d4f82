"""A set of watchword lists as documents: packed, named by a digest, changed entry by entry, and compiled.

Decided here: what a change may ask for, and that the texts are the truth: nothing is stored that was not written by
somebody. Whether lists are fit for service is said by `checking`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import tempfile
import tomllib
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from server.errors import BadRequest
from watchwords.lexicon import LISTS, LexiconError
from watchwords.matcher import Matcher

# The name of a list to its TOML text.
Documents = Mapping[str, str]

_NAME: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_ENTRY: Final = "[[entry]]"
_MOST_BYTES: Final = 8 * 1024 * 1024


class Faulty(BadRequest):
    """Lists that can not be used: `list.toml:line: what is wrong; what to do`."""


class Kind(StrEnum):
    """What a change does to one list, or to all of them."""

    ADD = "add"
    CHANGE = "change"
    REMOVE = "remove"
    DOCUMENT = "document"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Change:
    """One change, as it was asked for, so that it can be asked again of later lists.

    `entry` is the id that is changed or removed; `text` the TOML of the entry, or of the whole list. A RELEASE takes
    over the lists that come with the program. `origin` is the case or message that it comes from, or "".
    """

    kind: Kind
    name: str = ""
    entry: str = ""
    text: str = ""
    origin: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, stored: str) -> Change:
        data = json.loads(stored)
        return cls(Kind(data["kind"]), data["name"], data["entry"], data["text"], data.get("origin", ""))


@functools.cache
def shipped() -> Documents:
    """The lists that come with the program."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(LISTS.glob("*.toml"))}


def pack(documents: Documents) -> bytes:
    """The documents as they are stored."""
    return zlib.compress(_spelt(documents), 9)


def unpack(content: bytes) -> Documents:
    """What `pack` packed. Raises ValueError for anything else, and for more than 8 MiB."""
    engine = zlib.decompressobj()
    try:
        plain = engine.decompress(content, _MOST_BYTES)
    except zlib.error as error:
        raise ValueError("not a packed set of lists") from error
    documents = json.loads(plain) if engine.eof else None
    if not isinstance(documents, dict) or not all(isinstance(text, str) for text in documents.values()):
        raise ValueError("not a packed set of lists")
    return documents


def digest(documents: Documents) -> str:
    """SHA-256 of every name and character, in hexadecimal: what a signature names."""
    return hashlib.sha256(_spelt(documents)).hexdigest()


def _spelt(documents: Documents) -> bytes:
    return json.dumps(dict(sorted(documents.items())), ensure_ascii=True, separators=(",", ":")).encode()


def compiled(documents: Documents) -> Matcher:
    """The matcher of the documents, with every example checked. Takes a second or more: not for the loop.

    Raises:
        Faulty: with file, line and advice.
    """
    with tempfile.TemporaryDirectory(prefix="ek-lists-") as name:
        folder = Path(name)
        for stem, text in documents.items():
            if not _NAME.fullmatch(stem):
                raise Faulty("A list is named in lower-case words and hyphens, such as self-harm.", field="list")
            (folder / f"{stem}.toml").write_text(text, encoding="utf-8")
        try:
            return Matcher.load(folder)
        except LexiconError as error:
            raise Faulty(str(error).replace(f"{folder}/", "")) from error
        except UnicodeEncodeError as error:
            raise Faulty("A list holds a character that is none; remove it.") from error


def changed(documents: Documents, change: Change) -> Documents:
    """The documents after the change. Nothing is compiled yet.

    Raises:
        Faulty: the list or the entry is not there, or the text is not one entry.
    """
    if change.kind is Kind.RELEASE:
        return shipped()
    if not _NAME.fullmatch(change.name):
        raise Faulty("A list is named in lower-case words and hyphens, such as self-harm.", field="list")
    if change.kind is Kind.DOCUMENT:
        return {**documents, change.name: _ended(change.text)}
    if change.name not in documents:
        raise Faulty(f"There is no list called {change.name}; choose one of {', '.join(documents)}.", field="list")
    head, entries = split(documents[change.name], change.name)
    ids = [name for name, _ in entries]
    if change.kind is not Kind.ADD and change.entry not in ids:
        raise Faulty(f"{change.name}.toml: there is no entry {change.entry!r}; look at the list again.", field="entry")
    if change.kind is Kind.REMOVE:
        entries = [(name, text) for name, text in entries if name != change.entry]
    else:
        one = _one_entry(change.text)
        if change.kind is Kind.ADD:
            entries.append(("", one))
        else:
            entries = [(name, one if name == change.entry else text) for name, text in entries]
    return {**documents, change.name: head + "".join(text for _, text in entries)}


def split(document: str, name: str) -> tuple[str, list[tuple[str, str]]]:
    """What stands before the first entry of a list, and (id, text) of each entry, which together are the document.

    Raises:
        Faulty: an entry can not be read by itself.
    """
    head: list[str] = []
    parts: list[list[str]] = []
    places: list[int] = []
    for number, line in enumerate(document.splitlines(keepends=True), 1):
        if line.strip() == _ENTRY:
            parts.append([])
            places.append(number)
        (parts[-1] if parts else head).append(line)
    entries: list[tuple[str, str]] = []
    for place, lines in zip(places, parts, strict=True):
        text = _ended("".join(lines))
        table = _table(text, f"{name}.toml:{place}")
        entries.append((str(table.get("id", "")), text))
    return _ended("".join(head)), entries


def _one_entry(text: str) -> str:
    """The TOML of exactly one entry, whether or not it was written with its heading."""
    whole = text.strip()
    if not whole.startswith(_ENTRY):
        whole = f"{_ENTRY}\n{whole}"
    _table(whole, "the entry")
    return f"\n{whole}\n"


def _table(text: str, where: str) -> dict[str, Any]:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Faulty(f"{where}: not valid TOML: {error}; correct it") from error
    if set(data) != {"entry"} or len(data["entry"]) != 1:
        raise Faulty(f"{where}: this is not one [[entry]] and nothing else; write one entry at a time")
    table: dict[str, Any] = data["entry"][0]
    return table


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"
