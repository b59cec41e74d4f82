"""Single words read as what they were meant to be: leet, stars, stretched letters, joined words, typing errors.

Only words that lead somewhere (the vocabulary of the lists) are ever read into a text, and an innocent word is never
read as one of them: `common_words.txt` holds the everyday words that lie within the allowed number of typing errors.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from rapidfuzz.distance import OSA
from rapidfuzz.process import extractOne

COMMON_WORDS = Path(__file__).parent / "common_words.txt"

_CACHE_SIZE = 20_000
_SHORTEST, _LONGEST = 4, 24
_RUN = re.compile(r"([a-z])\1{2,}")
_DIGITS = str.maketrans("0345789@$|+!€", "oeastbgasltie")
_LEET = re.compile(r"[0-9@$!|+€]")
_STARS = "*#_%?"
_MARKS = re.compile(r"[*#_%?]+")
_STARRED = re.compile(r"(?<=[a-z])[*#_%?]+(?=[a-z])")


class Repairer:
    """Reads one token at a time and remembers what it read (bounded; nothing but single tokens is kept)."""

    def __init__(self, vocabulary: Iterable[str], common: frozenset[str] | None = None) -> None:
        """`vocabulary`: the words of the lists, folded. `common`: words never to be corrected; None reads the file."""
        self._words = frozenset(word for word in vocabulary if word.isascii() and word.isalpha())
        self._common = load_common_words() if common is None else common
        self._known = self._words | self._common
        self._by_start: dict[str, list[str]] = {}
        self._by_shape: dict[tuple[str, str, int], list[str]] = {}
        for word in sorted(self._words):
            if len(word) >= _SHORTEST:
                self._by_start.setdefault(word[0], []).append(word)
            if len(word) > 2:
                self._by_shape.setdefault((word[0], word[-1], len(word)), []).append(word)
        self._read: dict[str, str | None] = {}
        # Words already known to need no reading; one set operation over a message's words instead of a step for each.
        self._known_fine = self._known | frozenset(map(chr, range(128)))
        self._fine: set[str] = set(self._known_fine)

    def all_stand(self, tokens: Iterable[str]) -> bool:
        """True if it is known already that no token reads as anything else; False where that is not known yet."""
        return self._fine.issuperset(tokens)

    def stands(self, token: str) -> bool:
        """True if the token needs no reading: a word of the lists, an everyday word, or too short to be a disguise."""
        if token in self._known:
            return True
        if len(token) < _SHORTEST and token.isalpha():
            self._note(token)
            return True
        return False

    def _note(self, token: str) -> None:
        if len(self._fine) >= len(self._known_fine) + _CACHE_SIZE:
            self._fine = set(self._known_fine)
        self._fine.add(token)

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
            self._note(token)
        return answer

    def _work_out(self, token: str) -> str | None:
        if self.stands(token):
            return None
        for candidate in self._plain_forms(token):
            if candidate != token and candidate in self._words:
                return candidate
        for candidate in self._plain_forms(token):
            if not candidate.isalpha() or candidate in self._common or not _SHORTEST <= len(candidate) <= _LONGEST:
                continue
            if found := self._joined(candidate) or self._misspelt(candidate):
                return found
        return self._starred(token) if any(mark in token for mark in _STARS) else None

    def _plain_forms(self, token: str) -> list[str]:
        """The token with digits and signs as letters and stretched letters shortened, likeliest first."""
        token = token.strip(_STARS) or token
        forms = [token]
        if _LEET.search(token) and any(c.isalpha() for c in token):
            body = token.strip("!+|") if token.strip("!+|") else token
            forms = [body.replace("1", one).translate(_DIGITS) for one in "il"]
            forms += [body.replace("1", one).replace("!", "l").translate(_DIGITS) for one in "l" if "!" in body]
            forms.append(body)
        out: dict[str, None] = {}
        for form in forms:
            if _RUN.search(form):
                out[_RUN.sub(r"\1", form)] = None
                out[_RUN.sub(r"\1\1", form)] = None
            else:
                out[form] = None
        return list(out)

    def _misspelt(self, word: str) -> str | None:
        """The one word of the vocabulary within one typing error, or two in a word of eight letters or more.

        The first letter must be right: people rarely miss it, and "bill", "hanging" and "killing" differ in little
        else.
        """
        errors = 2 if len(word) >= 8 else 1
        near = extractOne(word, self._by_start.get(word[0], ()), scorer=OSA.distance, score_cutoff=errors)
        if near is None:
            return None
        meant, distance, _ = near
        return meant if distance <= (2 if len(meant) >= 7 else 1) else None

    def _starred(self, token: str) -> str | None:
        """The one word of the vocabulary that the token spells if its marks stand for the letters that are missing."""
        if not _STARRED.search(token) or len(token) > _LONGEST or not token[0].isalpha():
            return None
        same = self._by_shape.get((token[0], token[-1], len(token)), ())
        for word in same:
            if all(mark in _STARS or mark == letter for mark, letter in zip(token, word, strict=True)):
                return word
        # "su*de", "s***cide": the marks are fewer or more than the letters; what is left stands at the two ends.
        pieces = [piece for piece in _MARKS.split(token) if piece]
        if len(pieces) != 2:
            return None
        for length in (len(token) + 1, len(token) - 1, len(token) + 2):
            for word in self._by_shape.get((token[0], token[-1], length), ()):
                if word.startswith(pieces[0]) and word.endswith(pieces[1]) and len(pieces[0] + pieces[1]) >= _SHORTEST:
                    return word
        return None

    def _joined(self, word: str) -> str | None:
        """The words of the vocabulary that were written without spaces ("killmyself"), each of two letters or more,
        or "i".
        """
        if len(word) < 7:
            return None
        # best[i]: the fewest words that spell the first i letters, with the last of them
        best: list[tuple[int, str] | None] = [None] * (len(word) + 1)
        best[0] = (0, "")
        for end in range(1, len(word) + 1):
            for start in range(max(0, end - 12), end):
                before = best[start]
                if before is None or before[0] >= 6:
                    continue
                piece = word[start:end]
                if piece != "i" and (start == end - 1 or piece not in self._words):
                    continue
                now = best[end]
                if now is None or before[0] + 1 < now[0]:
                    best[end] = (before[0] + 1, piece)
        pieces: list[str] = []
        end = len(word)
        while end:
            step = best[end]
            if step is None:
                return None
            pieces.append(step[1])
            end -= len(step[1])
        return " ".join(reversed(pieces)) if max(map(len, pieces)) >= _SHORTEST else None


def load_common_words(path: Path = COMMON_WORDS) -> frozenset[str]:
    """The everyday words that are never read as another, one to a line; lines that begin with # are notes."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())
