"""Whether an entry of the lists finds as much as it used to."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.drift import DRIFT, Base, DriftPolicy, band, quantile
from moderation.files import PolicyError

POLICY = DriftPolicy.load()


@pytest.mark.parametrize(
    ("hits", "today", "out"),
    [
        (0, 0, False),
        (0, 3, False),
        (0, 40, True),
        (280, 10, False),
        (280, 25, False),
        (280, 60, True),
        (5600, 200, False),
        (5600, 100, True),
        (5600, 330, True),
        (28, 0, False),
    ],
)
def test_a_day_is_out_of_its_band_or_not(hits: int, today: int, out: bool) -> None:
    """Of 28 days of 1,000 messages and one day more: what chance explains is no alarm, what it does not is one."""
    limits = band(POLICY, Base(28, hits, 28_000), 1_000)
    assert limits is not None
    assert (not limits[0] <= today <= limits[1]) is out


@pytest.mark.parametrize(
    ("base", "today"),
    [
        (Base(POLICY.least_days - 1, 5, 100_000), 1_000),
        (Base(28, 5, POLICY.least_messages - 1), 1_000),
        (Base(28, 5, 100_000), POLICY.day_messages - 1),
    ],
)
def test_of_too_little_nothing_is_said(base: Base, today: int) -> None:
    """Few days, few messages before or few today make no band."""
    assert band(POLICY, base, today) is None


@given(st.floats(0.01, 5_000), st.floats(0.0001, 0.9999))
def test_a_quantile_is_where_the_chance_is_reached(mean: float, share: float) -> None:
    """No more than that share lies below it, by the sum of every term; the same for small means and large ones."""
    found = quantile(mean, share)

    def chance_of(most: int) -> float:
        return math.fsum(math.exp(n * math.log(mean) - mean - math.lgamma(n + 1)) for n in range(most + 1))

    assert chance_of(found) >= share - 1e-9
    assert found == 0 or chance_of(found - 1) < share + 1e-9


@pytest.mark.parametrize(
    ("line", "instead"),
    [("days = 28", "days = 0"), ("least_messages = 2000", ""), ("chance = 0.0001", "chance = 1.0")],
)
def test_a_policy_that_can_not_be_used_says_why(tmp_path: Path, line: str, instead: str) -> None:
    """A missing or impossible number names file, line and cure."""
    path = tmp_path / "drift.toml"
    text = DRIFT.read_text(encoding="utf-8")
    assert f"\n{line}" in text
    path.write_text(text.replace(f"\n{line}", f"\n{instead}"), encoding="utf-8")
    with pytest.raises(PolicyError, match=r"drift\.toml:\d+: \[band\] needs"):
        DriftPolicy.load(path)
