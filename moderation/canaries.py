"""Phrases that the watchword lists may never stop finding: read from a file, checked, and looked for.

Decided here: what counts as found. Not decided here: what follows from a miss (a refused change, an alarm).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from moderation.files import PolicyFile
from moderation.types import Category, Finding, Level
from watchwords.matcher import Match
from watchwords.screening import Found

CANARIES = Path(__file__).parent / "policies" / "canaries.toml"


@dataclass(frozen=True, slots=True)
class Canary:
    """A text that must be found in `category`, at `level` or above. `where` is its file and line."""

    text: str
    category: Category
    level: Level
    where: str


def load_canaries(path: Path = CANARIES) -> tuple[Canary, ...]:
    """The canaries of the file at `path`, at least one.

    Raises:
        PolicyError: with file and line.
    """
    file = PolicyFile(path)
    file.header()
    found: list[Canary] = []
    for index, table in enumerate(file.data.get("canary", [])):
        match table:
            case {"text": str(text), "category": str(letter), "level": int(level)} if (
                text.strip() and letter in set(Category) and level in (1, 2, 3) and len(table) == 3
            ):
                where = f"{path.name}:{file.line_of('canary', index)}"
                found.append(Canary(text, Category(letter), Level(level), where))
            case _:
                raise file.fault(
                    "canary", index, "a canary has text, category and a level of 1 to 3, and no more; correct it"
                )
    if not found:
        raise file.fault("policy", 0, "there is no canary; add one")
    return tuple(found)


def missed(canaries: Iterable[Canary], find: Callable[[str], Iterable[Match | Finding | Found]]) -> tuple[Canary, ...]:
    """The canaries that `find` does not find as they must be."""
    return tuple(
        canary
        for canary in canaries
        if not any(found.category == canary.category and found.level >= canary.level for found in find(canary.text))
    )
