"""The second stage: what a message is about by its meaning as a whole, for what no word gave away.

Decided here: the head's file, and what follows from its weights. It reads what the first stage has read already, off
the path and slowly, and has one right only: to raise. Each stretch of a text is weighed by itself, and the one that
concerns most answers for the text. How the weights were learnt is in `training_second`.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from watchwords.embedding import DIMENSIONS, Embedder, Floats
from watchwords.lexicon import CATEGORIES
from watchwords.model import CONCERN, URGENT, ModelError, pack, unpack, version_of
from watchwords.screening import ABOUT, Screened

SECOND_FILE = Path(__file__).parent / "model" / "second.json"
FORMAT = 1
ASKED = (CONCERN, URGENT, *CATEGORIES)
# What findings of this stage have for a check; their entry ids are this, a colon and the head's version.
SECOND = "second"


@dataclass(frozen=True, slots=True)
class Raised:
    """What the second stage says of a text that it finds worse than the first did; `level` is 2 or 3.

    `entry_id` names the head. `reason` is in plain words for moderators and holds nothing of the text.
    """

    level: int
    category: str
    entry_id: str
    reason: str


class Head:
    """The weights over a text's direction. Immutable.

    Attributes:
        version: a stable name for the numbers that decide anything.
        embedder: the digest of the sentence model that it was learnt on.
        flag, urgent: log odds from which a text is level 2, and from which such a text is level 3.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        """
        Raises:
            ModelError: a part is missing, of the wrong size, or does not agree with the version.
        """
        try:
            if content["format"] != FORMAT:
                raise ModelError(f"the second stage has form {content['format']}, not {FORMAT}: train it anew")
            if content["version"] != version_of(content):
                raise ModelError("the second stage's version is not that of its numbers: restore the file, or train")
            if tuple(content["asked"]) != ASKED:
                raise ModelError("the second stage answers other questions than this program asks: train it anew")
            self.version = str(content["version"])
            self.embedder = str(content["embedder"])
            self.trained: Mapping[str, Any] = content["trained"]
            self.measured: Mapping[str, Any] = content["measured"]
            self.flag, self.urgent = (float(content["thresholds"][name]) for name in ("flag", "urgent"))
            self._weights = np.frombuffer(unpack(content["weights"]), dtype="<f4").reshape(DIMENSIONS, len(ASKED))
            self._bias = np.array([float(value) for value in content["bias"]], dtype=np.float32).reshape(len(ASKED))
        except ModelError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, zlib.error) as error:
            raise ModelError("the second stage's file is damaged: restore it, or train again") from error

    @classmethod
    def load(cls, path: Path = SECOND_FILE) -> "Head":
        """The head that comes with the program, or the one in `path`.

        Raises:
            ModelError: there is no such file, or it can not be used.
        """
        try:
            content = json.loads(path.read_bytes())
        except OSError:
            raise ModelError(f"{path.name}: the second stage can not be read: restore the file, or train it") from None
        except ValueError:
            raise ModelError(f"{path.name}: the second stage's file is damaged: restore it, or train it") from None
        if not isinstance(content, dict):
            raise ModelError(f"{path.name}: the second stage's file is damaged: restore it, or train it")
        return cls(content)

    def weigh(self, rows: Floats, text_of_row: Any) -> Floats:
        """(texts, len(ASKED)): log odds by ASKED of each text's stretch that concerns most."""
        odds = rows @ self._weights + self._bias
        order = np.lexsort((-odds[:, 0], text_of_row))
        _, first = np.unique(text_of_row[order], return_index=True)
        return odds[order[first]]


class SecondStage:
    """A sentence model and a head that was learnt on it. Immutable; several threads may use it at once."""

    def __init__(self, embedder: Embedder, head: Head) -> None:
        """
        Raises:
            ModelError: the head was learnt on another sentence model.
        """
        if head.embedder != embedder.digest:
            raise ModelError("the second stage was learnt on another sentence model: install that one, or train anew")
        self._embedder = embedder
        self.head = head

    @classmethod
    def load(cls) -> "SecondStage":
        """The sentence model that is installed and the head that comes with the program.

        Raises:
            EmbeddingError: the sentence model is not installed, or can not be used.
            ModelError: the head can not be used.
        """
        return cls(Embedder.load(), Head.load())

    @property
    def version(self) -> str:
        """What entry ids of its findings name."""
        return self.head.version

    def raises(self, text: str, level_now: int) -> Raised | None:
        """What is worse in the text than `level_now`, or None. Never raises for any text, and never lowers."""
        return self.raises_all([(text, level_now)])[0]

    def raises_all(self, texts: Sequence[tuple[str, int]]) -> list[Raised | None]:
        """`raises` of (text, level now) each, in their order; together they take less time."""
        if not texts:
            return []
        embedded = self._embedder.embed([text for text, _ in texts])
        odds = self.head.weigh(embedded.rows, embedded.text_of_row)
        return [self._raised(row, level) for row, (_, level) in zip(odds.tolist(), texts, strict=True)]

    def _raised(self, odds: Sequence[float], level_now: int) -> Raised | None:
        said = dict(zip(ASKED, odds, strict=True))
        if said[CONCERN] < self.head.flag:
            return None
        level = 3 if said[URGENT] >= self.head.urgent else 2
        if level <= level_now:
            return None
        category = max(CATEGORIES, key=lambda letter: said[letter])
        reason = f"Read as a whole, slowly and after it was published, this is like messages about {ABOUT[category]}."
        return Raised(level, category, f"{SECOND}:{self.version}", reason)


def together(screened: Screened, raised: Raised | None) -> Screened:
    """What both stages say of a text, for measuring: the first stage's verdict, and what was raised."""
    if raised is None:
        return screened
    cats = tuple(dict.fromkeys((raised.category, *screened.cats)))
    return replace(screened, level=raised.level, score=round(raised.level + screened.score % 1, 4), cats=cats)


def packed(weights: Floats) -> str:
    """(DIMENSIONS, len(ASKED)) as the file of a head holds them."""
    return pack(np.ascontiguousarray(weights, dtype="<f4").tobytes())
