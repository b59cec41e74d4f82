"""What the model sees of a text: rules that fired, words, runs of two and three words, and pieces of words.

Decided here: the features and their names, for training and for use alike. Every feature of the words is a sum over
words or runs, so that a word's share is worked out once and a window of sentences costs a subtraction.
"""

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from watchwords.matcher import Match

# Keys are arithmetic on 40-bit hashes, the same in every process; two runs that share one are a one-in-10^7 accident.
MASK = (1 << 40) - 1
STEP = 1_000_003
# A text of a few words is weighed as if it were somewhat longer: one word alone proves little.
EXTRA_WORDS = 4
# A longer text is read as runs of whole sentences of at most so many words, never as one: the messages it was learnt
# from are short, and what is added up over sixty words of plain talk (measured: one in three called concerning) is
# only their number. A sentence that goes on is cut.
WINDOW_WORDS = 20
# Several readings make a high one likelier by chance; this is taken off for each doubling of the length.
LESS_A_DOUBLING = 0.4
PIECES = (3, 4)

_EDGES = re.compile(r"^\W+|\W+$")
_DIGIT = re.compile(r"\d")
_ENDS = re.compile(r"[.!?;]\W*$")
_LONGEST_WORD = 24


def key_of(word: str) -> int:
    """A 40-bit number that stands for a word, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=5).digest(), "big")


START, END = key_of("<start>"), key_of("<end>")


def run_key(first: int, then: int) -> int:
    """The key of a run from that of its beginning and that of its last word."""
    return (first * STEP + then) & MASK


def word_of(token: str) -> tuple[str, bool]:
    """What stands between two spaces as (word, whether a sentence ends after it); "" for marks alone.

    Digits are all one digit: which number it is belongs to the lists.
    """
    if token.isalpha():  # nine in ten: the same without three expressions, 0.2 us instead of 0.6
        return token[:_LONGEST_WORD], False
    ends = _ENDS.search(token) is not None
    word = _EDGES.sub("", token)
    if not word:
        return ("" if token.isascii() else token[:_LONGEST_WORD]), ends
    return _DIGIT.sub("0", word[:_LONGEST_WORD]), ends


def pieces_of(word: str) -> list[str]:
    """Every run of three or four letters of a word, its borders being spaces."""
    bordered = f" {word} "
    return [bordered[start : start + size] for size in PIECES for start in range(len(bordered) - size + 1)]


@dataclass(frozen=True, slots=True)
class Sentence:
    """The words of one sentence, and the keys of its runs of two and three words, its borders included."""

    words: tuple[str, ...]
    runs: tuple[int, ...]


def sentences_of(text: str) -> tuple[Sentence, ...]:
    """A folded text as sentences; those without a word are left out."""
    out: list[Sentence] = []
    words: list[str] = []
    for token in text.split():
        word, ends = word_of(token)
        if word:
            words.append(word)
        if words and (ends or len(words) >= WINDOW_WORDS):
            out.append(_sentence(words))
            words = []
    if words:
        out.append(_sentence(words))
    return tuple(out)


def _sentence(words: list[str]) -> Sentence:
    keys = [START, *map(key_of, words), END]
    pairs = [run_key(first, then) for first, then in pairwise(keys)]
    triples = [run_key(pair, then) for pair, then in zip(pairs, keys[2:], strict=False)]
    return Sentence(tuple(words), (*pairs, *triples))


def windows(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The half-open runs of sentences in which a text is read, given each sentence's number of words.

    The whole text if it is short; else the longest run of at most WINDOW_WORDS words from each sentence on.
    """
    if sum(lengths) <= WINDOW_WORDS:
        yield 0, len(lengths)
        return
    last = words = 0
    for first in range(len(lengths)):
        reached = last
        while last < len(lengths) and (last <= first or words + lengths[last] <= WINDOW_WORDS):
            words += lengths[last]
            last += 1
        if last > reached:
            yield first, last
        words -= lengths[first]


def length_off(words: int) -> float:
    """What is taken off the concern of a text of so many words, in log odds."""
    return LESS_A_DOUBLING * math.log2(words / WINDOW_WORDS) if words > WINDOW_WORDS else 0.0


def rules_of(matches: Iterable[Match]) -> tuple[str, ...]:
    """The names of the rule features that the lists' matches give, each once, in a fixed order."""
    best: dict[str, int] = {}
    names: set[str] = set()
    entries: set[str] = set()
    for match in matches:
        best[match.category] = max(best.get(match.category, 0), match.level)
        entries.add(match.entry_id)
        names.update(f"context:{code}" for code in match.adjustments)
        if match.view != "base":
            names.add("disguised")
    if not best:
        return ()
    names.update(f"rule:{category}{level}" for category, level in best.items())
    names.add(f"level:{max(best.values())}")
    if len(entries) > 1:
        names.add("entries:2" if len(entries) == 2 else "entries:3+")
    if sum(level > 1 for level in best.values()) > 1:
        names.add("categories:2+")
    return tuple(sorted(names))
