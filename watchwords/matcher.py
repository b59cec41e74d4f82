"""Where the lists' entries stand in a text, through its disguises, in time linear in the text.

All phrases of all lists are one automaton and all patterns one re2 set, so a message costs about the same against three
thousand phrases as against thirty. Only patterns that the set reports are looked up for their place.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import ahocorasick_rs
import re2

from watchwords.context import adjust
from watchwords.lexicon import Entry, Lexicon, load_lexicon
from watchwords.normalise import View, normalise
from watchwords.repair import Repairer

# Words of a long text are repaired window by window, so that padding can not use up the allowance of what follows it.
# The bound is what ten kilobytes of gibberish may cost; longer stretches of prose are read in the base view anyway.
WINDOW = 1_500
STRANGE_WORDS_A_WINDOW = 64
# More matches of one entry than this say nothing new. Contact details are exempt: each one must be masked.
MOST_OF_ONE = 8
MOST_CONTACTS = 1_000

_HALF = re.compile("[\ud800-\udfff]")
_TOKEN = re.compile(r"[a-z0-9@$!|+€*#_%?]{2,}")
_APART = bytes(code if re.match(r"[a-z0-9@$!|+*#_%?]", chr(code)) else 32 for code in range(256))
_WORD = re.compile(r"[a-z]{3,}")
_NOT_A_WORD = re.compile(r"\\.|(?<=[a-z])\(\?:[a-z |]+\)\??")


@dataclass(frozen=True, slots=True)
class Match:
    """One entry found in a text.

    `start` and `end` are half-open offsets into the original text. `view` names the reading in which it was found.
    `adjustments` are the reason codes of the context rules that lowered `level`; usually there are none.
    """

    entry_id: str
    category: str
    level: int
    start: int
    end: int
    view: str
    adjustments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """A text as it was read: every view that was made of it, the base view first, and every match in their order."""

    views: tuple[View, ...]
    matches: tuple[Match, ...]


class Matcher:
    """A lexicon, compiled. Immutable as far as anybody can see: new lists are a new matcher."""

    def __init__(self, lexicon: Lexicon) -> None:
        """Compile all phrases and patterns; a few hundredths of a second for some thousand phrases."""
        self.version = lexicon.version
        self.lexicon = lexicon
        self._entries = {entry.id: entry for entry in lexicon.entries}
        phrases: dict[str, list[tuple[Entry, bool]]] = {}
        for entry in lexicon.entries:
            for phrase in entry.phrases:
                phrases.setdefault(phrase, []).append((entry, True))
            for phrase in entry.exceptions:
                phrases.setdefault(phrase, []).append((entry, False))
        self._meanings = tuple(tuple(meanings) for meanings in phrases.values())
        self._automaton = ahocorasick_rs.AhoCorasick(
            list(phrases), implementation=ahocorasick_rs.Implementation.ContiguousNFA if phrases else None
        )
        # Patterns are ASCII and so is what they see (a stranger is one "?"): the engine is several times slower on wide
        # text, and offsets in bytes are then offsets in the view.
        self._patterns = tuple(
            (entry, re2.compile(entry.pattern.encode("ascii"))) for entry in lexicon.entries if entry.pattern
        )
        self._set = re2.Set.SearchSet()
        for entry, _ in self._patterns:
            self._set.Add(entry.pattern.encode("ascii"))
        self._set.Compile()
        self._repairer = Repairer(_vocabulary(lexicon))

    @classmethod
    def load(cls) -> "Matcher":
        """The matcher for the lists that come with the program, with their examples checked."""
        return cls(load_lexicon())

    @property
    def entry_count(self) -> int:
        """How many entries it looks for; 0 means that it can find nothing and must not be trusted."""
        return len(self._entries)

    def reason(self, entry_id: str) -> str:
        """Why an entry is on the list, in the plain words that moderators see."""
        return self._entries[entry_id].reason

    def find(self, text: str) -> tuple[Match, ...]:
        """Every entry of level 1 or more in the text, in the order of the text, adjusted for context.

        What is found inside an idiom (an entry of level 0) or touched by one of its entry's exceptions is left out.
        Never raises for any text.
        """
        return self.read(text).matches

    def read(self, text: str) -> Reading:
        """What `find` finds, and the views of the text in which it looked; for those who look further."""
        views = tuple(self._views(_whole(text)))
        found = self._found(views)
        found.sort(key=lambda match: (match.start, match.end, match.entry_id))
        return Reading(views, tuple(found))

    def entries_in(self, text: str) -> frozenset[str]:
        """The ids of all entries in the text, idioms included; for checking lists and explaining them."""
        return frozenset(match.entry_id for match in self._found(self._views(_whole(text)), idioms=True))

    def _found(self, views: Iterable[View], idioms: bool = False) -> list[Match]:
        out: list[Match] = []
        spans: dict[str, list[tuple[int, int]]] = {}
        for view in views:
            raw, excepted = self._in_view(view)
            if not raw:
                continue
            idiom_spans = [(start, end) for entry, start, end in raw if not entry.level]
            for entry, start, end in raw:
                if not entry.level and not idioms:
                    continue
                if entry.level and any(s <= start and end <= e for s, e in idiom_spans):
                    continue
                if any(name == entry.id and s < end and start < e for name, s, e in excepted):
                    continue
                known = spans.setdefault(entry.id, [])
                if len(known) >= (MOST_CONTACTS if entry.category == "P" else MOST_OF_ONE):
                    continue
                first, last = view.span(start, end)
                if not _take(known, first, last):
                    continue
                level, notes = adjust(view.text, start, end, entry.category, entry.level)
                out.append(Match(entry.id, entry.category, level, first, last, view.name, notes))
        return out

    def _views(self, text: str) -> Iterator[View]:
        for view in normalise(text).views:
            yield view
            if pieces := self._repairs(view.text):
                yield view.replaced("repaired" if view.name == "base" else f"{view.name}+repaired", pieces)

    def _repairs(self, text: str) -> list[tuple[int, int, str]]:
        """The words of a view that read as something else, as (start, end, what they read).

        What is read never depends on what was read before: the allowance counts the distinct strange words of a window,
        remembered or not.
        """
        pieces: list[tuple[int, int, str]] = []
        if self._repairer.all_stand(_apart(text) if text.isascii() else _TOKEN.findall(text)):
            return pieces
        window_end = WINDOW
        strange: set[str] = set()
        stands, read = self._repairer.stands, self._repairer.read
        for token in _TOKEN.finditer(text):
            word = token.group()
            if stands(word):
                continue
            if token.start() >= window_end:
                window_end = token.start() + WINDOW
                strange.clear()
            if word not in strange:
                if len(strange) >= STRANGE_WORDS_A_WINDOW:
                    continue
                strange.add(word)
            reads = read(word)
            if reads is not None:
                pieces.append((token.start(), token.end(), reads))
        return pieces

    def _in_view(self, view: View) -> tuple[list[tuple[Entry, int, int]], list[tuple[str, int, int]]]:
        """What stands in one view, by offsets in the view: (matches, exceptions)."""
        text = view.text
        raw: list[tuple[Entry, int, int]] = []
        excepted: list[tuple[str, int, int]] = []
        for index, start, end in self._automaton.find_matches_as_indexes(text, overlapping=True):
            if _inside_word(text, start, end):
                continue
            for entry, wanted in self._meanings[index]:
                if wanted:
                    raw.append((entry, start, end))
                else:
                    excepted.append((entry.id, start, end))
        plain = text.encode("ascii", "replace")
        # The set answers None, not an empty list, when nothing matches.
        for index in (self._set.Match(plain) or ()) if self._patterns else ():
            entry, pattern = self._patterns[index]
            most = MOST_CONTACTS if entry.category == "P" else MOST_OF_ONE
            for number, place in enumerate(pattern.finditer(plain)):
                if number >= most:
                    break
                raw.append((entry, place.start(), place.end()))
        return raw, excepted


def _whole(text: str) -> str:
    """The text with a stranger for each half of a character, which the automaton can not take; offsets hold."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return _HALF.sub("\ufffd", text)
    return text


def _take(taken: list[tuple[int, int]], start: int, end: int) -> bool:
    """Add a span to ordered, disjoint ones; False, and nothing added, if it overlaps one of them."""
    place = bisect_left(taken, (start, end))
    if place and taken[place - 1][1] > start:
        return False
    if place < len(taken) and taken[place][0] < end:
        return False
    taken.insert(place, (start, end))
    return True


def _apart(text: str) -> list[str]:
    """The tokens of an ASCII text in a third of the expression's time; single characters, which always stand, too."""
    return text.encode("ascii").translate(_APART).decode("ascii").split()


def _inside_word(text: str, start: int, end: int) -> bool:
    """True if a letter or digit goes on at either end, so that the match is part of a longer word."""
    return (start > 0 and text[start - 1].isalnum() and text[start].isalnum()) or (
        end < len(text) and text[end].isalnum() and text[end - 1].isalnum()
    )


def _vocabulary(lexicon: Lexicon) -> set[str]:
    """Every word of a phrase that leads somewhere, and the literal words of patterns."""
    words: set[str] = set()
    for entry in lexicon.entries:
        if entry.level:
            for phrase in entry.phrases:
                words.update(phrase.split())
            if entry.category != "P":
                words.update(_WORD.findall(_NOT_A_WORD.sub(" ", entry.pattern)))
    return words
