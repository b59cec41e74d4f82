"""A linear model of how soon somebody should look: read from one file of numbers, applied without any library.

Decided here: the file's form, and what one text weighs. Words carry all that depends on them alone (their own weight,
their pieces, what they mean beside other words), so that a message costs one look-up for each word and two for each of
its runs. Only the weight of concern is worked out for every text; the other questions are asked of few. What follows
from the weights is in `screening`, how they were learnt in `training`.
"""

import base64
import hashlib
import json
import math
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import add, mul
from pathlib import Path
from typing import Any

from watchwords.features import (
    END,
    EXTRA_WORDS,
    MASK,
    START,
    STEP,
    WINDOW_WORDS,
    key_of,
    length_off,
    pieces_of,
    windows,
    word_of,
)
from watchwords.lexicon import CATEGORIES

MODEL_FILE = Path(__file__).parent / "model" / "score.json"
FORMAT = 1
CONCERN, URGENT, GREY = "concern", "urgent", "grey"
HEADS = (CONCERN, URGENT, GREY, *CATEGORIES)

_CACHE_SIZE = 50_000
_KEY_BYTES = 5


class ModelError(ValueError):
    """A model file that can not be used: what is wrong with it, and what to do."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where weights become levels; all are log odds.

    `flag`: concern from which a text is level 2. `urgent`: the like for level 3, asked of level 2 only. `grey`: from
    which a text is level 1, and `near`: concern from which it is.
    `gate`: below it nothing else is asked of a text in which the lists found nothing. `category`: from which a
    category is named besides the likeliest.
    """

    flag: float
    urgent: float
    grey: float
    near: float
    gate: float
    category: float


@dataclass(frozen=True, slots=True)
class Weighed:
    """The concern that one view of a text weighs, in log odds without the lists' share, and where it weighs most.

    `first` and `last` are the half-open range of the view's tokens (what stands between spaces) that were weighed.
    """

    concern: float
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Share:
    """What one stretch of tokens adds to the concern of a view: half-open token range, log odds."""

    first: int
    last: int
    weight: float


_Part = tuple[int, int, Sequence[float], int]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model has to say of one stretch of a text: log odds by head, and what they are made of."""

    odds: Mapping[str, float]
    parts: Sequence[_Part]
    scale: float

    def shares(self, most: int) -> tuple[Share, ...]:
        """The stretches of one to three tokens that add most to the concern, heaviest first, at most `most`."""
        heavy = sorted((part for part in self.parts if part[2][0] > 0), key=lambda part: -part[2][0])[:most]
        return tuple(Share(first, last, row[0] * self.scale) for first, last, row, _ in heavy)


class Model:
    """The weights, ready for use. Immutable as far as anybody can see."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        """
        Raises:
            ModelError: a part is missing, of the wrong size, or does not agree with the version.
        """
        try:
            if content["format"] != FORMAT:
                raise ModelError(f"the model has form {content['format']}, not {FORMAT}: train it with this program")
            if content["version"] != version_of(content):
                raise ModelError("the model's version is not that of its numbers: restore the file, or train again")
            if tuple(content["heads"]) != HEADS:
                raise ModelError("the model answers other questions than this program asks: train again")
            self.version = str(content["version"])
            self.trained: Mapping[str, Any] = content["trained"]
            self.measured: Mapping[str, Any] = content["measured"]
            self.thresholds = Thresholds(**{name: float(value) for name, value in content["thresholds"].items()})
            self._slope, self._offset = (float(value) for value in content["calibration"])
            self._bias = [float(value) for value in content["bias"]]
            self._rules = {name: [float(w) for w in row] for name, row in content["rules"].items()}
            words, runs = (_Table.read(content["tables"][name], name) for name in ("words", "runs"))
            pieces = _Table.read(content["tables"]["pieces"], "pieces")
            names = unpack(content["tables"]["pieces"]["names"]).decode("utf-8").split("\n")
        except ModelError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, zlib.error) as error:
            raise ModelError("the model file is damaged: restore it, or train again") from error
        if len(self._bias) != len(HEADS) or any(len(row) != len(HEADS) for row in self._rules.values()):
            raise ModelError("the model file is damaged: a row of weights has the wrong length; restore it")
        if len(names) != len(pieces):
            raise ModelError("the model file is damaged: pieces and weights differ in number; restore it")
        self._word_rows, self._run_rows, self._piece_rows = words, runs, pieces
        self._runs = dict(zip(runs.keys, runs.column(0), strict=True))
        self._known = dict(zip(words.keys, words.column(0), strict=True))
        self._pieces = dict(zip(names, pieces.column(0), strict=True))
        self._piece_places = {name: place for place, name in enumerate(names)}
        self._words: dict[str, tuple[int, float, bool]] = {}
        self._strange: dict[str, Sequence[float]] = {}

    @classmethod
    def load(cls, path: Path = MODEL_FILE) -> "Model":
        """The model that comes with the program, or the one in `path`.

        Raises:
            ModelError: there is no such file, or it can not be used.
        """
        try:
            content = json.loads(path.read_bytes())
        except OSError:
            raise ModelError(f"{path.name}: the model can not be read: restore the file, or train again") from None
        except ValueError:
            raise ModelError(f"{path.name}: the model file is damaged: restore it, or train again") from None
        if not isinstance(content, dict):
            raise ModelError(f"{path.name}: the model file is damaged: restore it, or train again")
        return cls(content)

    def rules_weight(self, rules: Iterable[str]) -> float:
        """What the lists' findings add to the concern of a text."""
        return sum(self._rules[name][0] for name in rules if name in self._rules)

    @property
    def bias(self) -> float:
        """The concern of a text without a word, in log odds."""
        return self._bias[0]

    def word_weight(self, word: str) -> float:
        """What one word by itself adds to the sum of a stretch."""
        return self._row_of(word, key_of(word))[0]

    def run_weight(self, run: int) -> float:
        """What a run of two or three words adds to the sum of a stretch; 0 for one that was not learnt."""
        return self._runs.get(run, 0.0)

    def weigh(self, text: str) -> Weighed:
        """The concern of a folded view: of the whole, or of those of its sentences that weigh most if it is long."""
        known, runs = self._words, self._runs.get
        total = 0.0
        count = since = place = 0
        before, pair = START, 0
        # The running sums after each sentence: (weight, words, tokens).
        ends: list[tuple[float, int, int]] = []
        for token in text.split():
            place += 1
            word = known.get(token)
            if word is None:
                word = self._learn(token)
            key, weight, last = word
            if key:
                count += 1
                since += 1
                run = (before * STEP + key) & MASK
                total += weight + runs(run, 0.0) + runs((pair * STEP + key) & MASK, 0.0)
                before, pair = key, run
            if since and (last or since >= WINDOW_WORDS):
                run = (before * STEP + END) & MASK
                total += runs(run, 0.0) + runs((pair * STEP + END) & MASK, 0.0)
                ends.append((total, count, place))
                before, pair, since = START, 0, 0
        if since:
            run = (before * STEP + END) & MASK
            total += runs(run, 0.0) + runs((pair * STEP + END) & MASK, 0.0)
            ends.append((total, count, place))
        bias = self._bias[0]
        if count <= WINDOW_WORDS:
            return Weighed(bias + total / math.sqrt(count + EXTRA_WORDS), 0, place)
        ends.insert(0, (0.0, 0, 0))
        best = Weighed(-math.inf, 0, place)
        for first, after in windows([end[1] - start[1] for start, end in pairwise(ends)]):
            low, high = ends[first], ends[after]
            concern = bias + (high[0] - low[0]) / math.sqrt(high[1] - low[1] + EXTRA_WORDS)
            if concern > best.concern:
                best = Weighed(concern, low[2], high[2])
        return Weighed(best.concern - length_off(count), best.first, best.last)

    def answer(self, text: str, weighed: Weighed, rules: Sequence[str]) -> "Answer":
        """Every head's log odds for the part of a view that was weighed, the lists' share included."""
        parts = self._parts(text, weighed)
        words = sum(part[3] for part in parts)
        scale = 1 / math.sqrt(words + EXTRA_WORDS)
        columns = zip(*(part[2] for part in parts), strict=True) if parts else [(0.0,)] * len(HEADS)
        odds = [bias + sum(column) * scale for bias, column in zip(self._bias, columns, strict=True)]
        odds[0] = weighed.concern
        for name in rules:
            if name in self._rules:
                odds = list(map(add, odds, self._rules[name]))
        return Answer(dict(zip(HEADS, odds, strict=True)), parts, scale)

    def share_of_rule(self, name: str) -> float:
        """What one rule feature adds to the concern, in log odds."""
        return self._rules[name][0] if name in self._rules else 0.0

    def probability(self, concern: float) -> float:
        """How likely a text of this concern is one that a person should see soon, by the messages it was trained on."""
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, self._slope * concern + self._offset))))

    def _learn(self, token: str) -> tuple[int, float, bool]:
        """A token's key, its share of concern and whether it ends a sentence; remembered, and bounded."""
        if len(self._words) >= _CACHE_SIZE:
            self._words.clear()
        text, ends = word_of(token)
        if not text:
            answer = (0, 0.0, ends)
        else:
            key = key_of(text)
            weight = self._known.get(key)
            if weight is None:
                pieces = self._pieces.get
                weight = sum([pieces(piece, 0.0) for piece in pieces_of(text)])
            answer = (key, weight, ends)
        self._words[token] = answer
        return answer

    def _parts(self, text: str, weighed: Weighed) -> list[_Part]:
        """Every word and known run of a stretch of tokens: (first token, last token, all heads' weights, words)."""
        parts: list[_Part] = []
        known, runs = self._words, self._run_rows
        has_run, row_of_run, words = runs.places.get, runs.row, self._word_rows.get
        before, pair, since = START, 0, 0
        # The places of the last two words before this one in its sentence.
        second = first = 0
        for place, token in enumerate(text.split()[weighed.first : weighed.last], weighed.first):
            word = known.get(token)
            key, _, last = self._learn(token) if word is None else word
            if key:
                since += 1
                weights = self._strange.get(token)
                if weights is None and (weights := words(key)) is None:
                    weights = self._remember(token, key)
                parts.append((place, place + 1, weights, 1))
                run = (before * STEP + key) & MASK
                if (row := has_run(run)) is not None:
                    parts.append((first if since > 1 else place, place + 1, row_of_run(row), 0))
                if (row := has_run((pair * STEP + key) & MASK)) is not None:
                    begin = (place, first, second)[min(since, 3) - 1]
                    parts.append((begin, place + 1, row_of_run(row), 0))
                before, pair = key, run
                second, first = first, place
            if since and (last or since >= WINDOW_WORDS or place == weighed.last - 1):
                if (row := has_run((before * STEP + END) & MASK)) is not None:
                    parts.append((first, first + 1, row_of_run(row), 0))
                if (row := has_run((pair * STEP + END) & MASK)) is not None:
                    parts.append((second if since > 1 else first, first + 1, row_of_run(row), 0))
                before, pair, since = START, 0, 0
        return parts

    def _remember(self, token: str, key: int) -> Sequence[float]:
        """The weights of a token whose word was not learnt; remembered, and bounded."""
        if len(self._strange) >= _CACHE_SIZE:
            self._strange.clear()
        weights = self._strange[token] = self._row_of(word_of(token)[0], key)
        return weights

    def _row_of(self, word: str, key: int) -> Sequence[float]:
        row = self._word_rows.get(key)
        if row is not None:
            return row
        places = [self._piece_places[piece] for piece in pieces_of(word) if piece in self._piece_places]
        rows = [self._piece_rows.row(place) for place in places]
        return [sum(column) for column in zip(*rows, strict=True)] if rows else [0.0] * len(HEADS)


class _Table:
    """Rows of one weight for each head, stored as whole numbers of -127 to 127 with one scale for each head."""

    def __init__(self, keys: Sequence[int], weights: "array[int]", scales: Sequence[float]) -> None:
        self.keys = keys
        self._weights = weights
        self._scales = scales
        self.places = {key: place for place, key in enumerate(keys)}
        self._rows: dict[int, Sequence[float]] = {}

    @classmethod
    def read(cls, content: Mapping[str, Any], name: str) -> "_Table":
        """The table that `pack` and a list of keys wrote; ModelError if its parts do not fit together."""
        scales = [float(value) for value in content["scales"]]
        weights = array("b", unpack(content["weights"]))
        raw = unpack(content["keys"]) if "keys" in content else b""
        keys = [int.from_bytes(raw[at : at + _KEY_BYTES], "big") for at in range(0, len(raw), _KEY_BYTES)]
        rows = len(weights) // len(HEADS)
        if len(scales) != len(HEADS) or len(weights) % len(HEADS) or (keys and len(keys) != rows):
            raise ModelError(f"the model file is damaged: the table of {name} has parts of other sizes; restore it")
        return cls(keys or range(rows), weights, scales)

    def __len__(self) -> int:
        return len(self.keys)

    def column(self, head: int) -> list[float]:
        scale = self._scales[head]
        return [value * scale for value in self._weights[head :: len(HEADS)]]

    def row(self, place: int) -> Sequence[float]:
        known = self._rows.get(place)
        if known is None:
            if len(self._rows) >= _CACHE_SIZE:
                self._rows.clear()
            start = place * len(HEADS)
            whole = self._weights[start : start + len(HEADS)]
            known = self._rows[place] = tuple(map(mul, whole, self._scales))
        return known

    def get(self, key: int) -> Sequence[float] | None:
        place = self.places.get(key)
        return None if place is None else self.row(place)


def pack(numbers: bytes) -> str:
    """Bytes as text for the model file."""
    return base64.urlsafe_b64encode(zlib.compress(numbers, 9)).decode("ascii")


def unpack(text: str) -> bytes:
    """What `pack` was given."""
    return zlib.decompress(base64.urlsafe_b64decode(text))


def version_of(content: Mapping[str, Any]) -> str:
    """A stable name for all numbers of a model that decide anything; what was measured does not count."""
    deciding = {name: value for name, value in content.items() if name not in ("version", "measured")}
    return "m" + hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:12]
