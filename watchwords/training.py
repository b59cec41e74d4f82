"""How the model is made: from the corpus's train part, the lists' own examples, and ordinary talk.

Decided here: what is learnt from, how words are prepared, and how thresholds are chosen. Everything that is decided by
comparison is decided on messages of families that the compared weights have not seen. The test part is never read here.
Needs the extra `train`; whoever only screens does not import this.
"""

import hashlib
import json
import math
import random
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from tokenizers import Tokenizer

from watchwords.common import load_common_words
from watchwords.features import EXTRA_WORDS, Sentence, key_of, length_off, pieces_of, rules_of, sentences_of, windows
from watchwords.labelled import TRAIN, Labelled, of_part
from watchwords.lexicon import CATEGORIES
from watchwords.matcher import Matcher
from watchwords.model import CONCERN, FORMAT, GREY, HEADS, URGENT, pack, version_of
from watchwords.normalise import fold

SEED = 20261123
# Of everyday words only those up to this price have a row of their own: with all, the file is 1.8 MB instead of 0.9.
DEAREST_WORD = 4.0
# The lists were mended on the very messages from which is learnt, where they find two and a half times as many as where
# nobody has looked. Rules that seem to find so much would leave the words nothing to learn.
RULES_KEPT = 0.4
FOLDS = 5
# Chosen by grouped cross-validation within the train part, November 2026.
STRENGTH = 3.0
SHARE_RUNS, SHARE_PIECES, SHARE_MEANING, SHARE_RULES = 1.0, 0.3, 0.2, 0.3
# A run that one family alone uses says nothing of other families; it takes part in learning and is not kept.
FAMILIES_OF_RUN, FAMILIES_OF_PIECE = 2, 3
PHRASES_AN_ENTRY = 24
WEIGHT_OF_PHRASES, WEIGHT_OF_EXAMPLE = 3.0, 0.5
WEIGHT_OF_GREY, WEIGHT_OF_WINDOW = 0.6, 0.3

# What the thresholds must keep, on messages of unseen families: of texts that the model alone calls 2 or more and that
# are not grey, the part that is; such alerts and grey findings in a thousand ordinary messages; of texts called 3, the
# part that is.
LEAST_PPV, MOST_ALERTS, MOST_GREY, LEAST_URGENT = 0.80, 0.5 / 1000, 20 / 1000, 0.75
# Of what would be noticed, the part that may be lost by asking one question first.
LOST_AT_GATE = 0.03

# Families of talk that needs nobody; the others of level 0 are there to be mistaken for something.
ORDINARY_FAMILIES = ("d-", "po-", "rs-")
ORDINARY = Path(__file__).parent / "model" / "ordinary.txt"
SAMPLES_A_LINE, WEIGHT_OF_LINE = 10, 12.0
WEIGHT_OF_TALK = 3.0

_ALTERNATIVES = re.compile(r"\{([^{}]*)\}")

# An array of float64. The extra's packages are not there for every check of types.
Floats: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class Sample:
    """One text to learn from. `group` names its family; `ordinary` marks talk on which alerts are counted.

    `measured` is False for the lists' own phrases: they teach, but prove nothing about messages.
    """

    text: str
    level: int
    cats: tuple[str, ...]
    group: str
    weight: float = 1.0
    ordinary: bool = False
    measured: bool = True


class TrainingError(ValueError):
    """What training was given can not be used: where, what is wrong, what to do."""


def read_reviewed(path: Path) -> list[Sample]:
    """A provider's own reviewed messages: JSON lines with "text", "level", "cats" and, if known, "family".

    Raises:
        TrainingError: a line is not of that form; it is named by number and never quoted.
    """
    out = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            given = json.loads(line)
            text, level, cats = given["text"], given["level"], tuple(given["cats"])
            good = isinstance(text, str) and level in range(4) and all(cat in CATEGORIES for cat in cats)
        except (ValueError, KeyError, TypeError):
            good = False
            given, text, level, cats = {}, "", 0, ()
        if not good or bool(level) is not bool(cats):
            raise TrainingError(f"{path.name}:{number}: write text, level 0-3 and, from level 1 up, categories")
        family = given.get("family", f"line {number}")
        out.append(Sample(text, level, cats, f"reviewed:{family}"))
    return out


def train(
    corpus: Sequence[Labelled],
    matcher: Matcher,
    talk: Sequence[str] = (),
    reviewed: Sequence[Sample] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """The content of a model file; the same for the same corpus, lists and libraries.

    Args:
        corpus: all labelled messages; only the train part is looked at.
        matcher: the lists whose findings are rule features.
        talk: ordinary messages at level 0 besides those of the corpus, in conversations' order.
        reviewed: a provider's own reviewed messages.
        tell: told what is being done.
    """
    samples = samples_of(corpus, matcher, talk, reviewed)
    tell(f"{len(samples)} texts")
    prepared = _Prepared.of(samples, matcher)
    tell(f"{prepared.rows.shape[1]} features")
    judged = _judge_unseen(prepared, tell)
    thresholds = judged.thresholds()
    tell("all together")
    weights, bias = _fit(prepared, np.arange(len(samples)), held_out=False)
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": "",
        "heads": list(HEADS),
        "trained": {
            "corpus": digest_of(of_part(corpus, TRAIN)),
            "lists": matcher.version,
            "messages": sum(sample.measured for sample in samples),
            "reviewed": len(reviewed),
            "seed": SEED,
        },
        "thresholds": {name: round(value, 4) for name, value in thresholds.items()},
        "calibration": judged.calibration(),
        "bias": [round(float(value), 5) for value in bias],
        "rules": prepared.rules_of(weights),
        "tables": prepared.tables_of(weights, matcher),
        "measured": {"unseen_families": judged.figures(thresholds)},
    }
    content["version"] = version_of(content)
    return content


def samples_of(
    corpus: Sequence[Labelled], matcher: Matcher, talk: Sequence[str], reviewed: Sequence[Sample]
) -> list[Sample]:
    """Everything that teaches; of the corpus the train part alone."""
    labelled = of_part(corpus, TRAIN)
    return [*_of_corpus(labelled), *_of_talk(talk), *_of_ordinary(), *reviewed, *_of_lists(matcher)]


def flagged_unseen(samples: Sequence[Sample], matcher: Matcher, tell: Callable[[str], None]) -> Any:
    """Of each measured sample, in order, whether the filter flags it by weights that had not seen its family."""
    judged = _judge_unseen(_Prepared.of(samples, matcher), tell)
    thresholds = judged.thresholds()
    return judged.flagged(thresholds)


def _judge_unseen(prepared: "_Prepared", tell: Callable[[str], None]) -> "_Judged":
    samples = prepared.samples
    seen_not = np.zeros((len(samples), len(HEADS)))
    for number, (learn, check) in enumerate(prepared.folds(), 1):
        tell(f"fold {number} of {FOLDS}")
        weights, bias = _fit(prepared, learn, held_out=True)
        seen_not[check] = prepared.weigh(weights, bias)[check]
    measured = np.array([sample.measured for sample in samples])
    return _Judged(
        seen_not[measured],
        np.array([sample.level for sample in samples])[measured],
        prepared.best_rule[measured],
        np.array([sample.ordinary for sample in samples])[measured],
    )


def _of_corpus(labelled: Iterable[Labelled]) -> Iterator[Sample]:
    for message in labelled:
        ordinary = not message.level and message.family.startswith(ORDINARY_FAMILIES)
        weight = WEIGHT_OF_TALK if ordinary else 1.0
        yield Sample(message.text, message.level, message.cats, message.family, weight, ordinary=ordinary)


def _of_talk(talk: Sequence[str]) -> Iterator[Sample]:
    for number, text in enumerate(talk):
        yield Sample(text, 0, (), f"talk:{number // 12}", WEIGHT_OF_TALK, ordinary=True)


def _of_ordinary(path: Path = ORDINARY) -> Iterator[Sample]:
    """Some of what each line of the file of ordinary talk stands for, drawn the same way each time."""
    draw = random.Random(SEED)  # noqa: S311 - which sentences teach is no secret
    level = 0
    cats: tuple[str, ...] = ()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("="):
            _, given, *letters = line.split()
            level, cats = int(given), tuple(letters)
        elif line and not line.startswith("#"):
            drawn = {_ALTERNATIVES.sub(lambda m: draw.choice(m[1].split("|")), line) for _ in range(SAMPLES_A_LINE)}
            for text in sorted(drawn):
                yield Sample(text, level, cats, f"{path.stem}:{number}", WEIGHT_OF_LINE / len(drawn), ordinary=True)


def _of_lists(matcher: Matcher) -> Iterator[Sample]:
    """The entries' examples, and some of their phrases, which are what their authors say people write."""
    for entry in matcher.lexicon.entries:
        cats = (entry.category,) if entry.level else ()
        group = f"list:{entry.id}"
        for text in entry.match:
            yield Sample(text, entry.level, cats, group, WEIGHT_OF_EXAMPLE, measured=False)
        for text in entry.no_match:
            yield Sample(text, 0, (), group, WEIGHT_OF_EXAMPLE, measured=False)
        if entry.phrases:
            step = -(-len(entry.phrases) // PHRASES_AN_ENTRY)
            some = entry.phrases[::step]
            weight = min(WEIGHT_OF_EXAMPLE, WEIGHT_OF_PHRASES / len(some))
            for text in some:
                yield Sample(text, entry.level, cats, group, weight, measured=False)


def _counts_rules(sample: Sample) -> bool:
    """Whether what the lists find in a message may teach: of those that they were mended on, in RULES_KEPT only."""
    if sample.level < 2:
        return True
    return zlib.crc32(sample.text.encode("utf-8", "surrogatepass")) / 2**32 < RULES_KEPT


@dataclass(frozen=True)
class _Prepared:
    """Samples as numbers. `rows` holds the features of the words, one row for each whole text and each window."""

    samples: Sequence[Sample]
    rows: Any
    text_of_row: Any
    whole: Any
    length_off: Any
    rules: Any
    best_rule: Any
    rule_names: list[str]
    runs: list[int]
    run_kept: Any
    run_idf: Floats
    pieces: list[str]
    piece_idf: Floats
    words: list[str]
    meaning: "_Meaning"

    @classmethod
    def of(cls, samples: Sequence[Sample], matcher: Matcher) -> "_Prepared":
        readings = [matcher.read(sample.text) for sample in samples]
        texts = [sentences_of(reading.views[0].text) for reading in readings]
        groups = [sample.group for sample in samples]
        runs, run_df = _counted(([*map(key_of, s.words), *s.runs] for s in text) for text in texts)(groups)
        pieces, piece_df = _counted(([p for w in s.words for p in pieces_of(w)] for s in text) for text in texts)(
            groups
        )
        kept = [piece for piece, df in zip(pieces, piece_df, strict=True) if df >= FAMILIES_OF_PIECE]
        piece_df = np.array([df for df in piece_df if df >= FAMILIES_OF_PIECE])
        families = len(set(groups))
        # The lists' phrases carry no rule features: that a phrase finds itself proves nothing.
        counted = [s.measured and _counts_rules(s) for s in samples]
        rules = [rules_of(r.matches) if counts else () for r, counts in zip(readings, counted, strict=True)]
        names = sorted({name for found in rules for name in found})
        word_df = _counted(([list(s.words) for s in text]) for text in texts)(groups)
        common = [word for word, df in zip(*word_df, strict=True) if df >= FAMILIES_OF_RUN]
        meaning = _Meaning.load()
        prepared = cls(
            samples,
            None,
            None,
            None,
            None,
            _rule_matrix(rules, names),
            np.array(
                [
                    max((m.level for m in r.matches), default=0) if counts else 0
                    for r, counts in zip(readings, counted, strict=True)
                ]
            ),
            names,
            list(runs),
            np.array(run_df) >= FAMILIES_OF_RUN,
            1 + np.log((1 + families) / (1 + np.array(run_df, dtype=float))),
            kept,
            1 + np.log((1 + families) / (1 + piece_df)),
            sorted({*common, *meaning.words(), *_everyday(), *_words_of(matcher)}),
            meaning,
        )
        return prepared._with_rows(texts)

    def _with_rows(self, texts: Sequence[tuple[Sentence, ...]]) -> "_Prepared":
        run_place = {run: place for place, run in enumerate(self.runs)}
        piece_place = {piece: place for place, piece in enumerate(self.pieces)}
        data: list[float] = []
        columns: list[int] = []
        starts = [0]
        meanings: list[Floats] = []
        text_of_row: list[int] = []
        whole: list[bool] = []
        off: list[float] = []
        for number, text in enumerate(texts):
            lengths = [len(sentence.words) for sentence in text]
            off.append(length_off(sum(lengths)))
            for first, last in windows(lengths):
                part = text[first:last]
                words = [word for sentence in part for word in sentence.words]
                scale = 1 / math.sqrt(len(words) + EXTRA_WORDS)
                counts = Counter(key for s in part for key in (*map(key_of, s.words), *s.runs))
                for run, count in counts.items():
                    place = run_place[run]
                    columns.append(place)
                    data.append(count * self.run_idf[place] * SHARE_RUNS * _UNIT * scale)
                for piece, count in Counter(p for word in words for p in pieces_of(word)).items():
                    if piece in piece_place:
                        place = piece_place[piece]
                        columns.append(len(self.runs) + place)
                        data.append(count * self.piece_idf[place] * SHARE_PIECES * _UNIT * scale)
                starts.append(len(data))
                meanings.append(sum((self.meaning.of(word) for word in words), self.meaning.nothing) * scale)
                text_of_row.append(number)
                whole.append((first, last) == (0, len(text)))
        sparse = sp.csr_matrix((data, columns, starts), shape=(len(starts) - 1, len(self.runs) + len(self.pieces)))
        dense = sp.csr_matrix(np.array(meanings) * SHARE_MEANING)
        rows = sp.hstack([sparse, dense]).tocsr()
        return replace(
            self, rows=rows, text_of_row=np.array(text_of_row), whole=np.array(whole), length_off=np.array(off)
        )

    def folds(self) -> Iterator[tuple[Any, Any]]:
        """Indices of texts to learn from and to check, no family in both."""
        groups = [sample.group for sample in self.samples]
        return iter(GroupKFold(FOLDS, shuffle=True, random_state=SEED).split(groups, groups=groups))

    def weigh(self, weights: Floats, bias: Floats) -> Floats:
        """Every head's log odds of every text, read as the model reads it: the heaviest stretch by concern."""
        by_row = self.rows @ weights[: self.rows.shape[1]] + bias
        order = np.lexsort((-by_row[:, 0], self.text_of_row))
        _, first = np.unique(self.text_of_row[order], return_index=True)
        answers = by_row[order[first]] + self.rules @ weights[self.rows.shape[1] :]
        answers[:, 0] -= self.length_off
        return np.asarray(answers)

    def rules_of(self, weights: Floats) -> dict[str, list[float]]:
        rows = weights[self.rows.shape[1] :] * SHARE_RULES
        return {name: [round(float(w), 4) for w in row] for name, row in zip(self.rule_names, rows, strict=True)}

    def tables_of(self, weights: Floats, matcher: Matcher) -> dict[str, Any]:
        """The weights by word, by run and by piece of a word; a known word's row holds all that depends on it alone."""
        runs = weights[: len(self.runs)] * (self.run_idf * SHARE_RUNS * _UNIT)[:, None]
        at = len(self.runs)
        pieces = weights[at : at + len(self.pieces)] * (self.piece_idf * SHARE_PIECES * _UNIT)[:, None]
        meaning = weights[at + len(self.pieces) : self.rows.shape[1]] * SHARE_MEANING
        run_place = {run: place for place, run in enumerate(self.runs)}
        piece_place = {piece: place for place, piece in enumerate(self.pieces)}
        words = np.zeros((len(self.words), len(HEADS)))
        for number, word in enumerate(self.words):
            places = [piece_place[piece] for piece in pieces_of(word) if piece in piece_place]
            row = pieces[places].sum(axis=0) + self.meaning.of(word) @ meaning
            place = run_place.get(key_of(word))
            if place is not None and self.run_kept[place]:
                row = row + runs[place]
            words[number] = row
        single = {key_of(word) for sample in self.samples for word in _words_in(sample.text)}
        kept = [
            place
            for place, run in enumerate(self.runs)
            if self.run_kept[place] and run not in single and runs[place].any()
        ]
        return {
            "words": _table(words, [key_of(word) for word in self.words]),
            "runs": _table(runs[kept], [self.runs[place] for place in kept]),
            "pieces": {**_table(pieces), "names": pack("\n".join(self.pieces).encode())},
        }


# The size of a typical run's share, so that the shares above compare.
_UNIT = 1 / (3 * math.sqrt(3))


def _fit(prepared: _Prepared, texts: Any, *, held_out: bool) -> tuple[Floats, Floats]:
    """Weights (features by heads; those of the rules last) and biases, learnt from some of the texts."""
    samples = prepared.samples
    chosen: Any = np.zeros(len(samples), dtype=bool)
    chosen[texts] = True
    levels = np.array([sample.level for sample in samples])
    # Of a long text that concerns nobody every stretch concerns nobody; which stretch of another does is not known.
    rows = np.flatnonzero(chosen[prepared.text_of_row] & (prepared.whole | (levels[prepared.text_of_row] == 0)))
    of_text = prepared.text_of_row[rows]
    features = sp.hstack([prepared.rows[rows], prepared.rules[of_text]]).tocsr()
    weight = np.array([sample.weight for sample in samples])[of_text]
    weight = np.where(prepared.whole[rows], weight, weight * WEIGHT_OF_WINDOW)
    grey = np.where(levels[of_text] == 1, WEIGHT_OF_GREY, 1.0)
    targets: dict[str, tuple[Any, Any]] = {
        CONCERN: (levels >= 2, weight * grey),
        URGENT: (levels == 3, weight),
        GREY: (levels >= 1, weight),
    }
    named = np.array([bool(sample.level) for sample in samples])[of_text]
    for category in CATEGORIES:
        targets[category] = (np.array([category in sample.cats for sample in samples]), weight * named)
    weights = np.zeros((features.shape[1], len(HEADS)))
    bias = np.zeros(len(HEADS))
    for place, head in enumerate(HEADS):
        if held_out and head in CATEGORIES:
            continue
        truth, share = targets[head]
        used = np.flatnonzero(share > 0)
        fit = LogisticRegression(C=STRENGTH, solver="liblinear", max_iter=400, random_state=SEED)
        fit.fit(features[used], truth[of_text][used], sample_weight=share[used])
        weights[:, place], bias[place] = fit.coef_[0], fit.intercept_[0]
    return weights, bias


@dataclass(frozen=True)
class _Judged:
    """What weights made of texts of families that they had not seen."""

    answers: Floats
    levels: Any
    best_rule: Any
    ordinary: Any

    def thresholds(self) -> dict[str, float]:
        """Where levels begin: the most sensitive concern that keeps PPV and alerts, then urgent and grey."""
        concern, urgent, grey = (self.answers[:, HEADS.index(head)] for head in (CONCERN, URGENT, GREY))
        high = self.levels >= 2
        by_rule = self.best_rule >= 2
        best = (-1.0, 9.0)
        for flag in np.quantile(concern, np.linspace(0.3, 0.995, 160)):
            own = (concern >= flag) & ~by_rule
            right, wrong = (own & high).sum(), (own & (self.levels == 0)).sum()
            if right < LEAST_PPV * (right + wrong) or own[self.ordinary].mean() > MOST_ALERTS:
                continue
            best = max(best, (right / high.sum(), float(flag)))
        flag = best[1]
        flagged = (concern >= flag) | by_rule
        most = 9.0
        for threshold in np.quantile(urgent, np.linspace(0.4, 0.995, 120))[::-1]:
            called = flagged & (urgent >= threshold)
            if called.sum() >= 30 and (self.levels[called] == 3).mean() < LEAST_URGENT:
                break
            most = float(threshold)
        least_grey = 9.0
        for threshold in np.quantile(grey, np.linspace(0.2, 0.99, 120))[::-1]:
            if (grey[self.ordinary] >= threshold).mean() > MOST_GREY:
                break
            called = ~flagged & (grey >= threshold)
            if called.sum() >= 30 and (self.levels[called] >= 1).mean() < LEAST_PPV:
                break
            least_grey = float(threshold)
        near = min(flag, float(np.quantile(concern[self.ordinary], 1 - MOST_GREY)))
        noticed = concern[((grey >= least_grey) | (concern >= near)) & (self.best_rule == 0)]
        return {
            "flag": flag,
            "urgent": most,
            "grey": least_grey,
            "near": near,
            "gate": float(min(np.quantile(noticed, LOST_AT_GATE), flag)) if len(noticed) else flag,
            "category": 0.0,
        }

    def calibration(self) -> list[float]:
        """Slope and offset that make a probability of the concern."""
        fit = LogisticRegression(C=100.0).fit(self.answers[:, :1], self.levels >= 2)
        return [round(float(fit.coef_[0][0]), 4), round(float(fit.intercept_[0]), 4)]

    def flagged(self, thresholds: Mapping[str, float]) -> Any:
        """Which texts the thresholds make level 2 or more."""
        return (self.answers[:, 0] >= thresholds["flag"]) | (self.best_rule >= 2)

    def figures(self, thresholds: Mapping[str, float]) -> dict[str, float]:
        """What the thresholds keep on these texts; base views only, so a little below what is screened with all."""
        flagged = self.flagged(thresholds)
        high, none = self.levels >= 2, self.levels == 0
        right = int((flagged & high).sum())
        return {
            "texts": len(self.levels),
            "sensitivity": round(right / int(high.sum()), 3),
            "ppv": round(right / max(1, right + int((flagged & none).sum())), 3),
            "alerts_per_1000_ordinary": round(float(flagged[self.ordinary].mean()) * 1000, 1),
        }


class _Meaning:
    """What words have to do with one another, from static vectors that come with a package."""

    def __init__(self, vectors: Any, tokens: Any) -> None:
        self._vectors = vectors
        self._tokens = tokens
        self._known: dict[str, Floats] = {}
        self.nothing: Floats = np.zeros(vectors.shape[1])
        self._centre = vectors[[token for word, token in tokens.get_vocab().items() if _whole(word)]].mean(axis=0)

    @classmethod
    def load(cls) -> "_Meaning":
        """The vectors of the package wordllama, read from its files: importing it would look for newer ones."""
        spec = find_spec("wordllama")
        if spec is None or spec.origin is None:
            raise ImportError("wordllama")
        home = Path(spec.origin).parent
        vectors = load_file(home / "weights" / "l2_supercat_256.safetensors")["embedding.weight"]
        tokens = Tokenizer.from_file(str(home / "tokenizers" / "l2_supercat_tokenizer_config.json"))
        return cls(vectors.astype(np.float64), tokens)

    def words(self) -> list[str]:
        """The whole English words that the vectors know by themselves, folded."""
        return sorted({fold(word[1:]) for word in self._tokens.get_vocab() if _whole(word)})

    def of(self, word: str) -> Floats:
        """The direction of a word's meaning, length 1; zero if it has none."""
        if word not in self._known:
            read = self._tokens.encode(word, add_special_tokens=False)
            ids = [token for token, name in zip(read.ids, read.tokens, strict=True) if name != "▁"]
            mean = self._vectors[ids].mean(axis=0) - self._centre if ids else self.nothing
            length = float(np.linalg.norm(mean))
            self._known[word] = mean / length if length else self.nothing
        return self._known[word]


def _whole(token: str) -> bool:
    return token.startswith("▁") and len(token) > 2 and token[1:].isascii() and token[1:].isalpha()


def _counted(texts: Iterable[Iterable[list[Any]]]) -> Callable[[Sequence[str]], tuple[list[Any], list[int]]]:
    """Features in the order of their first text, and by how many groups each is used."""
    lists = [[feature for part in text for feature in part] for text in texts]

    def count(groups: Sequence[str]) -> tuple[list[Any], list[int]]:
        users: dict[Any, set[str]] = defaultdict(set)
        for features, group in zip(lists, groups, strict=True):
            for feature in features:
                users[feature].add(group)
        return list(users), [len(used) for used in users.values()]

    return count


def _rule_matrix(rules: Sequence[Sequence[str]], names: Sequence[str]) -> Any:
    places = {name: place for place, name in enumerate(names)}
    matrix = sp.lil_matrix((len(rules), len(names)))
    for row, found in enumerate(rules):
        for name in found:
            matrix[row, places[name]] = SHARE_RULES
    return matrix.tocsr()


def _everyday() -> Iterator[str]:
    """The commonest words, of which the file keeps rows though nobody in the corpus wrote them."""
    return (word for word, price in load_common_words().items() if price is not None and price <= DEAREST_WORD)


def _words_in(text: str) -> Iterator[str]:
    for sentence in sentences_of(fold(text)):
        yield from sentence.words


def _words_of(matcher: Matcher) -> Iterator[str]:
    for entry in matcher.lexicon.entries:
        for phrase in entry.phrases:
            yield from phrase.split()


def _table(rows: Floats, keys: Sequence[int] | None = None) -> dict[str, Any]:
    """Rows as whole numbers with a scale for each head; a few outliers are cut, they would coarsen all others."""
    scales = np.maximum(np.quantile(np.abs(rows), 0.9995, axis=0), 1e-6) / 127
    whole = np.clip(np.rint(rows / scales), -127, 127).astype(np.int8)
    table: dict[str, Any] = {"scales": [round(float(s), 8) for s in scales], "weights": pack(whole.tobytes())}
    if keys is not None:
        table["keys"] = pack(b"".join(key.to_bytes(5, "big") for key in keys))
    return table


def digest_of(labelled: Sequence[Labelled]) -> str:
    """A short name for messages and their labels."""
    content = [[m.id, m.level, m.cats, m.text] for m in labelled]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:12]
