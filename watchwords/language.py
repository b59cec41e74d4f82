"""Whether the lists and the score can read a text at all: they know English, as it is written in Britain.

A text in another language is not clean because nothing was found in it. Two signs: letters of another script, and too
few words that anybody here has written before. `known_words.txt` holds those: the words of the training part of
`corpus/`, written down by `python -m watchwords.language`, so that text-speak, dialect and spelling count as English.
"""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from watchwords.labelled import TRAIN, load_corpus, of_part

KNOWN_WORDS = Path(__file__).parent / "known_words.txt"
# Of the words of a text, how many must be known. English of the corpus's test part lies below in 3 of 1,000 messages;
# romanised Urdu, Punjabi and Gujarati and Polish without its marks at .0 to .3.
SHARE_KNOWN = 0.5
# Of fewer words nothing can be told: a name and a greeting in dialect would be another language.
FEWEST_WORDS = 3
# Of the letters, how many of another script are more than a word that somebody quotes.
SHARE_OF_ANOTHER_SCRIPT = 0.3
FEWEST_LETTERS = 2

_APART = bytes(ord(chr(c).lower()) if chr(c).isalpha() and c < 128 else 32 for c in range(256))
_APOSTROPHES = b"'"
_ADDRESS = re.compile(r"\S*(?:://|www\.|@)\S*|\b\S+\.(?:com|org|net|co|uk|io|me|gg)\b\S*")
_STRETCHED = re.compile(rb"(.)\1{2,}")
_ENDINGS = (b"ing", b"in", b"ers", b"er", b"ed", b"es", b"s", b"ly", b"y", b"d")
# Latin with its extensions, and the phonetic letters that faces are drawn with.
_LAST_LATIN = 0x2AF


def is_readable(text: str) -> bool:
    """False if the text is mostly in another script, or fewer than half of its words are known. Never raises."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).replace("\u2019", "'")
        letters = sum(map(str.isalpha, text))
        others = sum(1 for c in text if ord(c) > _LAST_LATIN and c.isalpha())
        if others >= FEWEST_LETTERS and others >= letters * SHARE_OF_ANOTHER_SCRIPT:
            return False
        text = unicodedata.normalize("NFKD", text)
    words = _words(text)
    if len(words) < FEWEST_WORDS or sum(map(_KNOWN.__contains__, words)) >= len(words) * SHARE_KNOWN:
        return True
    words = _words(_ADDRESS.sub(" ", text))
    return len(words) < FEWEST_WORDS or sum(map(_is_known, words)) >= len(words) * SHARE_KNOWN


def words_of(texts: Iterable[str]) -> list[str]:
    """The words in texts, each once, in order, as `known_words.txt` holds them."""
    return sorted({word.decode("ascii") for text in texts for word in _words(text.replace("\u2019", "'"))})


def _words(text: str) -> list[bytes]:
    return text.encode("ascii", "ignore").translate(_APART, _APOSTROPHES).split()


def _is_known(word: bytes) -> bool:
    """Whether a word is known, also stretched or with an ending."""
    if word in _KNOWN:
        return True
    for squeezed in {_STRETCHED.sub(rb"\1", word), _STRETCHED.sub(rb"\1\1", word)}:
        if squeezed in _KNOWN:
            return True
        for ending in _ENDINGS:
            stem = squeezed.removesuffix(ending)
            if stem != squeezed and len(stem) > 2 and (stem in _KNOWN or stem + b"e" in _KNOWN or stem[:-1] in _KNOWN):
                return True
    return False


_KNOWN = frozenset(KNOWN_WORDS.read_bytes().split())


if __name__ == "__main__":
    _found = words_of(message.text for message in of_part(load_corpus(), TRAIN))
    KNOWN_WORDS.write_text("\n".join(_found) + "\n", encoding="ascii")
