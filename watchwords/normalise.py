"""One text seen through its disguises, each view with a map back to the original.

Decided here: how characters are folded and which whole-text disguises (spaced letters, marks inside words) are
undone. What happens to single words (leet, stars, typing errors, joined words) needs a vocabulary and is in `repair`.

Nothing is cut off: every character of the text is in the base view or is one that a reader can not see.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from watchwords.lookalikes import lookalikes

# A single character that would grow beyond this (Arabic ligatures grow to 18) stays itself: growth is how ten
# kilobytes of input became ninety milliseconds of work. Nothing up to this length that spells Latin text is lost.
_MOST_GROWTH = 4
_CACHE_SIZE = 8_192

_GONE = frozenset("'`´‘’‚‛ʼʹʻ′＇")
# Other letters, symbols, and what is not assigned: nothing to fold, once it is known that it resembles nothing.
_PLAIN_KINDS = frozenset({"Lo", "So", "Cn", "Co"})
_WORD_RUN = re.compile(r" {2,}")
# Three or more single letters or digits with up to three other characters between them: "k i l l", "k.i.l.l", "k - i
# - l - l".
_SPACED = re.compile(r"(?<![a-z0-9])[a-z0-9](?:[^a-z0-9]{1,3}[a-z0-9]){2,}(?![a-z0-9])")
_INSIDE = re.compile(r"(?<=[a-z0-9])[^a-z0-9\s]+(?=[a-z0-9])")
_NOT_WORD = re.compile(r"[^a-z0-9]+")
# Whatever is not a word or the one space between two.
_MARKS = re.compile(r" ?[^a-z0-9 ][^a-z0-9]*| {2,}")
_WHITE = re.compile(r"\s+")
_ALNUM = re.compile(r"[a-z0-9]")
_HYPHEN = re.compile(r"[^\W_]-[^\W_]")
_HYPHENS = dict.fromkeys(map(ord, "-‐‑"), "_")
_MOST_WITH_GAPS = 2_000
# The space for an apostrophe that many phones write: "i m", "don t", "they ve". What is asked of every text, and what
# of the few that it holds for.
_TAIL = re.compile(r" (?:m|t|s|d|re|ve|ll)(?= |$)")
_BEFORE_T = "don can won didn doesn isn wasn aren weren ain haven hasn hadn couldn wouldn shouldn"
_TORN = re.compile(
    "|".join(
        (
            r"(?<=\bi) (?=(?:m|d|ve|ll)\b)",
            *(rf"(?<=\b{word}) (?=(?:d|re|ve|ll)\b)" for word in ("you", "we", "they")),
            *(rf"(?<=\b{word}) (?=(?:s|d|ll)\b)" for word in ("he", "she", "it")),
            *(rf"(?<=\b{word}) (?=s\b)" for word in ("that", "there", "what", "who")),
            *(rf"(?<=\b{word}) (?=t\b)" for word in _BEFORE_T.split()),
        )
    )
)


def _fold_character(character: str) -> str:
    """The folded form of one character: "" if a reader can not see it or it is an apostrophe, " " for any kind of
    space.
    """
    # Half a character: no engine takes it, and nobody can see it.
    if "\ud800" <= character <= "\udfff":
        return "\ufffd"
    # Before case folding: one combining mark folds to a letter.
    if character in _GONE or unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return ""
    # Before compatibility folding too, which makes another letter of some: the lunate sigma looks like c, not s.
    if (plain := _LOOKALIKES.get(character)) is not None:
        return " " if plain == "-" else plain
    kind = unicodedata.category(character)
    if kind in _PLAIN_KINDS and not unicodedata.decomposition(character) and character not in "ᅟᅠㅤﾠ":
        return character
    wide = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", character))
    if len(wide) > _MOST_GROWTH:
        return character
    folded = []
    for letter in wide:
        for part in unicodedata.normalize("NFKD", _LOOKALIKES.get(letter, letter).casefold()):
            category = unicodedata.category(part)
            if part in _GONE or category in {"Mn", "Me", "Cf"} or part in "ᅟᅠㅤﾠ":
                continue
            if category in {"Cc", "Zs", "Zl", "Zp"}:
                folded.append(" ")
                continue
            plain = _LOOKALIKES.get(part, part)
            folded.append(" " if plain == "-" else plain)
    return "".join(folded)


class _Folding(dict[int, str]):
    """A `str.translate` table that works characters out when first met, and forgets them all when it grows too
    large.
    """

    def __missing__(self, code: int) -> str:
        if len(self) > _CACHE_SIZE:
            self.clear()
        folded = self[code] = _fold_character(chr(code))
        return folded


_LOOKALIKES = lookalikes()
_FOLDING = _Folding()
# ASCII folds to one character or none, so that bytes do: 0.4 us instead of 1-10 us for 200 characters.
_ASCII = bytes(ord(_fold_character(chr(code)) or " ") if code < 128 else 0 for code in range(256))
_ASCII_GONE = bytes(code for code in range(128) if not _fold_character(chr(code)))
# A text as letters and digits ("a"), spaces and the rest ("."): what the expressions below ask for shows in it, and
# looking there takes 1 us where they take 15 (200 characters of prose).
_SHAPES = bytes(
    ord("a") if chr(code).isalnum() and code < 128 else ord(" ") if chr(code).isspace() else ord(".")
    for code in range(256)
)
_NO_MARKS = bytes.maketrans(b".", b" ")
_LONE_LETTERS = (b" a a ", b" a  a ", b" a   a ")


@dataclass(slots=True)
class View:
    """One reading of a text.

    `text` holds lower-case words with single spaces. `span` maps half-open offsets in it to half-open offsets in the
    original. The map is worked out when first asked for: most texts match nothing.
    """

    name: str
    text: str
    _original: str
    _parent: "View | None" = None
    _pieces: tuple[tuple[int, int, str], ...] = ()
    _pattern: "re.Pattern[str] | None" = None
    _with: str = ""
    _at: list[int] | None = None
    _starts: Sequence[int] | None = None
    _ends: Sequence[int] | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The half-open span of the original text that the non-empty half-open span of this view came from."""
        if self._parent is None:
            starts, ends = self.offsets()
            return starts[start], ends[end - 1]
        first, _ = self._in_parent(start)
        _, last = self._in_parent(end - 1)
        return self._parent.span(first, last)

    def offsets(self) -> tuple[Sequence[int], Sequence[int]]:
        """For each character of the view, where its part of the original starts and ends."""
        if self._starts is None or self._ends is None:
            if self._parent is None:
                self._starts, self._ends = _offsets(self._original, len(self.text))
            else:
                spans = [self.span(place, place + 1) for place in range(len(self.text))]
                self._starts, self._ends = [start for start, _ in spans], [end for _, end in spans]
        return self._starts, self._ends

    def _in_parent(self, place: int) -> tuple[int, int]:
        """The half-open span of the parent that one character came from: by bisection, so that a view of which little
        is asked costs little.
        """
        assert self._parent is not None
        if self._at is None:
            if self._pattern is not None:
                spans = [m.span() for m in self._pattern.finditer(self._parent.text)]
                self._pieces = tuple([(start, end, self._with) for start, end in spans])
            shift = 0
            self._at = []
            for start, end, reads in self._pieces:
                self._at.append(start + shift)
                shift += len(reads) - (end - start)
        index = bisect_right(self._at, place) - 1
        if index < 0:
            return place, place + 1
        start, end, reads = self._pieces[index]
        beyond = place - self._at[index] - len(reads)
        return (start, end) if beyond < 0 else (end + beyond, end + beyond + 1)

    def replaced(self, name: str, pieces: Iterable[tuple[int, int, str]]) -> "View":
        """A view in which each piece (start, end, what it reads instead) is replaced; pieces are ordered and disjoint.

        Every character of a replacement maps to the whole of what it replaces.
        """
        kept = tuple(pieces)
        text: list[str] = []
        done = 0
        for start, end, reads in kept:
            text += (self.text[done:start], reads)
            done = end
        text.append(self.text[done:])
        return View(name, "".join(text), self._original, self, kept)

    def substituted(self, name: str, pattern: "re.Pattern[str]", reads: str) -> "View":
        """A view in which whatever `pattern` finds reads as `reads`; where that was is worked out when asked for."""
        return View(name, pattern.sub(reads, self.text), self._original, self, (), pattern, reads)


@dataclass(frozen=True, slots=True)
class Views:
    """All readings of one text, the base view first."""

    original: str
    views: tuple[View, ...]

    @property
    def base(self) -> View:
        """The folded text itself."""
        return self.views[0]


def fold(text: str) -> str:
    """The base reading of a text: lower case, look-alikes and accents undone, invisible characters and apostrophes
    gone, hyphens and white space as single spaces. List phrases are folded in the same way.
    """
    if text.isascii():
        folded = text.encode("ascii").translate(_ASCII, _ASCII_GONE).decode("ascii")
    else:
        folded = text.translate(_FOLDING)
    return _WORD_RUN.sub(" ", folded) if "  " in folded else folded


def normalise(text: str) -> Views:
    """Every reading of a text that a cheap look at it calls for. Never raises; time and size are linear in the text."""
    base = View("base", fold(text), text)
    found = [base]
    # Strangers are one "?" each, which is no letter.
    shape = base.text.encode("ascii", "replace").translate(_SHAPES)
    has_marks = b"a.a" in shape or b".." in shape or "_" in base.text
    if has_marks:
        found.append(as_words(base))
    if "-" in text and _HYPHEN.search(text):
        # A hyphen is a space to the base view; here it is a mark between letters like any other.
        marked = text.translate(_HYPHENS)
        joined = View("base", fold(marked), marked).substituted("joined", _INSIDE, "")
        found.append(joined)
    elif has_marks and _INSIDE.search(base.text):
        found.append(base.substituted("joined", _INSIDE, ""))
    apart = b" %b " % shape.translate(_NO_MARKS)
    if any(letters in apart for letters in _LONE_LETTERS):
        # Gaps tell where words end; in a long text what they spell falls apart by itself, and is not worth the time.
        has_gaps = "  " in text and len(base.text) <= _MOST_WITH_GAPS
        spell = partial(_despaced_by_gaps, base) if has_gaps else _despaced
        spaced = [(m.start(), m.end(), spell(m)) for m in _SPACED.finditer(base.text)]
        if spaced:
            found.append(base.replaced("despaced", spaced))
    if _TAIL.search(base.text) and _TORN.search(base.text):
        found.append(base.substituted("torn", _TORN, ""))
    return Views(text, tuple(found))


def as_words(view: View) -> View:
    """The view with nothing but words and single spaces."""
    return view.substituted("words" if view.name == "base" else f"{view.name}+words", _MARKS, " ")


def _despaced(run: re.Match[str]) -> str:
    """What single letters spell."""
    return _NOT_WORD.sub("", run.group())


def _despaced_by_gaps(base: View, run: re.Match[str]) -> str:
    """The same, but where more spaces stand between two of them than elsewhere, a word ends."""
    starts, ends = base.offsets()
    places = [m.start() for m in _ALNUM.finditer(base.text, run.start(), run.end())]
    gaps = [_widest(base._original[ends[before] : starts[place]]) for before, place in pairwise(places)]
    narrowest = min(gaps)
    letters = [base.text[places[0]]]
    for gap, place in zip(gaps, places[1:], strict=True):
        letters.append(" " + base.text[place] if gap > narrowest else base.text[place])
    return "".join(letters)


def _widest(gap: str) -> int:
    """The length of the longest run of white space."""
    return max((len(run) for run in _WHITE.findall(gap)), default=0)


def _offsets(text: str, length: int) -> tuple[Sequence[int], Sequence[int]]:
    """The offset maps of `fold(text)`, which has that length: the same walk, a character at a time."""
    if text.isascii() and length == len(text):
        return range(length), range(1, length + 1)
    parts = list(map(_FOLDING.__getitem__, map(ord, text)))
    sizes = set(map(len, parts))
    if sizes == {1} and length == len(text):
        return range(length), range(1, length + 1)
    if max(sizes, default=0) < 2:
        kept = [place for place, part in enumerate(parts) if part]
    else:
        kept = [place for place, part in enumerate(parts) for _ in part]
        parts = [letter for part in parts for letter in part]
    if len(kept) == length:  # no spaces were joined
        return kept, [place + 1 for place in kept]
    letters = [part for part in parts if part]
    # Of each run of spaces the first is kept, and it ends where the last does.
    heads = [n for n, letter in enumerate(letters) if letter != " " or not n or letters[n - 1] != " "]
    return [kept[n] for n in heads], [kept[after - 1] + 1 for after in (*heads[1:], len(kept))]
