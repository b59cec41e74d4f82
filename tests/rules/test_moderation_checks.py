"""The checks beside the watchwords."""

from __future__ import annotations

import pytest

from moderation.checks import FLOOD_RUN, flooding_check, watchwords_check
from moderation.types import Role, RoomKind, Submission, TextKind
from watchwords.matcher import Matcher
from watchwords.screening import Screener


def flooded(text: str) -> list[tuple[int, int]]:
    submission = Submission(text, TextKind.MESSAGE, RoomKind.COMMUNITY, Role.MEMBER)
    return [(finding.start, finding.end) for finding in flooding_check(submission, text)]


@pytest.mark.parametrize("before", [0, 1, 37, 99, 100, 101, 250])
def test_a_run_of_one_character_is_found_wherever_it_stands(before: int) -> None:
    """The shortest run that floods is found at every offset, with its exact span."""
    text = ("ab" * 200)[:before] + "z" * FLOOD_RUN + "cd" * 40
    assert flooded(text) == [(before, before + FLOOD_RUN)]


@pytest.mark.parametrize("before", [0, 1, 50, 99, 100])
def test_a_shorter_run_is_no_flood(before: int) -> None:
    """One character less is somebody being emphatic."""
    assert flooded("a" * before + "z" * (FLOOD_RUN - 1) + "b") == []


def test_ordinary_long_text_is_no_flood() -> None:
    """Four thousand characters of words have no finding."""
    assert flooded("a plain line of words, " * 170) == []


def test_what_stands_around_a_match_is_said_in_plain_words() -> None:
    """A moderator reads what was found and what the words around it say of it, and no code."""
    submission = Submission("i wouldn't kill myself", TextKind.MESSAGE, RoomKind.COMMUNITY, Role.MEMBER)
    (finding,) = watchwords_check(Screener(Matcher.load()))(submission, submission.text)
    assert "The text around it says that it is not so, which lowers it" in finding.reason
    assert "negated" not in finding.reason
    assert finding.reason.endswith(".")
