"""Which messages of a shift are read blind: by a policy, at random, the same for whoever draws again."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from moderation.draws import REVIEW, Band, Candidate, ReviewPolicy, Stratum, draw
from moderation.files import PolicyError
from moderation.types import Category, Disposition, Finding, Level, RoomKind, Verdict

POLICY = ReviewPolicy.load()


def verdict(level: Level = Level.NONE, score: float = 0.0, complete: bool = True) -> Verdict:
    found = (Finding("watchwords", Category.CRISIS, level, "c-x", 0, 1, "why"),) if level else ()
    return Verdict(level, (), found, Disposition.PUBLISH, "w", "p", complete, score)


@pytest.mark.parametrize(
    ("said", "is_flagged", "band"),
    [
        (verdict(), False, Band.PLAIN),
        (verdict(score=POLICY.near - 0.01), False, Band.PLAIN),
        (verdict(score=POLICY.near), False, Band.NEAR),
        (verdict(score=0.9), True, Band.GREY),
        (verdict(Level.GREY, 1.2), True, Band.GREY),
        (verdict(Level.GREY, 1.2), False, Band.GREY),
        (verdict(Level.HIGH_NEED, 2.5), True, Band.FLAGGED),
        (verdict(complete=False), True, Band.FLAGGED),
    ],
)
def test_a_band_is_what_the_filter_said(said: Verdict, is_flagged: bool, band: Band) -> None:
    """Nothing found is plain or just under the line; what was brought to somebody is grey or flagged."""
    assert POLICY.band_of(said, is_flagged=is_flagged) is band


@pytest.mark.parametrize(
    ("at", "part"),
    [
        (datetime(2026, 1, 15, 5, 59, tzinfo=UTC), "small_hours"),
        (datetime(2026, 1, 15, 6, 0, tzinfo=UTC), "morning"),
        (datetime(2026, 7, 15, 5, 0, tzinfo=UTC), "morning"),
        (datetime(2026, 7, 15, 22, 59, tzinfo=UTC), "evening"),
        (datetime(2026, 7, 15, 23, 0, tzinfo=UTC), "small_hours"),
    ],
)
def test_parts_of_the_day_are_by_the_clock_on_the_wall(at: datetime, part: str) -> None:
    """A part begins at its hour of Europe/London, in winter and in summer."""
    assert POLICY.part_of(at) == part


def test_shifts_follow_one_another_without_a_gap_over_a_change_of_the_clocks() -> None:
    """Every moment of three days round the end of summer time is in one shift, and the night is an hour longer."""
    now = datetime(2026, 10, 26, 12, tzinfo=UTC)
    shifts = POLICY.shifts_over(now)
    assert all(one.ends_at == two.starts_at for one, two in pairwise(shifts))
    assert shifts[-1].ends_at == datetime(2026, 10, 26, 8, tzinfo=UTC)
    assert timedelta(hours=13) in {shift.ends_at - shift.starts_at for shift in shifts}
    assert now - POLICY.late <= shifts[0].ends_at


def candidates() -> list[Candidate]:
    night = [
        (RoomKind.COMMUNITY, Band.PLAIN, 400),
        (RoomKind.COMMUNITY, Band.NEAR, 30),
        (RoomKind.GROUP, Band.FLAGGED, 2),
    ]
    return [
        Candidate(f"{kind}-{band}-{n}", 1, Stratum(kind, "evening", band))
        for kind, band, size in night
        for n in range(size)
    ]


def test_every_stratum_is_drawn_from_and_a_small_one_whole() -> None:
    """So many of each as the policy says, no message twice, and the weights of a stratum sum to its messages."""
    made = draw(POLICY, candidates(), Random(7))
    drawn = Counter(each.candidate.stratum.band for each in made.drawn)
    assert drawn == {Band.PLAIN: POLICY.sizes[Band.PLAIN], Band.NEAR: POLICY.sizes[Band.NEAR], Band.FLAGGED: 2}
    assert len({each.candidate.message for each in made.drawn}) == len(made.drawn)
    for stratum, (size, count) in made.sizes.items():
        weights = [each.weight for each in made.drawn if each.candidate.stratum == stratum]
        assert len(weights) == count
        assert sum(weights) == pytest.approx(size)


def test_the_same_seed_is_the_same_draw_and_another_is_another() -> None:
    """Whoever draws a shift again draws the same messages in the same order."""
    assert draw(POLICY, candidates(), Random(7)) == draw(POLICY, candidates(), Random(7))
    assert draw(POLICY, candidates(), Random(7)) != draw(POLICY, candidates(), Random(8))


def test_the_order_of_a_draw_tells_nothing() -> None:
    """What was flagged comes in no block of its own: over many draws it is first about as often as it should be."""
    first = [draw(POLICY, candidates(), Random(seed)).drawn[0].candidate.stratum.band for seed in range(300)]
    share = first.count(Band.FLAGGED) / len(first)
    assert 0.05 < share < 0.20  # 2 of 18 drawn


@pytest.mark.parametrize(
    ("line", "instead", "words"),
    [
        ("evening = 18", 'evening = "late"', "the hour at which it begins"),
        ("grey = 3", "", "a whole number above 0 is needed for each of"),
        ("near = 0.25", "near = 0", "needs near, a number from"),
        ('"support", ', '"cellar", ', "is not a valid RoomKind"),
        ("share = 0.15", "share = 2", "needs share"),
    ],
)
def test_a_policy_that_can_not_be_used_says_why(tmp_path: Path, line: str, instead: str, words: str) -> None:
    """A missing or impossible number names file, line and cure."""
    path = tmp_path / "review.toml"
    text = REVIEW.read_text(encoding="utf-8")
    assert line in text
    path.write_text(text.replace(line, instead), encoding="utf-8")
    with pytest.raises(PolicyError, match=rf"review\.toml:\d+: .*{words}"):
        ReviewPolicy.load(path)
