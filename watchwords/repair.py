"""Single words read as what they were meant to be: leet, stars, stretched letters, joined words, typing errors.

Only words that lead somewhere (the vocabulary of the lists) are ever read into a text, and an everyday word is never
read as one of them (`common`). What a word reads as does not depend on what was read before; answers are kept, bounded,
in memory only.
"""

import re
from collections.abc import Iterable, Mapping
from itertools import product

from rapidfuzz.distance import OSA
from rapidfuzz.process import extractOne

from watchwords.common import RARE, QuickSplit, fall_apart, load_common_words, prices_with

_CACHE_SIZE = 20_000
_SHORTEST, _LONGEST = 3, 24
# Longer than this nothing is one word; joined words up to here are read whole, longer ones piece by piece.
LONGEST_JOINED = 200
_SHORTEST_JOINED, _SHORTEST_WITH_NUMBERS = 5, 10
# Typing errors are looked for in this many words of the lists, the weightiest first: a list of a hundred thousand
# phrases must not make every mistyped word one of its own.
_MOST_FUZZY = 4_000
_TWO_ERRORS_FROM, _TWO_ERRORS_TO = 7, 14
_DIGITS = str.maketrans("0345789@$|+!€", "oeastbgasltie")
_ONES = {"1": "il", "!": "il", "|": "li"}
_MOST_ONES, _MOST_FORMS = 3, 2
_LEET = re.compile(r"[0-9@$!|+€]")
_STARS = "*#_%?"
_MARKS = re.compile(r"[*#_%?]+")
_STARRED = re.compile(r"(?<=[a-z])(?:[*#_%?]+(?=[a-z])|[*#]{1,2}$)")
_NUMBER_OR_WORD = re.compile(r"[0-9]+|[a-z]+")
_RUNS = re.compile(r"([a-z])\1+")
_LONG_RUN = re.compile(r"([a-z])\1{2,}")
# Neighbouring keys; and i and l, which Unicode's table of look-alikes takes for one another.
_NEIGHBOURS = {
    "q": "wa", "w": "qes", "e": "wrd", "r": "etf", "t": "ryg", "y": "tuh", "u": "yij", "i": "uokl", "o": "ipl",
    "p": "ol", "a": "qsz", "s": "adwxz", "d": "sfecx", "f": "dgrvc", "g": "fhtbv", "h": "gjynb", "j": "hkumn",
    "k": "jlim", "l": "kopi", "z": "asx", "x": "zscd", "c": "xdvf", "v": "cfbg", "b": "vgnh", "n": "bhmj", "m": "njk",
}  # fmt: skip


class Repairer:
    """Reads one token at a time and remembers what it read (bounded; nothing but single tokens is kept)."""

    def __init__(self, vocabulary: Mapping[str, int], common: Mapping[str, float | None] | None = None) -> None:
        """`vocabulary`: the words of the lists, folded, each with its weight: of two words that a token may have meant,
        the weightier is read. `common`: everyday words with their prices; None reads the file.
        """
        common = load_common_words() if common is None else common
        weights = {word: weight for word, weight in vocabulary.items() if word.isascii() and word.isalpha()}
        self._weights = weights
        self._known = frozenset(weights) | frozenset(common)
        self._prices = prices_with(common, weights)
        weightiest = sorted(weights, key=lambda word: (-weights[word], word))
        self._squeezed: dict[str, str] = {}
        self._by_shape = _by_shape(weightiest)
        self._by_ends: dict[tuple[str, str], list[str]] = {}
        for word in weightiest:
            if len(word) >= _SHORTEST:
                self._squeezed.setdefault(_RUNS.sub(r"\1", word), word)
            if len(word) > 2:
                self._by_ends.setdefault((word[0], word[-1]), []).append(word)
        # Each word under itself with a letter left out: a mistyped word meets it there, so that the search is a few
        # look-ups and not a comparison with every word.
        self._near: dict[str, list[str]] = {}
        self._long_by_start: dict[str, list[str]] = {}
        for word in weightiest[:_MOST_FUZZY]:
            if len(word) >= _SHORTEST:
                for short in {word[:place] + word[place + 1 :] for place in range(len(word))}:
                    self._near.setdefault(short, []).append(word)
            if len(word) >= _TWO_ERRORS_FROM:
                self._long_by_start.setdefault(word[0], []).append(word)
        usual = [word for word, price in self._prices.items() if price < RARE]
        self._everyday_shapes = _by_shape(usual)
        self._quick = QuickSplit(usual)
        self._read: dict[str, str | None] = {}
        # Words already known to need no reading; one set operation over a message's words instead of a step for each.
        self._known_fine = self._known | frozenset(map(chr, range(128)))
        self._fine: set[str] = set(self._known_fine)

    def all_stand(self, tokens: Iterable[str]) -> bool:
        """True if it is known already that no token reads as anything else; False where that is not known yet."""
        return self._fine.issuperset(tokens)

    @property
    def known(self) -> frozenset[str]:
        """The words that stand as they are: those of the lists, and everyday words."""
        return self._known

    def read(self, token: str) -> str | None:
        """What the token (lower case, no spaces) was meant to say, or None if it stands as it is."""
        try:
            return self._read[token]
        except KeyError:
            pass
        if len(self._read) >= _CACHE_SIZE:
            self._read.clear()
        answer = self._read[token] = self._work_out(token)
        if answer is None:
            if len(self._fine) >= len(self._known_fine) + _CACHE_SIZE:
                self._fine = set(self._known_fine)
            self._fine.add(token)
        return answer

    def read_number(self, token: str) -> str | None:
        """The word of the lists that digits and signs alone spell ("70" is "to"), where others in the text do too."""
        for form in _unleeted(token):
            if form in self._weights or form == "i":
                return form
        return None

    def _work_out(self, token: str) -> str | None:
        if token in self._known:
            return None
        stripped = token.strip(_STARS)
        if stripped in self._known or not stripped or stripped.isdigit():
            return None
        if len(stripped) > LONGEST_JOINED:
            return self._quick.split(stripped)
        is_leet = not stripped.isalpha() and _LEET.search(stripped) is not None
        forms = _unleeted(stripped) if is_leet and _may_be_leet(stripped) else [stripped]
        forms = [form for form in forms if form.isalpha()]
        if forms and (found := self._of_forms(forms, is_mostly_letters=_is_mostly_letters(stripped))) != "":
            return found
        if stripped.isalnum() and not stripped.isalpha() and len(stripped) >= _SHORTEST_WITH_NUMBERS:
            return self._joined_with_numbers(stripped)
        starred = token.lstrip(_STARS)
        return self._starred(starred) if _STARRED.search(starred) else None

    def _of_forms(self, forms: list[str], *, is_mostly_letters: bool) -> str | None:
        """What the first of several spellings reads as; None if one is innocent, "" if none says anything."""
        for form in forms:
            if form in self._weights:
                return form
        if not self._known.isdisjoint(forms):
            return None
        for form in forms:
            if found := self._stretched(form):
                return found
            if any(shorter in self._known for shorter in _unstretched(form)):
                return None
        for form in forms[:_MOST_FORMS]:
            if found := self._of_letters(form) if is_mostly_letters else self._one_error(form):
                return found
        return ""

    def _of_letters(self, word: str) -> str | None:
        """A strange word of letters only: mistyped, or several words without spaces."""
        if len(word) <= _LONGEST and (found := self._one_error(word)):
            return found
        if len(word) >= _SHORTEST_JOINED and (found := self._joined(word)):
            return found
        return self._two_errors(word) if _TWO_ERRORS_FROM <= len(word) <= _TWO_ERRORS_TO else None

    def _stretched(self, word: str) -> str | None:
        """The word of the lists that it is once held-down letters are let go."""
        if not _LONG_RUN.search(word):
            return None
        return self._squeezed.get(_RUNS.sub(r"\1", word))

    def _one_error(self, word: str) -> str | None:
        """The word of the lists from which one slip of the fingers leads here.

        In words of three and four letters only the likeliest slips count: two letters swapped, a letter doubled or left
        out, a neighbouring key; and never the first letter but by a swap.
        """
        if len(word) < _SHORTEST:
            return None
        near, weights = self._near, self._weights
        candidates = set(near.get(word, ()))
        for place in range(len(word)):
            shorter = word[:place] + word[place + 1 :]
            if shorter in weights and len(shorter) >= _SHORTEST:
                candidates.add(shorter)
            if shorter in near:
                candidates.update(near[shorter])
        best: tuple[int, int, str] | None = None
        for candidate in candidates:
            if OSA.distance(word, candidate, score_cutoff=1) != 1:
                continue
            unlikely = _unlikely(word, candidate)
            if unlikely and (len(candidate) < 5 or unlikely > 1):
                continue
            rank = (unlikely, -weights[candidate], candidate)
            if best is None or rank < best:
                best = rank
        return best[2] if best else None

    def _two_errors(self, word: str) -> str | None:
        """The long word of the lists from which two slips lead here; its first letter must be right."""
        near = extractOne(word, self._long_by_start.get(word[0], ()), scorer=OSA.distance, score_cutoff=2)
        return near[0] if near else None

    def _starred(self, token: str) -> str | None:
        """The word of the lists that the token spells if its marks stand for the letters that are missing."""
        if len(token) > _LONGEST or not token[0].isalpha():
            return None
        shape = (token[0], token[-1] if token[-1].isalpha() else "", len(token))
        if word := _fitting(token, self._by_shape.get(shape, ())):
            return word
        # "su*de", "s***cide": the marks are fewer or more than the letters; what is left stands at the two ends.
        pieces = [piece for piece in _MARKS.split(token) if piece]
        if len(pieces) != 2 or len(pieces[0] + pieces[1]) < _SHORTEST or not shape[1]:
            return None
        if _fitting(token, self._everyday_shapes.get(shape, ())):
            return None
        for word in self._by_ends.get(shape[:2], ()):
            left_out = len(word) - len(pieces[0]) - len(pieces[1])
            if 2 <= left_out <= 4 and word.startswith(pieces[0]) and word.endswith(pieces[1]):
                return word
        return None

    def _joined(self, word: str) -> str | None:
        """The words that were written without spaces ("killmyself"), if one of them is of the lists."""
        pieces = fall_apart(word, self._prices)
        if pieces is None or not any(piece in self._weights and len(piece) > 2 for piece in pieces):
            return None
        if len(word) < 8 and any(len(piece) < 2 and piece != "i" for piece in pieces):
            return None
        return " ".join(pieces)

    def _joined_with_numbers(self, token: str) -> str | None:
        """The same with numbers between ("overdosed20minsago"); codes, in which letters stand singly, stay codes."""
        parts = _NUMBER_OR_WORD.findall(token)
        if len(parts) * 4 > len(token) or not any(part.isdigit() for part in parts):
            return None
        read: list[str] = []
        for part in parts:
            read += (fall_apart(part, self._prices) or [part]) if part.isalpha() else [part]
        if len(read) < 3 or not any(piece in self._weights and len(piece) > 2 for piece in read):
            return None
        return " ".join(read)


def _by_shape(words: Iterable[str]) -> dict[tuple[str, str, int], list[str]]:
    """Words of three letters or more by first letter, last letter (and none), and length."""
    shapes: dict[tuple[str, str, int], list[str]] = {}
    for word in words:
        if len(word) >= _SHORTEST:
            shapes.setdefault((word[0], word[-1], len(word)), []).append(word)
            shapes.setdefault((word[0], "", len(word)), []).append(word)
    return shapes


def _fitting(token: str, words: Iterable[str]) -> str | None:
    """The first word of the token's length that agrees with all its letters."""
    for word in words:
        if all(mark in _STARS or mark == letter for mark, letter in zip(token, word, strict=True)):
            return word
    return None


def _unlikely(typed: str, meant: str) -> int:
    """How unlikely it is that `meant` came out as `typed`, which differs by one error: 0, 1, or 2 for hardly ever."""
    if len(typed) != len(meant):
        longer, shorter = (typed, meant) if len(typed) > len(meant) else (meant, typed)
        if longer[1:] == shorter:
            return 1 if len(meant) >= 5 else 2
        if longer == typed:
            place = next((n for n, (a, b) in enumerate(zip(longer, shorter, strict=False)) if a != b), len(shorter))
            around = longer[max(0, place - 1) : place] + longer[place + 1 : place + 2]
            is_slip = longer[place] in around or any(longer[place] in _NEIGHBOURS.get(key, "") for key in around)
            return 0 if is_slip else 1
        return 0
    wrong = [place for place, (a, b) in enumerate(zip(typed, meant, strict=True)) if a != b]
    if len(wrong) == 2:
        return 0
    place = wrong[0]
    if not place:
        return 1 if len(meant) >= 6 and typed[0] in _NEIGHBOURS.get(meant[0], "") else 2
    return 0 if typed[place] in _NEIGHBOURS.get(meant[place], "") else 1


def _may_be_leet(token: str) -> bool:
    """False for codes, sizes and dates: most of a disguised word is still letters, or every sign in it reads as one."""
    return len(token) <= _LONGEST and any(c.isalpha() for c in token) and not any(c in "26" for c in token)


def _is_mostly_letters(token: str) -> bool:
    """True where so few signs are among the letters that the whole may be mistyped or joined besides; a code is not."""
    return sum(not c.isalpha() for c in token) * 4 <= len(token)


def _unleeted(token: str) -> list[str]:
    """The token with digits and signs as letters, likeliest first; what may stand for two letters, both ways."""
    body = token.strip("!+|") or token
    places = [place for place, c in enumerate(body) if c in _ONES][:_MOST_ONES]
    letters = list(body)
    forms: dict[str, None] = {}
    for choice in product(*(_ONES[body[place]] for place in places)):
        for place, letter in zip(places, choice, strict=True):
            letters[place] = letter
        forms["".join(letters).replace("1", "i").translate(_DIGITS)] = None
    if body != token or not places:
        forms[body] = None
    return list(forms)


def _unstretched(word: str) -> tuple[str, ...]:
    """The word with held-down letters as one and as two, if there are any."""
    if not _LONG_RUN.search(word):
        return ()
    return _LONG_RUN.sub(r"\1", word), _LONG_RUN.sub(r"\1\1", word)
