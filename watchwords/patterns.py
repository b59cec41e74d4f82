"""Which of the lists' patterns may stand in a text: found by their words, so that most texts meet no pattern at all."""

from collections.abc import Iterable, Sequence
from itertools import chain, islice

import ahocorasick_rs
import re2

from watchwords.keys import alternatives_of, bare, keys_of
from watchwords.lexicon import QUIET

# A long text is looked through in windows that overlap: otherwise each pattern with a word anywhere in it is tried on all
# of it, 40 ms for ten kilobytes of the lists' own words (November 2026). No match is longer than what two of them share,
# but for words that a pattern lets come again and again; it is cut there.
WINDOW, STEP = 500, 250

# The number of a pattern, of the place among those of the same part, and its half-open span.
Place = tuple[int, int, int, int]


class Patterns:
    """Patterns (re2 syntax, over folded ASCII text), in parts: their alternatives are looked for by themselves.

    An entry's many ways of saying a thing share no words: tried together they are tried for nearly every message, apart
    for few. Parts without keys, a few that are made of digits and signs, are one re2 set; it tells exactly which of them
    match.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        """Work out the keys of all parts; a part is compiled when it is first tried."""
        parts = [(part, number) for number, pattern in enumerate(patterns) for part in alternatives_of(pattern)]
        self._written = tuple(part for part, _ in parts)
        self._owners = tuple(number for _, number in parts)
        self._compiled: list[re2._Regexp[bytes] | None] = [None] * len(parts)
        keys = list(map(keys_of, self._written))
        self._keyless = [part for part, of_part in enumerate(keys) if of_part is None]
        self._set = re2.Set.SearchSet()
        for part in self._keyless:
            self._set.Add(self._written[part].encode("ascii"))
        self._set.Compile()
        # By first key: the parts that are looked at where it stands; most keys are found by the automaton.
        words: dict[str, list[int]] = {}
        texts: dict[str, list[int]] = {}
        for part, of_part in enumerate(keys):
            for key in of_part.first if of_part is not None else ():
                if key[0] == " " == key[-1] and " " not in (word := key[1:-1]):
                    words.setdefault(word, []).append(part)
                else:
                    texts.setdefault(key, []).append(part)
        self._by_word = {word: tuple(found) for word, found in words.items()}
        self._by_text = tuple(map(tuple, texts.values()))
        self._automaton = ahocorasick_rs.AhoCorasick(
            list(texts), implementation=ahocorasick_rs.Implementation.ContiguousNFA if texts else None
        )
        # By part: sets of words of each of which one must stand there as well.
        self._also = tuple([of_part.also if of_part is not None else () for of_part in keys])

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
            known = self._compiled[part] = re2.compile(self._written[part].encode("ascii"), QUIET)
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
        words = set(text.split())
        by_word, by_text, also = self._by_word, self._by_text, self._also
        found = {part for word in words if word in by_word for part in by_word[word]}
        # Each key once: in a long text one key stands in a hundred places.
        for key in {hit[0] for hit in self._automaton.find_matches_as_indexes(text, overlapping=True)}:
            found.update(by_text[key])
        parts = [part for part in found if not any(map(words.isdisjoint, also[part]))]
        if self._keyless:
            # The set answers None, not an empty list, when nothing matches.
            parts += [self._keyless[number] for number in self._set.Match(plain) or ()]
        return sorted(parts)
