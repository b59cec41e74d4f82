"""What the words around a match say about it is named, lowers at most as agreed, and never silences."""

from __future__ import annotations

import pytest

from server.main import load_lists
from watchwords.context import LOWERING, TERMS
from watchwords.matcher import Match

MATCHER = load_lists()


def found(text: str) -> tuple[Match, ...]:
    matches = MATCHER.find(text)
    assert matches, text
    return matches


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("i would never kill myself", "negated"),
        ("i tried to kill myself ten years ago", "past"),
        ("the book is about a girl who wants to kill herself, someone commits suicide", "quoted"),
        ("this exam makes me want to die lol", "hyperbole"),
        ("2 years clean, i used to think about killing myself", "recovery"),
        ("my brother wants to die", "third_person"),
        ("asking for a friend, how many think about killing myself", "on_behalf"),
        ("if it gets worse i will kill myself", "hypothetical"),
        ("my laundry shrank i want to die", "trivial_cause"),
        ("that song goes i want to die", "lyrics"),
        ("rang samaritans, i want to kill myself", "helpline"),
        ("on the safeguarding course they said i want to die is common", "training"),
        ("my feet are killing me and i want to die", "idiom_near"),
    ],
)
def test_what_stands_around_a_match_is_named(text: str, term: str) -> None:
    """Each term is told where it holds, by its code."""
    assert any(term in match.adjustments for match in found(text))
    assert term in TERMS


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("my brother wants to die", 2),
        ("rang samaritans, i want to kill myself", 2),
        ("my laundry shrank i want to die", 2),
        ("if it gets worse i will kill myself", 2),
        ("not gonna lie i want to kill myself", 2),
        ("no suicidal thoughts but i dont want to be here", 2),
    ],
)
def test_terms_that_only_colour_leave_the_level_as_it_is(text: str, least: int) -> None:
    """Speaking of somebody else, a helpline or a trifle lowers nothing, nor does a "no" that denies something else."""
    assert max(match.level for match in found(text)) >= least


@pytest.mark.parametrize("term", sorted(LOWERING))
def test_no_term_silences(term: str) -> None:
    """Whatever lowers a level leaves at least 1."""
    texts = {
        "negated": "i dont want to kill myself",
        "past": "i wanted to kill myself years ago",
        "quoted": "in that film they kill themselves, i want to die is the headline",
        "hyperbole": "monday again lol i want to die",
    }
    assert all(match.level >= 1 for match in found(texts[term]))
    assert any(term in match.adjustments for match in found(texts[term]))
