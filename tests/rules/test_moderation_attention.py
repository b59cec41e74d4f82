"""A message beside those before it, as tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from moderation.attention import ATTENTION, AttentionPolicy, is_run, is_spreading
from moderation.files import PolicyError
from moderation.types import Category

POLICY = AttentionPolicy.load()
NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("minutes_ago", "run"),
    [
        ([], False),
        ([1], True),
        ([59], True),
        ([61], False),
        ([-5], False),  # a clock that was set back has no future worries
        ([40, 50], True),
    ],
)
def test_two_grey_messages_within_the_window_are_a_run(minutes_ago: list[int], run: bool) -> None:
    """Close together they are; an hour apart they are two single ones."""
    assert is_run(POLICY.person, [NOW - timedelta(minutes=n) for n in minutes_ago], NOW) is run


@pytest.mark.parametrize(("a_day", "recent", "run"), [(2, 1, True), (20, 1, False), (20, 3, True)])
def test_somebody_s_own_habit_is_no_run_but_a_change_is(a_day: int, recent: int, run: bool) -> None:
    """Twenty dark messages a day make one more nothing new; three within minutes are new for anybody."""
    before = [NOW - timedelta(hours=2) - timedelta(days=day, minutes=n) for day in range(13) for n in range(a_day)]
    close = [NOW - timedelta(minutes=5 + n) for n in range(recent)]
    rule = replace(POLICY.person, rises_at=0.5)
    assert is_run(rule, before + close, NOW) is run


@pytest.mark.parametrize(
    ("mine", "others", "spreads"),
    [
        ({"method-x"}, [{"method-x"}, {"method-x"}], True),
        ({"method-x"}, [{"method-x"}], False),
        ({"method-x"}, [{"method-y"}, {"method-z"}], False),
        ({"S"}, [{"S", "H"}, {"S"}, set()], True),
        ({"S", "H"}, [{"S"}, {"H"}], False),
        (set(), [{"S"}, {"S"}], False),
    ],
)
def test_three_people_with_one_theme_are_a_spread(mine: set[str], others: list[set[str]], spreads: bool) -> None:
    """The same theme in three different people's words; different themes are no spread."""
    theirs = {f"A{n}": frozenset(themes) for n, themes in enumerate(others)}
    assert is_spreading(POLICY.room, frozenset(mine), theirs) is spreads


def test_a_theme_is_a_means_an_anniversary_or_a_grave_category() -> None:
    """Ids of the means, and S and H from a high need on; a grey word is no theme."""
    found = [
        ("method-tablets", "O", 1), ("anniversary-loss", "C", 1), ("s-kill-myself", "S", 2), ("h-urge", "H", 1),
        ("x-insult", "X", 2),
    ]  # fmt: skip
    assert POLICY.room.themes_of(found) == {"method-tablets", "anniversary-loss", Category.SUICIDE}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("people = 3", "people = 1", "people must be 2 or more"),
        ("window_s = 3600", "window_s = -1", "needs window_s"),
        ("rises_at = 0.5", "", "needs rises_at"),
        ('["S", "H"]', '["Q"]', "use the letters"),
        ('["method-", "anniversary-"]', '"method-"', "entries must be a list"),
    ],
)
def test_a_policy_that_can_not_be_used_says_where_and_what_to_do(tmp_path: Path, old: str, new: str, says: str) -> None:
    """File and line stand before what is wrong."""
    path = tmp_path / "attention.toml"
    text = ATTENTION.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(PolicyError, match=rf"attention.toml:\d+: .*{says}"):
        AttentionPolicy.load(path)
