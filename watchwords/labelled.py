"""The labelled messages of `corpus/`: read, checked, and handed out by part. What a label means: `corpus/GUIDE.md`.

Lists and models may be made from "train"; "test" only measures. A family (a scenario and a way of speaking) lies wholly
in one part, so that what was learnt of its wording is never measured on it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from watchwords.lexicon import CATEGORIES

CORPUS = Path(__file__).parent / "corpus"
TRAIN, TEST = "train", "test"
MOST_CHARACTERS = 1_200


class CorpusError(ValueError):
    """A corpus that can not be used: `file:line: what is wrong; what to do`."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One message and how it was judged.

    `level` 0-3 says how soon somebody should look; `cats` are letters of CATEGORIES, the main one first, and empty only
    at level 0. `note` says why, and what makes it hard.
    """

    id: str
    family: str
    part: str
    level: int
    cats: tuple[str, ...]
    text: str
    note: str


_FIELDS = [field.name for field in fields(Labelled)]


def load_corpus(folder: Path = CORPUS) -> tuple[Labelled, ...]:
    """Every labelled message of `folder`, by file name and line.

    Raises:
        CorpusError: a line is not of the form, an id comes twice, or a family lies in both parts.
    """
    found: list[Labelled] = []
    ids: set[str] = set()
    parts: dict[str, str] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            place = f"{path.name}:{number}"
            message = _read(line, place)
            if message.id in ids:
                raise CorpusError(f"{place}: the id {message.id} comes twice; give this message one of its own")
            if parts.setdefault(message.family, message.part) != message.part:
                raise CorpusError(f"{place}: the family {message.family} is in both parts; keep it in one")
            ids.add(message.id)
            found.append(message)
    return tuple(found)


def of_part(corpus: Sequence[Labelled], part: str) -> list[Labelled]:
    """The messages of one part."""
    return [message for message in corpus if message.part == part]


def _read(line: str, place: str) -> Labelled:
    try:
        given = json.loads(line)
    except ValueError:
        raise CorpusError(f"{place}: this is no JSON; write one object on one line") from None
    if not isinstance(given, dict) or list(given) != _FIELDS:
        raise CorpusError(f"{place}: the fields are not {', '.join(_FIELDS)}; write these, in this order")
    level, cats = given["level"], given["cats"]
    texts = [given[name] for name in _FIELDS if name not in ("level", "cats")]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise CorpusError(f"{place}: id, family, part, text or note is empty; write each as a text")
    if given["part"] not in (TRAIN, TEST):
        raise CorpusError(f"{place}: the part is {given['part']}; write {TRAIN} or {TEST}")
    if len(given["text"]) > MOST_CHARACTERS:
        raise CorpusError(f"{place}: the text is longer than {MOST_CHARACTERS} characters; shorten it")
    if type(level) is not int or not 0 <= level <= 3:
        raise CorpusError(f"{place}: the level is {level}; write 0, 1, 2 or 3")
    if not isinstance(cats, list) or any(c not in list(CATEGORIES) for c in cats) or len(set(cats)) != len(cats):
        raise CorpusError(f"{place}: the categories are {cats}; write letters of {CATEGORIES}, each once")
    if bool(cats) is not bool(level):
        raise CorpusError(f"{place}: level {level} with categories {cats}; give categories from level 1 up, no others")
    return Labelled(**{**given, "cats": tuple(cats)})
