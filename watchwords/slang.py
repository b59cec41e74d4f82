"""The words by which people get past other services' filters, and the pictures that stand for words.

Decided here: what each of them plainly says. A text that holds one is read once more with the plain word in its place;
the lists need not know them. Innocent words that some use in this way ("corn", "panda") are left to what stands around
them: they are here only in forms that have no innocent reading.
"""

from typing import Final

PLAIN: Final[dict[str, str]] = {
    "unalive": "kill",
    "unalives": "kills",
    "unalived": "killed",
    "unaliving": "killing",
    "un alive": "kill",
    "un aliving": "killing",
    "sewerslide": "suicide",
    "sewer slide": "suicide",
    "sewerslidal": "suicidal",
    "sewer slidal": "suicidal",
    "sooicide": "suicide",
    "sooicidal": "suicidal",
    "soupcide": "suicide",
    "suislide": "suicide",
    "suwerslide": "suicide",
    "sui": "suicide",
    "self deletion": "suicide",
    "self deleting": "killing myself",
    "self delete": "kill myself",
    "self yeet": "kill myself",
    "kermit sewer slide": "commit suicide",
    "kermit suicide": "commit suicide",
    "i s/h": "i self harm",
    "to s/h": "to self harm",
    "s/h again": "self harm again",
    "s/h urges": "self harm urges",
    "been s/h": "been self harming",
    "s/h ing": "self harming",
    "shtwt": "self harm",
    "sh urges": "self harm urges",
    "s word": "suicide",
    "ded": "dead",
    "0d": "overdose",
    "oding": "overdosing",
    "oded": "overdosed",
    "seggs": "sex",
    "segs": "sex",
    "le seggs": "sex",
    "secks": "sex",
    "seggsual": "sexual",
    "seggsually": "sexually",
    "graped": "raped",
    "was grape": "was raped",
    "graping": "raping",
    "graper": "rapist",
    "grape me": "rape me",
    "r word me": "rape me",
    "🍇 me": "rape me",
    "🍇d": "raped",
    "🔫": "shoot",
    "🔪": "cut",
    "🪒": "razor",
    "💊": "pills",
    "💊💊": "pills",
    "💊💊💊": "pills",
    "☠": "dead",
    "⚰": "dead",
}
"""Folded term -> folded plain words."""

# "go unalive", "want to unalive": nobody is named, so it is dying and not killing.
_DYING_BEFORE: Final = frozenset({"me", "you", "him", "her", "us", "them", "my", "your", "his", "their", "it"})


def plain(term: str, after: str) -> str:
    """What a term says where `after` follows it in the text."""
    if term in {"unalive", "un alive"}:
        next_word = after.split(maxsplit=1)[:1]
        if not next_word or not next_word[0].startswith(tuple(_DYING_BEFORE)):
            return "die"
    return PLAIN[term]
