"""What was worked out of the packaged lists' patterns at set-up, so that no process has to work it out when it starts.

Decided here: the form of that file, and when it counts: for the very patterns that it names, and while the code and the
words that made it are the same. For all others, or without the file, all is worked out anew. With it a server has its
lists after 1.7 s of work instead of 3.2 (November 2026, 461 entries), and it is back as much sooner after a crash.
"""

import hashlib
import json
import sys
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from watchwords import common, keys
from watchwords.keys import Keys, alternatives_of, keys_of

PREPARED = Path(__file__).parent / "built" / "patterns.z"


@dataclass(frozen=True, slots=True)
class Part:
    """One alternative of a pattern, in re2 syntax, and its keys (`keys.keys_of`)."""

    written: str
    keys: Keys | None


def parts_of(pattern: str) -> tuple[Part, ...]:
    """The alternatives of a pattern, in order, each with its keys."""
    known = _prepared(PREPARED).get(pattern)
    if known is None:
        return tuple([Part(part, keys_of(part)) for part in alternatives_of(pattern)])
    return tuple([Part(part, None if first is None else _keys(first, also)) for part, first, also in known])


def is_proven(pattern: str) -> bool:
    """Whether it is known that the engine accepts every part of this pattern, and that none matches an empty text."""
    return pattern in _prepared(PREPARED)


def prepare(patterns: Iterable[str], path: Path = PREPARED) -> None:
    """Write the file: of patterns that the lists' own check has let through."""
    content: dict[str, list[Any]] = {}
    for pattern in patterns:
        parts = [(part, keys_of(part)) for part in alternatives_of(pattern)]
        content[pattern] = [
            (part, None, []) if found is None else (part, sorted(found.first), list(map(sorted, found.also)))
            for part, found in parts
        ]
    path.parent.mkdir(exist_ok=True)
    # Whoever starts meanwhile reads the old file or the new one.
    draft = path.with_suffix(".new")
    draft.write_bytes(zlib.compress(json.dumps({"made_by": _made_by(), "patterns": content}).encode()))
    draft.replace(path)


@cache
def _prepared(path: Path) -> dict[str, list[Any]]:
    try:
        content = json.loads(zlib.decompress(path.read_bytes()))
        patterns: dict[str, list[Any]] = content["patterns"] if content["made_by"] == _made_by() else {}
    except (OSError, ValueError, KeyError, TypeError, zlib.error):
        return {}
    return patterns


def _made_by() -> str:
    """A name for all that decides what the keys of a pattern are, and whether the engine accepts it."""
    sources = (Path(__file__), Path(keys.__file__), Path(common.__file__), common.COMMON_WORDS)
    content = b"\0".join(source.read_bytes() for source in sources)
    return hashlib.sha256(content + version("google-re2").encode()).hexdigest()


def _keys(first: list[str], also: list[list[str]]) -> Keys:
    return Keys(frozenset(first), tuple(map(frozenset, also)))


if __name__ == "__main__":
    from watchwords.lexicon import parse_lists

    parsed = parse_lists()
    if parsed.problems:
        sys.exit("\n".join(map(str, parsed.problems)))
    prepare(entry.pattern for entry in parsed.entries if entry.pattern)
