"""Which words a pattern can not match without, so that most texts never meet the pattern itself.

A set of all patterns is one machine, and the gaps of a hundred and more patterns multiply its states: 1,200 us a
message for 109 of them, and past 8 MB it is not built at all. A pattern's keys are looked for in the same way as
phrases, in one or two microseconds for all, and only the few patterns whose keys stand in a text are tried, each by
itself.
"""

import math
import re
import re._parser as parser  # type: ignore[import-not-found]
from collections.abc import Iterable, Iterator
from functools import lru_cache
from re._constants import (  # type: ignore[import-not-found]
    AT,
    BRANCH,
    IN,
    LITERAL,
    MAX_REPEAT,
    MIN_REPEAT,
    NEGATE,
    RANGE,
    SUBPATTERN,
)
from typing import Any

from watchwords.common import load_common_words

# More spellings than this of one stretch of a pattern are not written out.
MOST_KEYS = 300
# And than this, of a pattern whose alternatives each have a stretch of their own.
MOST_TOGETHER = 4_000
# A key shorter than this stands in nearly every text.
SHORTEST_KEY = 3
_MOST_REPEATS = 2
# Keys that stand in more texts than this, by `_frequency`, are asked together with others.
_SELDOM = 0.02
_FRAMES = ((r"\b(?:", r")\b"), ("(?:", ")"))
# What is escaped and what is a class of characters is passed over whole.
_MARK = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[()|]")
# How seldom a piece of a text stands in one that concerns nobody is its price as in `common`: of a word that is not
# there, and for each letter, since a short piece stands within other words. By hand, in November 2026.
_PRICE_OF_OTHERS, _PRICE_OF_A_LETTER, _PRICE_OF_COMMON = 10.0, 2.0, 2.5
# Dearer there, as parts of other words, than they are in talk.
_COMMON = frozenset(
    """
    the and you have had has for was that this with what they them are not but all been can could would should will just
    get got going now out her him his she our when who how why want feel like know think one too some there here then
    than from about your today tonight tomorrow were ill ive its dont cant more need
    """.split()  # noqa: SIM905 - words are read more easily without quotes
)


def alternatives_of(pattern: str) -> list[str]:
    """Patterns that together match what `pattern` does: its alternatives, where it is nothing but alternatives.

    A frame of word borders and one group around all of them goes with each.
    """
    parts = _split(pattern)
    if len(parts) > 1:
        return [one for part in parts for one in alternatives_of(part)]
    for before, after in _FRAMES:
        inner = pattern[len(before) : len(pattern) - len(after)]
        if pattern.startswith(before) and pattern.endswith(after) and _is_closed(inner):
            return [before + part + after for part in _split(inner)]
    return [pattern]


def _split(pattern: str) -> list[str]:
    """The pattern cut at its outermost bars."""
    parts, depth, start = [], 0, 0
    for place, mark in _marks(pattern):
        depth += {"(": 1, ")": -1}.get(mark, 0)
        if mark == "|" and not depth:
            parts.append(pattern[start:place])
            start = place + 1
    return [*parts, pattern[start:]]


def _is_closed(pattern: str) -> bool:
    """Whether every bracket is closed within, so that what stands around it is a pair."""
    depth = 0
    for _, mark in _marks(pattern):
        depth += {"(": 1, ")": -1}.get(mark, 0)
        if depth < 0:
            return False
    return not depth


def _marks(pattern: str) -> Iterator[tuple[int, str]]:
    """The brackets and bars that are not escaped and in no class of characters, with their places."""
    for found in _MARK.finditer(pattern):
        if found[0] in "()|":
            yield found.start(), found[0]


@lru_cache(16_384)
def keys_of(pattern: str) -> tuple[frozenset[str], ...]:
    """Sets of texts, of each of which at least one stands in everything that `pattern` matches.

    None where that can not be said; one where its texts are seldom; else two, the more seldom first.

    Args:
        pattern: re2 syntax, over folded text.
    """
    best = sorted(_good(_runs(parser.parse(pattern))), key=_frequency)
    return tuple(best[:2] if best and _frequency(best[0])[0] > _SELDOM else best[:1])


def _good(runs: Iterable[frozenset[str]]) -> list[frozenset[str]]:
    """The stretches of which no spelling is too short to look for."""
    return [run for run in map(_trimmed, runs) if min(map(len, run)) >= SHORTEST_KEY]


def _best(runs: Iterable[frozenset[str]]) -> frozenset[str] | None:
    """Of some stretches the one that stands in the fewest texts; None if there is none to look for."""
    return min(_good(runs), key=_frequency, default=None)


def _trimmed(run: frozenset[str]) -> frozenset[str]:
    return frozenset(key.strip() for key in run)


def _frequency(run: frozenset[str]) -> tuple[float, int]:
    """In how many texts a stretch stands, compared with others: a sum over its spellings; and how many they are."""
    return sum(math.exp(-sum(map(_price, key.split()))) for key in run), len(run)


@lru_cache(50_000)
def _price(word: str) -> float:
    price = _PRICE_OF_COMMON if word in _COMMON else load_common_words().get(word)
    return min(_PRICE_OF_OTHERS if price is None else price, _PRICE_OF_A_LETTER * len(word))


def _runs(sequence: Iterable[tuple[Any, Any]]) -> Iterator[frozenset[str]]:
    """Stretches that every match of a sequence has, each as all its spellings."""
    run = frozenset({""})
    for node in sequence:
        spelt = _spellings(node)
        if spelt is None or len(run) * len(spelt) > MOST_KEYS:
            yield run
            run = frozenset({""}) if spelt is None else spelt
            if spelt is None:
                yield from _within(node)
        else:
            run = frozenset(before + after for before in run for after in spelt)
    yield run


def _within(node: tuple[Any, Any]) -> Iterator[frozenset[str]]:
    """Stretches that every match of one node has that can not be written out as a whole."""
    kind, given = node
    if kind is SUBPATTERN:
        yield from _runs(given[3])
    elif kind in (MAX_REPEAT, MIN_REPEAT) and given[0] > 0:
        yield from _runs(given[2])
    elif kind is BRANCH:
        best = [_best(_runs(branch)) for branch in given[1]]
        together = frozenset[str]().union(*(run for run in best if run is not None))
        if None not in best and len(together) <= MOST_TOGETHER:
            yield together


def _spellings(node: tuple[Any, Any]) -> frozenset[str] | None:
    """Everything that a node can match, if that is finite and not too much."""
    kind, given = node
    if kind is LITERAL:
        return frozenset({chr(given)})
    if kind is AT:
        return frozenset({""})
    if kind is IN:
        return _letters(given)
    if kind is SUBPATTERN:
        return _product(given[3])
    if kind is BRANCH:
        parts = [_product(branch) for branch in given[1]]
        if any(part is None for part in parts):
            return None
        together = frozenset[str]().union(*(part for part in parts if part is not None))
        return together if len(together) <= MOST_KEYS else None
    if kind in (MAX_REPEAT, MIN_REPEAT) and given[1] <= _MOST_REPEATS:
        once = _product(given[2])
        if once is None:
            return None
        out: frozenset[str] = frozenset({""}) if given[0] == 0 else frozenset()
        power = frozenset({""})
        for times in range(1, given[1] + 1):
            if len(power) * len(once) > MOST_KEYS:
                return None
            power = frozenset(before + after for before in power for after in once)
            if times >= given[0]:
                out |= power
        return out if len(out) <= MOST_KEYS else None
    return None


def _product(sequence: Iterable[tuple[Any, Any]]) -> frozenset[str] | None:
    out = frozenset({""})
    letters: list[str] = []  # that follow all of them: added together, for most of a pattern is plain words
    for node in sequence:
        if node[0] is LITERAL:
            letters.append(chr(node[1]))
            continue
        spelt = _spellings(node)
        if spelt is None or len(out) * len(spelt) > MOST_KEYS:
            return None
        tail = "".join(letters)
        letters.clear()
        out = frozenset([before + tail + after for before in out for after in spelt])
    if letters:
        tail = "".join(letters)
        out = frozenset([before + tail for before in out])
    return out


def _letters(given: list[tuple[Any, Any]]) -> frozenset[str] | None:
    out: set[str] = set()
    for kind, value in given:
        if kind is LITERAL:
            out.add(chr(value))
        elif kind is RANGE and value[1] - value[0] < 10:
            out.update(map(chr, range(value[0], value[1] + 1)))
        else:
            return None
    return frozenset(out) if out and NEGATE not in {kind for kind, _ in given} else None
