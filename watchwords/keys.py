"""Which words a pattern can not match without, so that most texts never meet the pattern itself.

A set of all patterns is one machine, and the gaps of a hundred and more patterns multiply its states: 1,200 us a
message for 109 of them, and past 8 MB it is not built at all. A pattern's keys are looked for in a text of bare words
(`bare`), most of them as words and the rest in the same way as phrases, and only the few patterns whose keys stand
there are tried, each by itself. A key knows where its words end: "od" is no key if it is found in "good".
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain

from watchwords.common import load_common_words

# More spellings than this of one stretch of a pattern are not written out. With 75 there are 55,000 keys and 5.4 parts
# tried for an everyday message, with 150 83,000 and 4.0, with 300 121,000 and 4.1 (November 2026, 461 entries).
MOST_KEYS = 150
# And than this, of a pattern whose alternatives each have a stretch of their own.
MOST_TOGETHER = 4_000
# A part of a word shorter than this stands in nearly every text.
SHORTEST_KEY = 3
_MOST_REPEATS = 2
# So many further stretches are asked for. An everyday message met 8.0 parts of patterns with the first alone, and 4.0
# where borders of words were unknown and one more was asked for; 2.5 like this (November 2026, 335 entries).
MOST_ALSO = 4
_FRAMES = ((r"\b(?:", r")\b"), ("(?:", ")"))
_BARE = bytes(code if re.match(r"[a-zA-Z0-9_]", chr(code)) else 32 for code in range(256))
# How a border of a word is spelt until it is known what stands beside it; no folded text holds this character.
_BORDER = "\b"
_OUTER_BORDER = re.compile(r"^\x08+(?=[a-z0-9_])|(?<=[a-z0-9_])\x08+$", re.MULTILINE)
_NOT_BARE = re.compile(r"[^a-z0-9_\x08\n]")
_TOO_SHORT = re.compile(rf"^(?! [^ \n]+ $) *[^ \n]?[^\n]{{0,{SHORTEST_KEY - 3}}}[^ \n]? *$", re.MULTILINE)
_WHOLE = re.compile(r"(?<= )[^ ]+(?= )")
_NOTHING, _BORDERED = frozenset({""}), frozenset({_BORDER})
_APART = " " + _BORDER
_OFTEN = {"?": (0, 1.0), "*": (0, math.inf), "+": (1, math.inf)}
# The syntax of patterns; Python's own parser took half of the time in which all keys are worked out. A repetition
# belongs to the last character before it, and what is in no alternative ("strange") is known to no list.
_TOKEN = re.compile(
    r"""(?P<words>\(\?:[a-z0-9 |]*\)) | (?P<open>\((?:\?:|(?!\?))) | (?P<close>\)) | (?P<bar>\|)
    | (?P<class>\[\^?\]?(?:\\.|\[:\^?[a-z]+:\]|[^\]\\])*\]) | (?P<repeat>(?:[?*+]|\{\d+(?:,\d*)?\})\??)
    | (?P<border>\\b) | (?P<edge>[$^]|\\[BAz]) | (?P<any>[.]|\\[dDwWsS]) | (?P<strange>\\[a-zA-Z0-9]|\(\?)
    | (?P<text>[^\\\[\]().|?*+{}^$]+(?![?*+{])|\\?.)""",
    re.VERBOSE | re.DOTALL,
)
_OF_CLASS = re.compile(r"(\\?.)(?:-(\\?.))?", re.DOTALL)
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


@lru_cache(4_096)
def alternatives_of(pattern: str) -> tuple[str, ...]:
    """Patterns that together match what `pattern` does: its alternatives, where it is nothing but alternatives.

    A frame of word borders and one group around all of them goes with each.
    """
    parts = _split(pattern)
    if len(parts) > 1:
        return tuple([one for part in parts for one in alternatives_of(part)])
    for before, after in _FRAMES:
        inner = pattern[len(before) : len(pattern) - len(after)]
        if pattern.startswith(before) and pattern.endswith(after) and _is_closed(inner):
            return tuple([before + part + after for part in _split(inner)])
    return (pattern,)


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


def bare(text: bytes) -> str:
    """A folded ASCII text as keys see it: letters, digits and "_" are themselves, all else is a space, also before it
    and after it.
    """
    return (b" %b " % text.translate(_BARE)).decode("ascii")


@dataclass(frozen=True, slots=True)
class Keys:
    """What stands in the bare form of whatever a pattern matches: one of `first`, which are texts that are seldom; and
    one of each of `also`, which are words.
    """

    first: frozenset[str]
    also: tuple[frozenset[str], ...]


@lru_cache(16_384)
def keys_of(pattern: str) -> Keys | None:
    """The keys of a pattern (re2 syntax, over folded text); None where nothing can be said that is seldom."""
    stretches = _good(_read(pattern).within)
    if not stretches:
        return None
    also: list[frozenset[str]] = []
    for run in stretches[1:]:
        # Of several words one is enough: to look for more costs more than to try the pattern in vain now and then.
        words = [min(found, key=_frequency) for found in map(_WHOLE.findall, run) if found]
        if len(words) == len(run):
            also.append(frozenset(words))
    return Keys(frozenset(stretches[0]), tuple(also[:MOST_ALSO]))


def _good(runs: Iterable[frozenset[str]]) -> list[list[str]]:
    """The stretches, in bare form, of which every spelling is a whole word at least, or a part that is not too short to
    look for; the most seldom first.
    """
    good: list[list[str]] = []
    for run in runs:
        # All spellings at once, one a line: a border at either end is a space, there and within one is a space already.
        lines = _NOT_BARE.sub(" ", "\n".join(run))
        if _BORDER in lines:
            lines = _OUTER_BORDER.sub(" ", lines).replace(_BORDER, "")
        if not _TOO_SHORT.search(lines):
            good.append(lines.split("\n"))
    if len(good) > 1:
        good.sort(key=_how_often)
    return good


def _how_often(keys: list[str]) -> tuple[float, int]:
    """In how many texts one of these stands, compared with others; and how many they are."""
    return sum([math.prod(map(_frequency, key.split())) for key in keys]), len(keys)


@lru_cache(50_000)
def _frequency(word: str) -> float:
    price = _PRICE_OF_COMMON if word in _COMMON else load_common_words().get(word)
    return math.exp(-min(_PRICE_OF_OTHERS if price is None else price, _PRICE_OF_A_LETTER * len(word)))


@dataclass(slots=True)
class _Part:
    """A part of a pattern: all that it can match, if that is finite and not too much; else stretches that every match
    of it has, each as all its spellings.

    `ends_apart`: whatever it matches ends with a space, if it is anything at all; `may_be_nothing`: it need not be.
    """

    spelt: frozenset[str] | None
    within: list[frozenset[str]] = field(default_factory=list)
    ends_apart: bool = False
    may_be_nothing: bool = False


@lru_cache(4_096)
def _spelt(words: frozenset[str]) -> _Part:
    ends_apart = all(not word or word[-1] in _APART for word in words)
    return _Part(words, [words], ends_apart, "" in words)


class _Sequence:
    """Parts that follow one another: added one by one, the last may still be repeated."""

    def __init__(self, *, is_apart: bool) -> None:
        """`is_apart`: whether a space, or the end of a word, is known to stand before it."""
        self._last = _spelt(_NOTHING)
        self._run = _BORDERED if is_apart else _NOTHING
        self._runs: list[frozenset[str]] = []
        self._was_apart = is_apart

    @property
    def is_apart(self) -> bool:
        """Whether that is known of what comes next."""
        return self._last.ends_apart and (self._was_apart or not self._last.may_be_nothing)

    def add(self, part: _Part) -> None:
        run, last = self._run, self._last
        self._was_apart = self.is_apart
        self._last = part
        if last.spelt is None:
            self._runs += [run, *last.within]
            # "(?:the |a )*die": what follows spaces, however many words they end, begins a word.
            self._run = _BORDERED if self._was_apart else _NOTHING
        elif len(run) * len(last.spelt) > MOST_KEYS:
            self._runs.append(run)
            self._run = last.spelt
        else:
            self._run = frozenset([before + after for before in run for after in last.spelt])

    def repeat(self, least: int, most: float) -> None:
        self._last = _repeated(self._last, least, most)

    def end(self) -> _Part:
        self.add(_spelt(_NOTHING))
        return _Part(None, [*self._runs, self._run], self._was_apart) if self._runs else _spelt(self._run)


def _read(pattern: str) -> _Part:
    """The whole of a pattern; nothing is known of one that holds what no list needs (flags, names, codes)."""
    sequence = _Sequence(is_apart=False)
    # What is open: the alternatives before this one, and the sequence that the group stands in.
    groups = [(list[_Part](), _Sequence(is_apart=False))]
    for token in _TOKEN.finditer(pattern):
        kind, text = token.lastgroup, token.group()
        if kind == "text":
            sequence.add(_spelt(frozenset({text.removeprefix("\\")})))
        elif kind == "words":
            words = frozenset(text[3:-1].split("|"))
            sequence.add(_spelt(words) if len(words) <= MOST_KEYS else _any_of([_spelt(frozenset({w})) for w in words]))
        elif kind == "open":
            groups.append(([], sequence))
            sequence = _Sequence(is_apart=sequence.is_apart)
        elif kind == "bar":
            groups[-1][0].append(sequence.end())
            sequence = _Sequence(is_apart=groups[-1][1].is_apart)
        elif kind == "close":
            branches, outer = groups.pop()
            outer.add(_any_of([*branches, sequence.end()]))
            sequence = outer
        elif kind == "repeat":
            sequence.repeat(*_times(text))
        elif kind in ("border", "edge"):
            sequence.add(_spelt(_BORDERED if kind == "border" else _NOTHING))
        elif kind == "class":
            letters = _letters(text[1:-1])
            sequence.add(_Part(None) if letters is None else _spelt(letters))
        elif kind == "any":
            sequence.add(_Part(None))
        elif kind == "strange":
            return _Part(None)
    return _any_of([*groups[0][0], sequence.end()])


def _any_of(branches: list[_Part]) -> _Part:
    """One of several parts: all their spellings; or, of each that is not spelt out, the most seldom stretch."""
    if len(branches) == 1:
        return branches[0]
    spelt = [branch.spelt for branch in branches if branch.spelt is not None]
    together = frozenset[str]().union(*spelt)
    if len(spelt) == len(branches) and len(together) <= MOST_KEYS:
        return _spelt(together)
    best = [_good(branch.within)[:1] for branch in branches]
    keys = frozenset[str]().union(*chain.from_iterable(best))
    within = [keys] if [] not in best and len(keys) <= MOST_TOGETHER else []
    return _Part(None, within, all(one.ends_apart for one in branches), any(one.may_be_nothing for one in branches))


def _times(written: str) -> tuple[int, float]:
    """How often at least and at most."""
    if written[0] in _OFTEN:
        return _OFTEN[written[0]]
    least, comma, most = written.rstrip("?")[1:-1].partition(",")
    return int(least), int(most) if most else math.inf if comma else int(least)


def _repeated(part: _Part, least: int, most: float) -> _Part:
    without = _Part(None, part.within if least else [], part.ends_apart, part.may_be_nothing or not least)
    if part.spelt is None or most > _MOST_REPEATS:
        return without
    out = _NOTHING if not least else frozenset[str]()
    power = _NOTHING
    for times in range(1, int(most) + 1):
        if len(power) * len(part.spelt) > MOST_KEYS:
            return without
        power = frozenset([before + after for before in power for after in part.spelt])
        if times >= least:
            out |= power
    return _spelt(out) if len(out) <= MOST_KEYS else without


def _letters(written: str) -> frozenset[str] | None:
    """Each character of a class; None for one of many, or that says what is not in it."""
    if written[0] == "^" or "[:" in written:
        return None
    out: set[str] = set()
    for found in _OF_CLASS.finditer(written):
        first, last = found[1], found[2]
        if first[0] == "\\" and first[1].isalnum():
            return None
        if last is None:
            out.add(first[-1])
        elif ord(last[-1]) - ord(first[-1]) < 10:
            out.update(map(chr, range(ord(first[-1]), ord(last[-1]) + 1)))
        else:
            return None
    return frozenset(out)
