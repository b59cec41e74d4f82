"""Which of the lists' patterns may stand in a text: found by their words, so that most texts meet no pattern at all."""

from collections.abc import Sequence
from itertools import chain

import ahocorasick_rs
import re2

from watchwords.keys import keys_of
from watchwords.lexicon import compiled


class Patterns:
    """Patterns (re2 syntax, over folded ASCII text), numbered as they were given.

    Those without keys, a few that are made of digits and signs, are one re2 set; it tells exactly which of them match.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._compiled = tuple(map(compiled, patterns))
        places: dict[str, list[int]] = {}
        self._keyless: list[int] = []
        self._set = re2.Set.SearchSet()
        for number, pattern in enumerate(patterns):
            keys = keys_of(pattern)
            if keys is None:
                self._keyless.append(number)
                self._set.Add(pattern.encode("ascii"))
            for key in keys or ():
                places.setdefault(key, []).append(number)
        self._set.Compile()
        self._numbers = tuple(map(tuple, places.values()))
        self._automaton = ahocorasick_rs.AhoCorasick(
            list(places), implementation=ahocorasick_rs.Implementation.ContiguousNFA if places else None
        )

    def __len__(self) -> int:
        return len(self._compiled)

    def __getitem__(self, number: int) -> "re2._Regexp[bytes]":
        return self._compiled[number]

    def perhaps_in(self, text: str, plain: bytes) -> list[int]:
        """The numbers of the patterns that may match, in order; all others do not.

        Args:
            text: the folded text. plain: the same in ASCII, a "?" for every other character.
        """
        hits = self._automaton.find_matches_as_indexes(text, overlapping=True)
        # Each key once: in a long text one key stands in a hundred places.
        found = set(chain.from_iterable([self._numbers[key] for key in {hit[0] for hit in hits}]))
        if self._keyless:
            # The set answers None, not an empty list, when nothing matches.
            found.update(self._keyless[number] for number in self._set.Match(plain) or ())
        return sorted(found)
