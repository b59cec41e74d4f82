"""The views of one text: the whole-text readings of `normalise`, each with its single words repaired.

Decided here: which words of which view are repaired, and how much of that one text may cost. Every character is in a
view that the matcher sees, whatever the allowance; only the reading of strange words is rationed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from watchwords.normalise import View, as_words, normalise
from watchwords.repair import LONGEST_JOINED, Repairer

# Letters of strange words that are worked out for one text: so many, and some more for each further window, so that
# padding can not use up what a long text is due. Working out costs 1-4 us a letter (November 2026), a look-up nothing.
LETTERS, WINDOW, LETTERS_A_WINDOW = 400, 1_000, 15
_TOKEN = re.compile(r"[a-z0-9@$!|+€*#_%?]{2,}")
_NUMBER = re.compile(r"(?<![a-z0-9@$!|+€*#_%?])[0-9@$!|+€]{1,4}(?![a-z0-9@$!|+€*#_%?])")
_LEET = re.compile(r"[a-z][0-9@$!|+€]|[0-9@$!|+€][a-z]")
_APART = bytes(code if re.match(r"[a-z0-9@$!|+*#_%?]", chr(code)) else 32 for code in range(256))


@dataclass(slots=True)
class Work:
    """What reading a text took, as a count and not as a time: for bounds that hold on any machine.

    `views` were made, `characters` looked at in them, `letters` of strange words worked out; `is_cut_short` if further
    strange words were left as they are, because the allowance was used up.
    """

    views: int = 0
    characters: int = 0
    letters: int = 0
    is_cut_short: bool = False


@dataclass(slots=True)
class _Allowance:
    """What may still be worked out for one text; the same word is paid for once."""

    letters: int
    work: Work
    read: dict[str, str | None] = field(default_factory=dict)


class Reader:
    """Makes the views of texts with the vocabulary of a lexicon."""

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        """`vocabulary`: the words of the lists, each with its weight (`Repairer`)."""
        self._repairer = Repairer(vocabulary)

    def views(self, text: str) -> tuple[list[View], Work]:
        """Every reading of the text, the base view first, and what it took."""
        made = normalise(text).views
        work = Work()
        if len(made) == 1 and self._all_stand(made[0].text):
            work.views, work.characters = 1, len(made[0].text)
            return [made[0]], work
        windows = max(0, len(made[0].text) - 1) // WINDOW
        allowance = _Allowance(LETTERS + LETTERS_A_WINDOW * windows, work)
        found: list[View] = []
        for view in made:
            if view.name == "words":
                # Of the repaired text, if there is one: what was a word of the lists is one still.
                found.append(as_words(found[-1]) if len(found) > 1 else view)
                continue
            found.append(view)
            if pieces := self._repairs(view.text, allowance):
                found.append(view.replaced("repaired" if view.name == "base" else f"{view.name}+repaired", pieces))
        work.views = len(found)
        work.characters = sum(len(view.text) for view in found)
        return found, work

    def _all_stand(self, text: str) -> bool:
        return self._repairer.all_stand(_apart(text) if text.isascii() else _TOKEN.findall(text))

    def _repairs(self, text: str, allowance: _Allowance) -> list[tuple[int, int, str]]:
        """The words of a view that read as something else, as (start, end, what they read).

        What is read never depends on what was read before: the allowance counts strange words, remembered or not.
        """
        pieces: list[tuple[int, int, str]] = []
        if self._all_stand(text) and not allowance.read:
            return pieces
        known, read, seen = self._repairer.known, self._repairer.read, allowance.read
        is_ascii = text.isascii()
        is_leet, letters = False, allowance.letters
        for token in _TOKEN.finditer(text):
            word = token.group()
            if word in known or word.isdigit() or (not is_ascii and _is_fragment(text, token.start(), token.end())):
                continue
            if word in seen:
                reads = seen[word]
            else:
                # A very long word is split in one quick pass.
                cost = len(word) if len(word) <= LONGEST_JOINED else 0
                if cost > allowance.letters:
                    allowance.work.is_cut_short = True
                    break
                allowance.letters -= cost
                reads = seen[word] = read(word)
            if reads is not None:
                pieces.append((token.start(), token.end(), reads))
                is_leet = is_leet or _LEET.search(word) is not None
        allowance.work.letters += letters - allowance.letters
        if is_leet:
            pieces += self._numbers(text)
            pieces.sort()
        return pieces

    def _numbers(self, text: str) -> list[tuple[int, int, str]]:
        """Digits and signs by themselves, in a text that writes letters so: "1 w4n7 70 d13"."""
        found = ((m.start(), m.end(), self._repairer.read_number(m.group())) for m in _NUMBER.finditer(text))
        return [(start, end, reads) for start, end, reads in found if reads is not None]


def _is_fragment(text: str, start: int, end: int) -> bool:
    """True if a stranger (a picture, mostly) without a space stands between the token and another letter: what is left
    of a split word is no word to repair, and the joined view has it whole.
    """
    before = start > 1 and not text[start - 1].isascii() and text[start - 2].isalnum()
    return before or (end + 1 < len(text) and not text[end].isascii() and text[end + 1].isalnum())


def _apart(text: str) -> list[str]:
    """The tokens of an ASCII text in a third of the expression's time; single characters, which always stand, too."""
    return text.encode("ascii").translate(_APART).decode("ascii").split()
