"""Which of the lists' patterns may stand in a text: found by their words, so that most texts meet no pattern at all."""

from collections.abc import Sequence
from itertools import chain

import ahocorasick_rs
import re2

from watchwords.keys import alternatives_of, keys_of
from watchwords.lexicon import compiled


class Patterns:
    """Patterns (re2 syntax, over folded ASCII text), in parts: their alternatives are looked for by themselves.

    An entry's many ways of saying a thing share no words. Tried together they cost 200 us a message, for nearly every
    message has a word of some of them, and apart 44. Parts without keys, a few that are made of digits and signs, are
    one re2 set; it tells exactly which of them match.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        parts = [(part, number) for number, pattern in enumerate(patterns) for part in alternatives_of(pattern)]
        self._compiled = tuple(compiled(part) for part, _ in parts)
        self._owners = tuple(number for _, number in parts)
        places: dict[str, list[int]] = {}
        self._keyless: list[int] = []
        self._set = re2.Set.SearchSet()
        # By part: the texts of which one must stand there as well.
        also: dict[int, frozenset[str]] = {}
        for place, (part, _) in enumerate(parts):
            keys = keys_of(part)
            if not keys:
                self._keyless.append(place)
                self._set.Add(part.encode("ascii"))
                continue
            for key in keys[0]:
                places.setdefault(key, []).append(place)
            for other in keys[1:]:
                also[place] = other
                for key in other:
                    places.setdefault(key, [])
        self._set.Compile()
        self._numbers = tuple(map(tuple, places.values()))
        ids = {key: number for number, key in enumerate(places)}
        self._also = {place: frozenset(map(ids.__getitem__, keys)) for place, keys in also.items()}
        self._automaton = ahocorasick_rs.AhoCorasick(
            list(places), implementation=ahocorasick_rs.Implementation.ContiguousNFA if places else None
        )

    def __len__(self) -> int:
        return len(self._compiled)

    def __getitem__(self, part: int) -> "re2._Regexp[bytes]":
        return self._compiled[part]

    def owner(self, part: int) -> int:
        """The number, as they were given, of the pattern that a part belongs to."""
        return self._owners[part]

    def perhaps_in(self, text: str, plain: bytes) -> list[int]:
        """The parts that may match, in order; all others do not.

        Args:
            text: the folded text. plain: the same in ASCII, a "?" for every other character.
        """
        hits = self._automaton.find_matches_as_indexes(text, overlapping=True)
        # Each key once: in a long text one key stands in a hundred places.
        keys = {hit[0] for hit in hits}
        found = set(chain.from_iterable([self._numbers[key] for key in keys]))
        also = self._also
        found = {part for part in found if part not in also or not keys.isdisjoint(also[part])}
        if self._keyless:
            # The set answers None, not an empty list, when nothing matches.
            found.update(self._keyless[number] for number in self._set.Match(plain) or ())
        return sorted(found)
