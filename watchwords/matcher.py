"""Where the lists' entries stand in a text, through its disguises, in time linear in the text.

All phrases of all lists are one automaton and all patterns one re2 set, so a message costs about the same against three
thousand phrases as against thirty. Only patterns that the set reports are looked up for their place.
"""

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from pathlib import Path

import ahocorasick_rs

from watchwords.context import HYPERBOLE, adjust
from watchwords.lexicon import LISTS, Entry, Lexicon
from watchwords.normalise import View
from watchwords.patterns import Patterns
from watchwords.reading import Reader, Work
from watchwords.slang import PLAIN
from watchwords.slang import plain as plain_words

# More matches of one entry than this say nothing new. Contact details must all be masked: of them there are more, and
# where even these do not suffice one more match reaches to the end of the text.
MOST_OF_ONE = 8
MOST_CONTACTS = 200
# Matches whose context is looked at, in one text; the rest keep the level of their entry.
MOST_IN_CONTEXT = 24
# Views that are made because another one holds slang, and terms that are read plainly in each.
MOST_PLAIN_VIEWS, MOST_SLANG = 2, 200

# Entries of level 0 whose ids begin so leave grey what is found wholly inside them, where the others drop it.
JEST = "jest-"
_WORD = re.compile(r"[a-z]{3,}")
# "i s/h" is slang, the beginning of "i s/h/a/l/l" is not.
_MARKS_BETWEEN = frozenset("/|*~_\\")
_NO_NOTES: tuple[str, ...] = ()
_FAR = 1 << 40
_NOT_A_WORD = re.compile(r"\\.|(?<=[a-z])(?<!\\[a-z])\(\?:[a-z |]+\)\??")


@dataclass(frozen=True, slots=True)
class Match:
    """One entry found in a text.

    `start` and `end` are half-open offsets into the original text. `view` names the reading in which it was found.
    `adjustments` are the codes of the context terms that hold there (`context.TERMS`): some lowered `level`, most only
    say what it is about; often there are none.
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
    """A text as it was read: every view that was made of it, the base view first, every match in the order of the
    original, and what it took.
    """

    views: tuple[View, ...]
    matches: tuple[Match, ...]
    work: Work


class Matcher:
    """A lexicon, compiled. Immutable as far as anybody can see: new lists are a new matcher."""

    def __init__(self, lexicon: Lexicon) -> None:
        """Compile all phrases and patterns; a few hundredths of a second for some thousand phrases."""
        self.version = lexicon.version
        self.lexicon = lexicon
        self._entries = {entry.id: entry for entry in lexicon.entries}
        # What the place of each entry means: the entry, and an exception of those that give way to it.
        means: dict[str, tuple[tuple[Entry, bool], ...]] = {entry.id: ((entry, True),) for entry in lexicon.entries}
        for entry in lexicon.entries:
            for other in entry.unless:
                means[other] += ((entry, False),)
        meanings: dict[str, tuple[tuple[Entry, bool], ...]] = dict.fromkeys(PLAIN, ())
        for entry in lexicon.entries:
            # One tuple for all phrases of an entry: a hundred thousand of their own take half a second to build.
            for phrases, meaning in ((entry.phrases, means[entry.id]), (entry.exceptions, ((entry, False),))):
                for phrase in phrases:
                    known = meanings.get(phrase)
                    meanings[phrase] = known + meaning if known else meaning
        self._meanings = tuple(meanings.values())
        self._automaton = ahocorasick_rs.AhoCorasick(
            list(meanings), implementation=ahocorasick_rs.Implementation.ContiguousNFA
        )
        # Patterns are ASCII and so is what they see (a stranger is one "?"): the engine is several times slower on wide
        # text, and offsets in bytes are then offsets in the view.
        patterned = [entry for entry in lexicon.entries if entry.pattern]
        self._patterned = tuple(means[entry.id] for entry in patterned)
        self._most = tuple([MOST_CONTACTS + 1 if entry.category == "P" else MOST_OF_ONE for entry in patterned])
        self._patterns = Patterns([entry.pattern for entry in patterned])
        self._reader = Reader(_vocabulary(lexicon))

    @classmethod
    def load(cls, path: Path = LISTS) -> "Matcher":
        """The matcher for the lists that come with the program, or for others, with their examples checked.

        Raises:
            LexiconError: anything is wrong with the lists.
        """
        from watchwords.lint import load_matcher

        return load_matcher(path)

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
        return self._read(text, idioms=False)

    def entries_in(self, text: str) -> frozenset[str]:
        """The ids of all entries in the text, idioms included; for checking lists and explaining them. No context is
        read: it changes levels only.
        """
        return frozenset(match.entry_id for match in self._read(text, idioms=True).matches)

    def _read(self, text: str, idioms: bool) -> Reading:
        views, work = self._reader.views(text)
        seen: list[tuple[View, _Seen]] = []
        plain: list[View] = []
        for view in views:
            found = self._in_view(view)
            if found is None:
                continue
            seen.append((view, found))
            if found.slang and len(plain) < MOST_PLAIN_VIEWS:
                plain.append(_plainly(view, found.slang))
        for view in plain:
            if (found := self._in_view(view)) is not None:
                seen.append((view, found))
            work.views += 1
            work.characters += len(view.text)
        matches = self._matches(seen, idioms) if seen else []
        return Reading((*views, *plain), tuple(matches), work)

    def _matches(self, seen: "list[tuple[View, _Seen]]", idioms: bool) -> list[Match]:
        """What counts of all that was seen, by offsets in the original; idioms and exceptions hold for every view."""
        excused: dict[str, list[tuple[int, int]]] = {}
        for view, found in seen:
            for entry_id, start, end in found.excused:
                excused.setdefault(entry_id, []).append(view.span(start, end))
        covers = {name: _Spans(spans) for name, spans in excused.items()}
        idiom, jest = covers.get(""), covers.get(JEST)
        out: list[Match] = []
        taken: dict[str, list[tuple[int, int]]] = {}
        in_context = 0
        # The most repaired first: its context is read best ("i neever wanted to die").
        for view, found in reversed(seen):
            for entry, start, end in found.raw:
                if not entry.level and not idioms:
                    continue
                known = taken.setdefault(entry.id, [])
                if len(known) > (MOST_CONTACTS if entry.category == "P" else MOST_OF_ONE - 1):
                    continue
                first, last = view.span(start, end)
                if entry.level and idiom is not None and idiom.hold(first, last):
                    continue
                if entry.id in covers and covers[entry.id].touch(first, last):
                    continue
                if not _take(known, first, last):
                    continue
                level, notes = entry.level, _NO_NOTES
                if level > 1 and in_context < MOST_IN_CONTEXT and not idioms:
                    in_context += 1
                    level, notes = adjust(view.text, start, end, entry.category, entry.level)
                if level == 2 and jest is not None and jest.hold(first, last):
                    level, notes = 1, (HYPERBOLE, *notes)
                out.append(Match(entry.id, entry.category, level, first, last, view.name, notes))
        out.sort(key=lambda match: (match.start, match.end, match.entry_id))
        return out

    def _in_view(self, view: View) -> "_Seen | None":
        """What stands in one view, by offsets in the view; None if nothing does."""
        text = view.text
        found: _Seen | None = None
        for index, start, end in self._automaton.find_matches_as_indexes(text, overlapping=True):
            if _inside_word(text, start, end):
                continue
            if found is None:
                found = _Seen()
            found.add(self._meanings[index], start, end)
            if index < len(PLAIN) and len(found.slang) < MOST_SLANG and text[end : end + 1] not in _MARKS_BETWEEN:
                found.slang.append((start, end))
        plain = text.encode("ascii", "replace")
        for pattern, number, start, end in self._patterns.find(plain, self._most):
            if found is None:
                found = _Seen()
            found.add(self._patterned[pattern], start, len(text) if number == MOST_CONTACTS else end)
        return found


@dataclass(slots=True)
class _Seen:
    """What stands in one view, by half-open offsets in it: entries; what excuses them (an entry's id, "" for an
    idiom, which excuses all, or JEST); and slang.
    """

    raw: list[tuple[Entry, int, int]] = field(default_factory=list)
    excused: list[tuple[str, int, int]] = field(default_factory=list)
    slang: list[tuple[int, int]] = field(default_factory=list)

    def add(self, meanings: tuple[tuple[Entry, bool], ...], start: int, end: int) -> None:
        """Note what one span means: (entry, True) for the entry itself, (entry, False) for an exception of it."""
        for entry, wanted in meanings:
            if not wanted:
                self.excused.append((entry.id, start, end))
                continue
            self.raw.append((entry, start, end))
            if not entry.level:
                self.excused.append((JEST if entry.id.startswith(JEST) else "", start, end))


class _Spans:
    """Spans of a text, asked whether one of them holds or touches another; each answer by bisection."""

    def __init__(self, spans: list[tuple[int, int]]) -> None:
        self._sorted = sorted(spans)
        self._furthest: list[int] = []
        furthest = 0
        for _, end in self._sorted:
            furthest = max(furthest, end)
            self._furthest.append(furthest)

    def hold(self, start: int, end: int) -> bool:
        """True if a span begins at or before `start` and ends at or after `end`."""
        place = bisect_right(self._sorted, (start, _FAR))
        return place > 0 and self._furthest[place - 1] >= end

    def touch(self, start: int, end: int) -> bool:
        """True if a span has a character in common with this one."""
        place = bisect_left(self._sorted, (end, 0))
        return place > 0 and self._furthest[place - 1] > start


def _plainly(view: View, slang: list[tuple[int, int]]) -> View:
    """The view with each slang term said plainly; of two that overlap, the longer."""
    pieces: list[tuple[int, int, str]] = []
    done = 0
    for start, end in sorted(slang, key=lambda span: (span[0], -span[1])):
        if start < done:
            continue
        says = plain_words(view.text[start:end], view.text[end : end + 20])
        before = "" if start == 0 or view.text[start - 1] == " " else " "
        after = "" if end == len(view.text) or view.text[end] == " " else " "
        pieces.append((start, end, f"{before}{says}{after}"))
        done = end
    return view.replaced("plain" if view.name == "base" else f"{view.name}+plain", pieces)


def _take(taken: list[tuple[int, int]], start: int, end: int) -> bool:
    """Add a span to ordered, disjoint ones; False, and nothing added, if it overlaps one of them."""
    place = bisect_left(taken, (start, end))
    if place and taken[place - 1][1] > start:
        return False
    if place < len(taken) and taken[place][0] < end:
        return False
    taken.insert(place, (start, end))
    return True


def _inside_word(text: str, start: int, end: int) -> bool:
    """True if a letter or digit goes on at either end, so that the match is part of a longer word."""
    return (start > 0 and text[start - 1].isalnum() and text[start].isalnum()) or (
        end < len(text) and text[end].isalnum() and text[end - 1].isalnum()
    )


def _vocabulary(lexicon: Lexicon) -> dict[str, int]:
    """Every word of a phrase, and the literal words of patterns, each the weightier the more and the graver the entries
    that it stands in. Idioms and exceptions count too: mistyped, they must still be seen.
    """
    weights: dict[str, int] = {}
    for entry in lexicon.entries:
        words = set(" ".join((*entry.phrases, *entry.exceptions)).split())
        if entry.category != "P":
            words.update(_WORD.findall(_NOT_A_WORD.sub(" ", entry.pattern)))
        for word in words:
            weights[word] = weights.get(word, 0) + 1 + entry.level
    return weights
