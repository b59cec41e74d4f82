"""Everyday English: which words are innocent as they stand, and how writing without spaces falls apart into words.

Decided here: what counts as an everyday word (`common_words.txt`) and how likely each is. Nothing in the file
depends on a list.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import ahocorasick_rs

COMMON_WORDS = Path(__file__).parent / "common_words.txt"

LONGEST_WORD = 14
# Prices of a word, by section of the file; a reading is the cheaper the fewer and the commoner its words. A word of the
# lists costs little, unless it is no everyday word and few entries use it: lists hold misspellings ("abus"). Picked by
# hand in November 2026: lower for section 3 splits long words into rubbish, higher leaves joined messages unread.
_PRICES = {"0": 2.5, "1": 4.0, "2": 6.0, "3": 9.0}
_STANDING = "4"
_PRICE_OF_LISTED, _PRICE_OF_SLANG, _PRICE_OF_RARE_SLANG = 3.5, 4.5, 7.0
_MUCH_USED = 6
# From this price on a word is looked for only where everything is weighed.
RARE = 9.0
_PRICE_OF_I = 2.2
# A piece that is no word: names, mostly. Dear enough that known words are preferred wherever there are any.
_UNKNOWN, _UNKNOWN_LETTER = 8.0, 3.0
_MOST_UNKNOWN = 0.3


@cache
def load_common_words(path: Path = COMMON_WORDS) -> Mapping[str, float | None]:
    """Each everyday word with its price as a part of others, or None if it only stands by itself.

    The file has sections that begin with a line "= N"; lines that begin with # are notes.
    """
    prices: dict[str, float | None] = {}
    price: float | None = None
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("= "):
            price = None if line[2:] == _STANDING else _PRICES[line[2:]]
        elif not line.startswith("#"):
            prices.update(dict.fromkeys(line.split(), price))
    return MappingProxyType(prices)


def prices_with(common: Mapping[str, float | None], listed: Mapping[str, int]) -> dict[str, float]:
    """The price of each word that others may fall apart into: everyday words, and those of the lists with weights."""
    prices = {word: price for word, price in common.items() if price is not None and len(word) <= LONGEST_WORD}
    for word, weight in listed.items():
        if 2 <= len(word) <= LONGEST_WORD and word.isalpha():
            slang = _PRICE_OF_SLANG if weight >= _MUCH_USED else _PRICE_OF_RARE_SLANG
            prices[word] = min(prices[word], _PRICE_OF_LISTED) if word in prices else slang
    prices["i"] = prices["a"] = _PRICE_OF_I
    return prices


def fall_apart(word: str, prices: Mapping[str, float]) -> list[str] | None:
    """The words that were written without spaces, or None if too little of it is made of words.

    Time is the length of the word times `LONGEST_WORD`.
    """
    length = len(word)
    price = [0.0] * (length + 1)
    back = [0] * (length + 1)
    unknown = [0] * (length + 1)
    get = prices.get
    for end in range(1, length + 1):
        best = price[end - 1] + (_UNKNOWN_LETTER if unknown[end - 1] else _UNKNOWN)
        from_, strange = end - 1, unknown[end - 1] + 1
        for start in range(end - 1, max(-1, end - LONGEST_WORD - 1), -1):
            piece = get(word[start:end])
            if piece is not None and price[start] + piece < best:
                best, from_, strange = price[start] + piece, start, 0
        price[end], back[end], unknown[end] = best, from_, strange
    pieces: list[str] = []
    strangers = 0
    end = length
    while end:
        start = back[end]
        if unknown[end]:
            start = end - unknown[end]
            strangers += unknown[end]
        pieces.append(word[start:end])
        end = start
    if len(pieces) < 2 or strangers > length * _MOST_UNKNOWN:
        return None
    return pieces[::-1]


class QuickSplit:
    """The same in one pass from left to right, always taking the longest word: for what is too long to weigh."""

    def __init__(self, words: Iterable[str]) -> None:
        longer = [word for word in words if len(word) > 1]
        self._automaton = ahocorasick_rs.AhoCorasick(longer, matchkind=ahocorasick_rs.MatchKind.LeftmostLongest)

    def split(self, word: str) -> str:
        """The words that stand in a long run of letters and digits, with spaces between them and what is left."""
        pieces: list[str] = []
        done = 0
        for _, start, end in self._automaton.find_matches_as_indexes(word):
            if start > done:
                pieces.append(word[done:start])
            pieces.append(word[start:end])
            done = end
        pieces.append(word[done:])
        return " ".join(pieces).rstrip()
