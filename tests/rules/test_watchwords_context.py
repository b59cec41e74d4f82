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
        ("she asked if i want to kill myself and i could honestly say no", "negated"),
        ("i tried to kill myself ten years ago", "past"),
        ("i tried to kill myself in 2009 and now i teach", "past"),
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


@pytest.mark.parametrize(
    "text",
    [
        "i have never wanted to kill myself more than now",
        "every day i dont kill myself is a ball sent back over the net",
        "the only reason i dont kill myself is the cat",
        "a list of reasons not to kill myself, two crossed off",
        "they say it gets better so no i want to die",
        "i didnt kill myself yet",
        "couldnt even get killing myself right",
    ],
)
def test_a_no_that_tells_of_a_struggle_lowers_nothing(text: str) -> None:
    """A comparison, a reason and a day on which one did not are no denial."""
    assert max(match.level for match in found(text)) >= 2
    assert not any("negated" in match.adjustments for match in found(text))


@pytest.mark.parametrize(
    "text",
    [
        "im used to it by now, i want to kill myself most days",
        "my dad died years ago. i want to kill myself",
        "back in the same place, i want to kill myself",
        "i used to dread dying, now i want to kill myself",
    ],
)
def test_a_past_of_something_else_lowers_nothing(text: str) -> None:
    """What is past must be told in the sentence itself, and nothing there may be present."""
    assert not any("past" in match.adjustments for match in found(text))


@pytest.mark.parametrize(
    "text",
    ["wrote i want to die in my maths book", "plot twist, i still want to die", "it is like a film, i want to die"],
)
def test_a_thing_of_the_same_name_quotes_nothing(text: str) -> None:
    """A book to write in and a figure of speech are nobody else's words."""
    assert not any("quoted" in match.adjustments for match in found(text))


def test_a_denial_with_its_apostrophe_lost_is_one() -> None:
    """Some keyboards write "don t"."""
    assert max(match.level for match in found("i don t want to kill myself")) == 1


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
