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
_STARRED = re.compile(r"(?<=[a-z])[*#_%?]+(?=[a-z])")


class Repairer:
    """Reads one token at a time and remembers what it read (bounded; nothing but single tokens is kept)."""

    def __init__(self, vocabulary: Iterable[str], common: frozenset[str] | None = None) -> None:
        """`vocabulary`: the words of the lists, folded. `common`: words never to be corrected; None reads the file."""
        self._words = frozenset(word for word in vocabulary if word.isascii() and word.isalpha())
        self._common = load_common_words() if common is None else common
        self._by_start: dict[str, list[str]] = {}
        self._by_length: dict[int, list[str]] = {}
        for word in sorted(self._words):
            if len(word) >= _SHORTEST:
                self._by_start.setdefault(word[0], []).append(word)
            if len(word) > 2:
                self._by_length.setdefault(len(word), []).append(word)
        self._read: dict[str, str | None] = {}

    def remembered(self, token: str) -> tuple[bool, str | None]:
        """Whether the token was read before, and what it reads (None: as it stands)."""
        try:
            return True, self._read[token]
        except KeyError:
            return False, None

    def read(self, token: str) -> str | None:
        """What the token (lower case, no spaces) was meant to say, or None if it stands as it is."""
        if len(self._read) >= _CACHE_SIZE:
            self._read.clear()
        answer = self._read[token] = self._work_out(token)
        return answer

    def _work_out(self, token: str) -> str | None:
        if token in self._words or token in self._common or len(token) < 2:
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
        # "kills" for "skill" and the like: a short word may lose or gain a letter only inside.
        return meant if distance <= (2 if len(meant) >= 7 else 1) else None

    def _starred(self, token: str) -> str | None:
        """The one word of the vocabulary that the token spells if each mark stands for one letter, or for several."""
        if not _STARRED.search(token) or len(token) > _LONGEST:
            return None
        for length in (len(token), len(token) + 1, len(token) - 1):
            shape = "".join("." if c in _STARS else re.escape(c) for c in token)
            if length != len(token):
                shape = _STARRED.sub(".+", token)
            found = [word for word in self._by_length.get(length, ()) if re.fullmatch(shape, word)]
            if found:
                return found[0]
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
                before, piece = best[start], word[start:end]
                if before is None or not (piece == "i" or (len(piece) > 1 and piece in self._words)):
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
        return " ".join(reversed(pieces)) if len(pieces) <= 6 else None


def load_common_words(path: Path = COMMON_WORDS) -> frozenset[str]:
    """The everyday words that are never read as another, one to a line; lines that begin with # are notes."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())
