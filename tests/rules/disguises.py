"""The ways in which people hide a word from a filter, each as a seeded function from a text to its disguise.

Written from what a reader can still read, not from what the filter can undo: the look-alikes here are picked by eye.
Each takes the text and a random generator, and returns None where it has nothing to disguise.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Final

Disguise = Callable[[str, random.Random], str | None]

_WORD: Final = re.compile(r"[A-Za-z]+")
_INVISIBLE: Final = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
_MARKS: Final = "".join(map(chr, range(0x300, 0x36F)))
_EMOJI: Final = "🔪💀😭🖤🥀✨🔫💊😂👀❤️"
_LOOKALIKES: Final = {
    "a": "аɑαａ𝐚ａá", "b": "Ьｂ𝐛𝗯", "c": "сϲｃ𝐜", "d": "ԁｄ𝐝𝖽", "e": "еｅ𝐞é℮", "f": "ｆ𝐟ƒ", "g": "ɡｇ𝐠", "h": "һｈ𝐡",
    "i": "іｉ𝐢ıí", "j": "јｊ𝐣", "k": "кκｋ𝐤", "l": "ӏｌ𝐥ⅼ", "m": "мｍ𝐦ⅿ", "n": "ոｎ𝐧ñ", "o": "оοｏ𝐨ó", "p": "рρｐ𝐩",
    "q": "ԛｑ𝐪", "r": "гｒ𝐫", "s": "ѕｓ𝐬", "t": "тτｔ𝐭", "u": "υսｕ𝐮ü", "v": "ѵνｖ𝐯", "w": "ԝѡｗ𝐰", "x": "хχｘ𝐱",
    "y": "уγｙ𝐲", "z": "ᴢｚ𝐳",
}  # fmt: skip
_LEET: Final = {"a": "4@", "e": "3", "i": "1!", "o": "0", "s": "5$", "t": "7", "l": "1", "b": "8", "g": "9"}
_KEYS: Final = {
    "q": "wa", "w": "qes", "e": "wrd", "r": "etf", "t": "ryg", "y": "tuh", "u": "yij", "i": "uok", "o": "ipl",
    "p": "ol", "a": "qsz", "s": "adwx", "d": "sfec", "f": "dgrv", "g": "fhtb", "h": "gjyn", "j": "hkum", "k": "jlim",
    "l": "kop",
    "z": "asx", "x": "zsc", "c": "xdv", "v": "cfb", "b": "vgn", "n": "bhm", "m": "njk",
}  # fmt: skip
_ALGOSPEAK: Final = (
    (r"\bkill(ing|ed)?\b", ("unaliv|e", "unaliv|e")),
    (r"\bsuicide\b", ("sewerslide", "sewer slide", "soupcide", "$uicide", "sui")),
    (r"\bsuicidal\b", ("sewerslidal", "su1cidal")),
    (r"\bself[ -]?harm(ing|ed)?\b", ("s/h", "self h@rm", "$elf harm", "shtwt")),
    (r"\bdead\b", ("ded", "de@d", "d3ad")),
    (r"\bdie\b", ("d1e", "di3", "unalive")),
    (r"\brape(d)?\b", ("r@pe", "grape", "r4pe")),
    (r"\bsex\b", ("seggs", "s3x", "$ex")),
    (r"\boverdose(d)?\b", ("0verdose", "0D", "overd0se")),
    (r"\bporn\b", ("corn", "p0rn")),
)  # fmt: skip


def _words(text: str, least: int) -> list[re.Match[str]]:
    return [word for word in _WORD.finditer(text) if len(word.group()) >= least]


def _each(text: str, least: int, change: Callable[[str], str]) -> str:
    return _WORD.sub(lambda word: change(word.group()) if len(word.group()) >= least else word.group(), text)


def zero_width(text: str, rng: random.Random) -> str | None:
    """Invisible characters between the letters."""
    return _each(
        text, 2, lambda word: "".join(c + (rng.choice(_INVISIBLE) if rng.random() < 0.4 else "") for c in word)
    )


def homoglyph(text: str, rng: random.Random) -> str | None:
    """Letters of other alphabets that look the same."""
    return "".join(rng.choice(_LOOKALIKES[c]) if c in _LOOKALIKES and rng.random() < 0.5 else c for c in text.lower())


def zalgo(text: str, rng: random.Random) -> str | None:
    """Letters under heaps of accents."""
    return "".join(c + "".join(rng.choices(_MARKS, k=rng.randint(0, 3))) if c.isalpha() else c for c in text)


def emoji_split(text: str, rng: random.Random) -> str | None:
    """A picture in the middle of words."""

    def split(word: str) -> str:
        place = rng.randint(1, len(word) - 1)
        return word[:place] + rng.choice(_EMOJI) + word[place:]

    return _each(text, 4, split)


def punctuated(text: str, rng: random.Random) -> str | None:
    """A mark between the letters of each word."""
    mark = rng.choice(".-_*~/|,")
    return _each(text, 3, mark.join)


def spaced(text: str, rng: random.Random) -> str | None:
    """A space between all letters; between words, one or three."""
    return (" " * rng.choice((1, 3))).join(" ".join(word) for word in text.split())


def repeated(text: str, rng: random.Random) -> str | None:
    """Letters held down."""

    def stretch(word: str) -> str:
        places = rng.sample(range(len(word)), k=min(len(word), rng.randint(1, 2)))
        return "".join(c * (rng.randint(3, 6) if place in places else 1) for place, c in enumerate(word))

    return _each(text, 3, stretch)


def leet(text: str, rng: random.Random) -> str | None:
    """Digits and signs for letters."""
    return _each(
        text.lower(),
        3,
        lambda word: "".join(rng.choice(_LEET[c]) if c in _LEET and rng.random() < 0.6 else c for c in word),
    )


def _mistype(word: str, rng: random.Random) -> str:
    place = rng.randint(1, len(word) - 1)
    kind = rng.choice(("drop", "double", "swap", "near"))
    if kind == "drop":
        return word[:place] + word[place + 1 :]
    if kind == "double":
        return word[:place] + word[place] + word[place:]
    if kind == "swap":
        return word[: place - 1] + word[place] + word[place - 1] + word[place + 1 :]
    return word[:place] + rng.choice(_KEYS.get(word[place].lower(), "e")) + word[place + 1 :]


def _mistyped(text: str, rng: random.Random, errors: int) -> str | None:
    words = _words(text, 4)
    if len(words) < errors:
        return None
    out = text
    for word in sorted(rng.sample(words, k=errors), key=lambda word: -word.start()):
        out = out[: word.start()] + _mistype(word.group(), rng) + out[word.end() :]
    return out


def typo1(text: str, rng: random.Random) -> str | None:
    """One slip of the fingers, in a word of four letters or more."""
    return _mistyped(text, rng, 1)


def typo2(text: str, rng: random.Random) -> str | None:
    """Two slips: in two words, or both in a long one."""
    long_words = _words(text, 7)
    if long_words and rng.random() < 0.5:
        word = rng.choice(long_words)
        return text[: word.start()] + _mistype(_mistype(word.group(), rng), rng) + text[word.end() :]
    return _mistyped(text, rng, 2)


def starred(text: str, rng: random.Random) -> str | None:
    """A letter or two of some words blotted out."""

    def star(word: str) -> str:
        vowels = [place for place, c in enumerate(word) if place and c.lower() in "aeiou"] or [1]
        place = rng.choice(vowels)
        width = 1 if len(word) < 6 else rng.randint(1, 2)
        return word[:place] + "*" * width + word[place + width :]

    return _each(text, 3, lambda word: star(word) if rng.random() < 0.5 else word) if _words(text, 3) else None


def algospeak(text: str, rng: random.Random) -> str | None:
    """The words by which people get past other filters."""
    out = text.lower()
    for pattern, terms in _ALGOSPEAK:
        term = rng.choice(terms)
        if "|" in term:
            stem, silent = term.split("|")
            out = re.sub(pattern, lambda m, s=stem, e=silent: s + (m.group(1) or e), out)  # type: ignore[misc]
        else:
            out = re.sub(pattern, term, out)
    return out if out != text.lower() else None


def joined(text: str, rng: random.Random) -> str | None:
    """No spaces at all, within each sentence."""
    return " ".join(
        "".join(_WORD.findall(part.replace("'", "").replace("’", ""))) for part in re.split(r"[.!?\n]+", text)
    )


DISGUISES: Final[dict[str, Disguise]] = {
    "zero-width": zero_width,
    "homoglyph": homoglyph,
    "zalgo": zalgo,
    "emoji": emoji_split,
    "punctuation": punctuated,
    "spaced": spaced,
    "repeated": repeated,
    "leet": leet,
    "one typing error": typo1,
    "two typing errors": typo2,
    "starred": starred,
    "algospeak": algospeak,
    "joined": joined,
}
# The share of what is found plain that must be found disguised (reference goals, section 6, "must").
GOALS: Final = {
    **dict.fromkeys(("zero-width", "homoglyph", "zalgo", "emoji", "punctuation", "spaced"), 0.99),
    **dict.fromkeys(("leet", "repeated", "one typing error"), 0.93),
    **dict.fromkeys(("two typing errors", "starred", "algospeak", "joined"), 0.80),
}
