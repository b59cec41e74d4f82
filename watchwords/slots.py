"""Slot patterns: "{kill|end} ... {myself|my life} within 4", written by people who write no regular expressions.

Each pair of braces is a slot, filled by one of its words or phrases; a word that ends in * stands for whatever begins
so. Between two slots up to N other words of the same sentence may stand (`within N`; three if it is left out); with
`in any order`, the slots may come in any. Compiled to re2 syntax over the folded text: time linear in the text.
"""

import re
from itertools import permutations

from watchwords.normalise import fold

DEFAULT_WITHIN, MOST_WITHIN = 3, 12
MOST_SLOTS, MOST_SLOTS_IN_ANY_ORDER = 4, 3

_FORM = re.compile(r"\s*(?P<slots>\{.*\})\s*(?:within (?P<within>\d+))?\s*(?P<any>in any order)?\s*", re.DOTALL)
_SLOT = re.compile(r"\{([^{}]*)\}")
_BETWEEN = re.compile(r"\s*\.\.\.\s*")
_PART = re.compile(r"[a-z0-9]+(?: [a-z0-9]+)*\*?")
# Another word, and what may stand between words of one sentence.
_GAP, _OTHER = "[ ,]+", "[^ ,.!?;:]+"


class SlotError(ValueError):
    """A slot pattern that can not be used: `what is wrong; what to do`."""


def compile_slots(written: str) -> str:
    """The re2 pattern of one slot pattern.

    Raises:
        SlotError: the form, a slot or a number is wrong.
    """
    form = _FORM.fullmatch(written)
    if form is None:
        raise SlotError(f"slots {written!r} have no such form; write them as {{kill|end}} ... {{myself|me}} within 4")
    slots = _SLOT.findall(form["slots"])
    if any(not _BETWEEN.fullmatch(between) for between in _SLOT.split(form["slots"])[2:-1:2]):
        raise SlotError("between two slots stands something else than three dots; write {a|b} ... {c|d}")
    most = MOST_SLOTS_IN_ANY_ORDER if form["any"] else MOST_SLOTS
    if not 2 <= len(slots) <= most:
        raise SlotError(f"there are {len(slots)} slots; use two to {most}, or a phrase")
    within = int(form["within"] or DEFAULT_WITHIN)
    if within > MOST_WITHIN:
        raise SlotError(f"within {within} words is too far to belong together; use at most {MOST_WITHIN}")
    filled = [_filled(slot) for slot in slots]
    between = rf"(?:{_GAP}{_OTHER}){{0,{within}}}{_GAP}"
    orders = permutations(filled) if form["any"] else (filled,)
    return "|".join(between.join(rf"\b(?:{slot})\b" for slot in order) for order in orders)


def _filled(slot: str) -> str:
    """The words of one slot as alternatives."""
    parts = [fold(part.rstrip("*")).strip() + ("*" if part.rstrip().endswith("*") else "") for part in slot.split("|")]
    for part in parts:
        if not _PART.fullmatch(part):
            raise SlotError(f"{part!r} is no word of letters and digits; correct or remove it")
        if part.endswith("*") and len(part) < 4:
            raise SlotError(f"{part!r} stands for too many words; give at least three letters before the *")
    return "|".join(part[:-1] + "[a-z0-9]*" if part.endswith("*") else part for part in parts)
