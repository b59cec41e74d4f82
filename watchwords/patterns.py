"""Which of the lists' patterns may stand in a text: found by their words, so that most texts meet no pattern at all."""

from collections.abc import Iterable, Sequence
from itertools import chain, islice

import ahocorasick_rs
import re2

from watchwords.keys import bare
from watchwords.lexicon import compiled
from watchwords.prepared import parts_of

# A long text is looked through in windows that overlap: otherwise each pattern with a word anywhere in it is tried on
# all of it. No match is longer than what two windows share, but for words that a pattern lets come again and again: it
# is cut there.
WINDOW, STEP = 500, 250

# The number of a pattern, of the place among those of the same part, and its half-open span.
Place = tuple[int, int, int, int]


class Patterns:
    """Patterns (re2 syntax, over folded ASCII text), in parts: their alternatives are looked for by themselves.

    An entry's many ways of saying a thing share no words: tried together they are tried for nearly every message, apart
    for few. Parts without keys, a few that are made of digits and signs, are one re2 set; it tells exactly which of
    them match.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        """Work out the keys of all parts; one that was not compiled when it was checked is when it is first tried."""
        parts = [(part, number) for number, pattern in enumerate(patterns) for part in parts_of(pattern)]
        self._written = tuple(part.written for part, _ in parts)
        self._owners = tuple(number for _, number in parts)
        self._compiled: list[re2._Regexp[bytes] | None] = [None] * len(parts)
        keys = [part.keys for part, _ in parts]
        self._keyless = [part for part, of_part in enumerate(keys) if of_part is None]
        self._set = re2.Set.SearchSet()
        for part in self._keyless:
            self._set.Add(self._written[part].encode("ascii"))
        self._set.Compile()
        # By first key: the parts that are looked at where it stands; most keys are found by the automaton.
        by_word: dict[str, list[int]] = {}
        by_text: dict[str, list[int]] = {}
        # What must stand there as well: each set of words is a bit, a word has those of its sets, and a part needs its
        # own. Asking each part's sets for a common word takes 16 us a message of the corpus, this 8 (November 2026).
        bits: dict[frozenset[str], int] = {}
        self._needs: list[int] = []
        for part, of_part in enumerate(keys):
            for key in of_part.first if of_part is not None else ():
                if key[0] == " " == key[-1] and " " not in (word := key[1:-1]):
                    by_word.setdefault(word, []).append(part)
                else:
                    by_text.setdefault(key, []).append(part)
            also = of_part.also if of_part is not None else ()
            self._needs.append(sum({1 << bits.setdefault(one, len(bits)) for one in also}))
        has: dict[str, int] = {}
        for one, bit in bits.items():
            for word in one:
                has[word] = has.get(word, 0) | 1 << bit
        self._words = {word: (has.get(word, 0), tuple(by_word.get(word, ()))) for word in has.keys() | by_word.keys()}
        self._by_text = tuple(map(tuple, by_text.values()))
        self._automaton = ahocorasick_rs.AhoCorasick(
            list(by_text), implementation=ahocorasick_rs.Implementation.ContiguousNFA if by_text else None
        )

    def find(self, plain: bytes, most: Sequence[int]) -> "Iterable[Place]":
        """Where the patterns stand, those that were given first first.

        Args:
            plain: the folded text in ASCII, a "?" for every other character.
            most: for each pattern, how many places are told of each of its parts.
        """
        if len(plain) <= WINDOW:
            return [
                (self._owners[part], number, place.start(), place.end())
                for part in self.perhaps_in(plain)
                for number, place in enumerate(islice(self._part(part).finditer(plain), most[self._owners[part]]))
            ]
        return self._find_in_windows(plain, most)

    def _find_in_windows(self, plain: bytes, most: Sequence[int]) -> "Iterable[Place]":
        found: dict[int, list[Place]] = {}
        for begin in range(0, len(plain), STEP):
            # With the character before it, which tells whether a word begins.
            for part in self.perhaps_in(plain[max(0, begin - 1) : begin + WINDOW]):
                owner = self._owners[part]
                places = found.setdefault(part, [])
                after = max(begin, places[-1][3] if places else 0)
                for place in self._part(part).finditer(plain, after, begin + WINDOW):
                    # What begins later is found whole in the next window.
                    if place.start() >= begin + STEP or len(places) >= most[owner]:
                        break
                    places.append((owner, len(places), place.start(), place.end()))
        return chain.from_iterable(places for _, places in sorted(found.items()))

    def _part(self, part: int) -> "re2._Regexp[bytes]":
        known = self._compiled[part]
        if known is None:
            known = self._compiled[part] = compiled(self._written[part])
        return known

    def owner(self, part: int) -> int:
        """The number, as they were given, of the pattern that a part belongs to."""
        return self._owners[part]

    def perhaps_in(self, plain: bytes) -> list[int]:
        """The parts that may match, in order; all others do not.

        Args:
            plain: the folded text in ASCII, a "?" for every other character.
        """
        text = bare(plain)
        has, found = 0, set[int]()
        for word in self._words.keys() & text.split():
            bits, parts_of_word = self._words[word]
            has |= bits
            found.update(parts_of_word)
        # Each key once: in a long text one key stands in a hundred places.
        for key in {hit[0] for hit in self._automaton.find_matches_as_indexes(text, overlapping=True)}:
            found.update(self._by_text[key])
        needs = self._needs
        parts = [part for part in found if (needed := needs[part]) & has == needed]
        if self._keyless:
            # The set answers None, not an empty list, when nothing matches.
            parts += [self._keyless[number] for number in self._set.Match(plain) or ()]
        return sorted(parts)
