"""Texts made to cost a filter as much as they can: every kind that cost ours much, once or still."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Sequence
from typing import Final

BYTES: Final = 10_000
_LETTERS: Final = string.ascii_lowercase
_LIGATURE: Final = "\ufdfa"  # compatibility folding makes eighteen letters of it
_LEET: Final = str.maketrans("eioasl", "310@$1")


def hostile_texts(vocabulary: Sequence[str], size: int, seed: int) -> dict[str, str]:
    """A text of each kind, of at most `size` bytes. `vocabulary`: words that the filter looks for."""
    rng = random.Random(seed)  # noqa: S311 - nothing secret
    words = [word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 3]
    long_words = [word for word in words if len(word) > 6]

    def letters(number: int) -> str:
        return "".join(rng.choices(_LETTERS, k=number))

    def near(word: str) -> str:
        place = rng.randrange(1, len(word))
        return word[:place] + rng.choice(_LETTERS) + word[place + 1 :]

    def starred(word: str) -> str:
        return word[0] + "*" * rng.randint(1, 3) + word[-1]

    # Each kind: what it is made of, and what stands between two pieces.
    kinds: dict[str, tuple[Callable[[], str], str]] = {
        "one token": (lambda: "k", ""),
        "one random token": (lambda: letters(50), ""),
        "joined words": (lambda: rng.choice(words), ""),
        "joined words in lines": (lambda: "".join(rng.choices(words, k=25))[:190], " "),
        "zalgo": (lambda: rng.choice(_LETTERS) + "".join(map(chr, rng.choices(range(0x300, 0x36F), k=3))), ""),
        "ligatures": (lambda: _LIGATURE, ""),
        "spaced letters": (lambda: rng.choice(_LETTERS), " "),
        "spaced letters, wide gaps": (lambda: " ".join(rng.choice(words)), "   "),
        "spaced runs": (lambda: " ".join(letters(4)), " xx "),
        "near misses": (lambda: near(rng.choice(words)), " "),
        "far misses": (lambda: near(near(rng.choice(long_words))), " "),
        "words of 3": (lambda: letters(3), " "),
        "words of 7": (lambda: letters(7), " "),
        "words of 12": (lambda: letters(12), " "),
        "words of 24": (lambda: letters(24), " "),
        "starred words": (lambda: starred(rng.choice(words)), " "),
        "starred gibberish": (lambda: letters(2) + "*" + letters(3), " "),
        "leet": (lambda: near(rng.choice(long_words)).translate(_LEET), " "),
        "ambiguous leet": (lambda: letters(2) + "1!|" + letters(3), " "),
        "hexadecimal": (lambda: f"{rng.getrandbits(64):016x}", " "),
        "broken e-mail addresses": (lambda: letters(4) + "@" + letters(3), " "),
        "spoken e-mail addresses": (lambda: f"{letters(3)} at {letters(3)}", " "),
        "dots": (lambda: "a", "."),
        "hyphens": (lambda: letters(3), "-"),
        "telephone numbers": (lambda: f"07700{rng.randrange(10**6):06}", " "),
        "wide symbols": (lambda: chr(rng.randrange(0x1F000, 0x1FB00)), ""),
        "any characters": (lambda: chr(rng.choice((rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)))), ""),
        "pictures": (lambda: "🔪", ""),
        "pictures in words": (lambda: f"{letters(3)}🔪{letters(3)}", " "),
        "stretched words": (lambda: "".join(c * rng.randint(1, 4) for c in rng.choice(words)), " "),
        "stretched gibberish": (lambda: "".join(c * 3 for c in letters(3)), " "),
        "words of the lists": (lambda: rng.choice(words), " "),
        "one phrase": (lambda: "want to die", " "),
        "one phrase and what excuses it": (lambda: "end it all end it with", " "),
        "slang": (lambda: "unalive", " "),
        "all at once": (
            lambda: near(rng.choice(long_words)) + rng.choice(".-_ ") + letters(3) + rng.choice(".- 🔪1"),
            " ",
        ),
    }  # fmt: skip
    return {kind: _filled(piece, between, size) for kind, (piece, between) in kinds.items()}


def _filled(piece: Callable[[], str], between: str, size: int) -> str:
    pieces: list[str] = []
    length = 0
    while length < size:
        pieces.append(piece())
        length += len(pieces[-1].encode()) + len(between)
    return between.join(pieces).encode()[:size].decode(errors="ignore")
