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
# Bytes of a packed weight and of a row of them, and what stands for no weight.
_LANE, _ZERO = 3, 128
_ROW, _LANE_MASK, _SHIFTS = _LANE * len(HEADS), (1 << 8 * _LANE) - 1, range(0, 8 * _LANE * len(HEADS), 8 * _LANE)
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


# What one stretch of tokens adds to the concern before it is scaled: half-open token range, weight.
_Part = tuple[int, int, float]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model has to say of one stretch of a text: log odds by head, and what adds to the concern."""

    odds: Mapping[str, float]
    parts: Sequence[_Part]
    scale: float

    def shares(self, most: int) -> tuple[Share, ...]:
        """The stretches of one to three tokens that add most to the concern, heaviest first, at most `most`."""
        heavy = sorted((part for part in self.parts if part[2] > 0), key=lambda part: -part[2])[:most]
        return tuple(Share(first, last, weight * self.scale) for first, last, weight in heavy)


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
        self._strange: dict[str, tuple[int, int]] = {}

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
        weight = self._known.get(key_of(word))
        return self._by_pieces(word) if weight is None else weight

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
        parts, count, sums = self._sums(text, weighed)
        scale = 1 / math.sqrt(count + EXTRA_WORDS)
        columns = zip(self._bias, *sums, strict=True)
        odds = [bias + (words + runs + pieces) * scale for bias, words, runs, pieces in columns]
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
                weight = self._by_pieces(text)
            answer = (key, weight, ends)
        self._words[token] = answer
        return answer

    def _by_pieces(self, word: str) -> float:
        """The share of concern of a word that was not learnt."""
        pieces = self._pieces.get
        return sum([pieces(piece, 0.0) for piece in pieces_of(word)])

    def _sums(self, text: str, weighed: Weighed) -> tuple[list[_Part], int, tuple[list[float], ...]]:
        """Every word and known run of a stretch of tokens with its share of concern; how many words they are; and the
        sums of the weights of words, runs and pieces of words, for each head.
        """
        parts: list[_Part] = []
        known, words, runs, pieces = self._words, self._word_rows, self._run_rows, self._piece_rows
        has_word, has_run, weight_of_run = words.places.get, runs.places.get, self._runs
        of_words = of_runs = of_pieces = word_rows = run_rows = piece_rows = count = 0
        before, pair, since = START, 0, 0
        # The places of the last two words before this one in its sentence.
        second = first = 0
        for place, token in enumerate(text.split()[weighed.first : weighed.last], weighed.first):
            key, weight, last = known.get(token) or self._learn(token)
            if key:
                since += 1
                count += 1
                if (row := has_word(key)) is not None:
                    of_words += words.packed(row)
                    word_rows += 1
                else:
                    packed, rows = self._strange.get(token) or self._pack_pieces(token)
                    of_pieces += packed
                    piece_rows += rows
                parts.append((place, place + 1, weight))
                run = (before * STEP + key) & MASK
                if (row := has_run(run)) is not None:
                    of_runs += runs.packed(row)
                    run_rows += 1
                    parts.append((first if since > 1 else place, place + 1, weight_of_run[run]))
                triple = (pair * STEP + key) & MASK
                if (row := has_run(triple)) is not None:
                    of_runs += runs.packed(row)
                    run_rows += 1
                    parts.append(((place, first, second)[min(since, 3) - 1], place + 1, weight_of_run[triple]))
                before, pair = key, run
                second, first = first, place
            if since and (last or since >= WINDOW_WORDS or place == weighed.last - 1):
                ends = (before * STEP + END) & MASK, (pair * STEP + END) & MASK
                for run, begin in zip(ends, (first, second if since > 1 else first), strict=True):
                    if (row := has_run(run)) is not None:
                        of_runs += runs.packed(row)
                        run_rows += 1
                        parts.append((begin, first + 1, weight_of_run[run]))
                before, pair, since = START, 0, 0
        sums = words.sums(of_words, word_rows), runs.sums(of_runs, run_rows), pieces.sums(of_pieces, piece_rows)
        return parts, count, sums

    def _pack_pieces(self, token: str) -> tuple[int, int]:
        """The packed sum of the pieces of a token whose word was not learnt, and how many they are; remembered, and
        bounded.
        """
        if len(self._strange) >= _CACHE_SIZE:
            self._strange.clear()
        known = self._piece_places
        places = [known[piece] for piece in pieces_of(word_of(token)[0]) if piece in known]
        answer = self._strange[token] = sum(map(self._piece_rows.packed, places)), len(places)
        return answer


class _Table:
    """Rows of one weight for each head, stored as whole numbers of -127 to 127 with one scale for each head.

    Rows are added as one whole number each, 24 bits for each head. An answer takes as long as with rows of floats that
    are kept once met (40 us), but those were 31 MB after the corpus, and these are 2 (November 2026).
    """

    def __init__(self, keys: Sequence[int], weights: "array[int]", scales: Sequence[float]) -> None:
        self.keys = keys
        self.places = {key: place for place, key in enumerate(keys)}
        self._weights = weights
        self._scales = scales
        lanes = bytearray(_LANE * len(weights))
        lanes[::_LANE] = bytes([(weight + _ZERO) & 255 for weight in weights])
        self._lanes = bytes(lanes)

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
        # The same few numbers again and again: one object of each.
        floats = {value: value * scale for value in range(-128, 128)}
        return list(map(floats.__getitem__, self._weights[head :: len(HEADS)]))

    def packed(self, place: int) -> int:
        """A row as one whole number; sums of at most 65,000 of them are for `sums`."""
        return int.from_bytes(self._lanes[place * _ROW : place * _ROW + _ROW], "little")

    def sums(self, packed: int, rows: int) -> list[float]:
        """For each head the sum of so many rows."""
        zero = rows * _ZERO
        wholes = [(packed >> shift & _LANE_MASK) - zero for shift in _SHIFTS]
        return list(map(mul, wholes, self._scales))


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
