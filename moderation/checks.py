"""The single checks of the pipeline: small callables that each answer one question about a text.

A check takes the submission and its text and returns its findings. It decides no disposition, raises freely (the
pipeline turns that into a finding), and runs in time linear in the text. Too long a text is refused before it comes
here.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from itertools import groupby, pairwise

from moderation.types import UNREADABLE, Category, Finding, Level, Role, Submission, TextKind
from watchwords.context import plainly
from watchwords.language import is_readable
from watchwords.screening import Screener

Check = Callable[[Submission, str], list[Finding]]

# "Nooooo" and "hahaha" are people; two hundred of one character is a wall that pushes everybody else off the screen.
FLOOD_RUN = 200
_INVISIBLE = frozenset({"Cc", "Cf", "Co", "Cn", "Cs", "Zs", "Zl", "Zp", "Mn", "Me"})
# Letters to Unicode, blank to a reader: Hangul fillers and the empty Braille cell.
_BLANK_LETTERS = frozenset("ᅟᅠㅤﾠ⠀")
_NOT_BLANK = re.compile(r"[!-~]")


class Weighed(list[Finding]):
    """The findings of a check that weighs the whole text, and the score that it came to."""

    def __init__(self, findings: Iterable[Finding], score: float) -> None:
        super().__init__(findings)
        self.score = score


def watchwords_check(screener: Screener) -> Check:
    """The check against the watchword lists and their model: one finding for each match, and one if the model raises.

    Names are read with the lists alone: the model was made from messages, and one word is none. A member's text with
    more strange words than are worked out for one text is not clean, whatever else was found: somebody has to read it.
    """
    names = Screener(screener.matcher)

    def check(submission: Submission, text: str) -> list[Finding]:
        said = (names if submission.text_kind is TextKind.NICKNAME else screener).screen(text)
        findings = [
            Finding(
                "watchwords",
                Category(found.category),
                Level(found.level),
                found.entry_id,
                found.start,
                found.end,
                f"{found.reason} {plainly(found.adjustments)}".rstrip(),
            )
            for found in said.findings
        ]
        if said.is_cut_short and submission.author_role is Role.MEMBER:
            reason = "Holds more strange words than can be worked out: not wholly screened, somebody has to read it."
            findings.append(Finding("watchwords", None, Level.HIGH_NEED, UNREADABLE, 0, 0, reason))
        return Weighed(findings, said.score)

    return check


def invisible_check(submission: Submission, text: str) -> list[Finding]:
    """A text that is not empty but shows nothing: a way round the filter, or a client gone wrong."""
    if not text or _NOT_BLANK.search(text):
        return []
    if all(c in _BLANK_LETTERS or unicodedata.category(c) in _INVISIBLE for c in text):
        return [Finding("invisible", Category.HARASSMENT, Level.GREY, "", 0, len(text), "The text shows nothing.")]
    return []


def language_check(submission: Submission, text: str) -> list[Finding]:
    """A text that nothing here can read, because it is in another language: not clean, somebody has to read it.

    Of members' own words only; a name is no sentence.
    """
    if submission.author_role is not Role.MEMBER or submission.text_kind is TextKind.NICKNAME or is_readable(text):
        return []
    reason = "Written in a language that the filter can not read: somebody has to."
    return [Finding("language", None, Level.HIGH_NEED, UNREADABLE, 0, 0, reason)]


def flooding_check(submission: Submission, text: str) -> list[Finding]:
    """A run of `FLOOD_RUN` or more of one character, the longest only."""
    # A run that long holds two neighbours of any sample taken every half of it; most texts have none such.
    sample = text[:: FLOOD_RUN // 2]
    if not any(one == next_ for one, next_ in pairwise(sample)):
        return []
    best_start = best_length = place = 0
    for _, run in groupby(text):
        length = sum(1 for _ in run)
        if length > best_length:
            best_start, best_length = place, length
        place += length
    if best_length < FLOOD_RUN:
        return []
    reason = "One character fills the screen."
    return [Finding("flooding", Category.HARASSMENT, Level.GREY, "", best_start, best_start + best_length, reason)]
