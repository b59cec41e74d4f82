"""What proposed lists would ask of the people on duty, as figures worked out by hand."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from moderation.files import PolicyError
from moderation.ladders import Audience, LadderPolicy, Side
from moderation.shifts import SHIFTS, ShiftPolicy
from moderation.types import Level
from moderation.workload import Climbed, Estimate, Forecast, HourCount, forecast, levels_of, rounded

SHIFT = ShiftPolicy.load()
LADDERS = LadderPolicy.load()
# A Monday in winter: London's clocks are at UTC.
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
NEW = (Level.NONE, Level.HIGH_NEED)


def hours(
    days: int, at: Iterable[int], levels: tuple[Level, Level], texts: int = 1, side: Side = Side.COMMUNITY
) -> list[HourCount]:
    """So many texts in each of these hours of each day."""
    return [
        HourCount(MONDAY + timedelta(days=day, hours=hour), side, *levels, texts) for day in range(days) for hour in at
    ]


def clean(days: int, texts: int = 10) -> list[HourCount]:
    return hours(days, range(24), (Level.NONE, Level.NONE), texts)


def told(counts: list[HourCount], days: int, climbed: Iterable[Climbed] = ()) -> Forecast:
    return forecast(counts, MONDAY, MONDAY + timedelta(days=days), SHIFT, LADDERS, climbed)


@pytest.mark.parametrize(
    ("moment", "night"),
    [
        (datetime(2026, 11, 23, 19, 59, tzinfo=UTC), None),
        (datetime(2026, 11, 23, 20, tzinfo=UTC), date(2026, 11, 23)),
        (datetime(2026, 11, 24, 7, 59, tzinfo=UTC), date(2026, 11, 23)),
        (datetime(2026, 11, 24, 8, tzinfo=UTC), None),
        (datetime(2026, 7, 1, 19, tzinfo=UTC), date(2026, 7, 1)),  # eight in the evening, by the clock on the wall
    ],
)
def test_a_night_shift_goes_by_the_clock_on_the_wall(moment: datetime, night: date | None) -> None:
    """From its first hour until just before its last, in summer too, and past midnight it is still that night."""
    assert SHIFT.night_of(moment) == night


@pytest.mark.parametrize("wrong", ["begins_at = 20.5", "begins_at = 24", "begins_at = 8", 'zone = "Nowhere"'])
def test_hours_that_are_none_are_refused_with_their_place(tmp_path: Path, wrong: str) -> None:
    """A night without hours, or in no zone, stops the load with file and line."""
    name = wrong.partition(" ")[0]
    lines = [wrong if line.startswith(name) else line for line in SHIFTS.read_text(encoding="utf-8").splitlines()]
    path = tmp_path / "shifts.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(PolicyError, match=r"shifts\.toml:\d+: .*correct"):
        ShiftPolicy.load(path)


def test_only_what_was_written_at_night_counts_for_the_night() -> None:
    """Two new flags each night and five each day: a day has seven more, a night shift two."""
    counts = clean(10) + hours(10, (23, 3), NEW) + hours(10, (9, 11, 13, 15, 19), NEW)
    alerts = told(counts, 10).load("alerts")
    assert alerts.day.more.mean == pytest.approx(7)
    assert alerts.night.more.mean == pytest.approx(2)
    assert alerts.night.now.mean == 0


def test_new_and_lost_flags_are_set_off_and_both_are_unsure() -> None:
    """As many lost as new is no change, with an interval that both kinds widen."""
    counts = clean(10) + hours(10, (22,), NEW) + hours(10, (1,), (Level.HIGH_NEED, Level.NONE))
    night = told(counts, 10).load("alerts").night
    one_way = told(clean(10) + hours(10, (22,), NEW), 10).load("alerts").night.more
    assert night.more.mean == 0
    assert night.more.low < -0.5
    assert night.more.high > 0.5
    assert night.more.high - night.more.low > one_way.high - one_way.low
    assert (night.now.mean, night.then.mean) == (1, 1)


def test_the_interval_is_that_of_a_poisson_count() -> None:
    """Ten in ten nights: 0.48 to 1.84 a night, as the tables have it."""
    more = told(clean(10) + hours(10, (22,), NEW), 10).load("alerts").night.more
    assert (more.mean, more.low, more.high) == pytest.approx((1.0, 0.48, 1.84), abs=0.01)


def test_one_bad_night_makes_all_of_it_unsure() -> None:
    """Twenty flags in one night of ten say less of the next night than two in each."""
    each = told(clean(10) + hours(10, (22,), NEW, 2), 10).load("alerts").night.more
    burst = told(clean(10) + hours(1, (22,), NEW, 20), 10).load("alerts").night.more
    assert burst.mean == pytest.approx(each.mean)
    assert burst.high - burst.low > 2 * (each.high - each.low)


@pytest.mark.parametrize(
    ("counts", "hours_read", "enough"),
    [
        ([], 720, False),
        (clean(5, texts=0) + hours(5, (12, 22), NEW, 9), 120, False),
        (clean(5, texts=0) + hours(5, (12, 22), NEW, 10), 120, True),
        (hours(1, range(8, 20), NEW, 50), 20, False),
        (clean(1), 23, False),
        (clean(1), 24, True),
    ],
    ids=["nothing", "ninety", "a hundred", "no night", "less than a day", "a day"],
)
def test_too_few_messages_say_nothing(counts: list[HourCount], hours_read: int, enough: bool) -> None:
    """No figure at all is better than one from a handful of texts, or from no night."""
    made = forecast(counts, MONDAY, MONDAY + timedelta(hours=hours_read), SHIFT, LADDERS, [])
    assert made.is_enough is enough


def test_a_service_younger_than_the_days_asked_for_is_not_thinned_out() -> None:
    """Thirty days are asked for and ten are there: a night's share is of ten."""
    counts = clean(10) + hours(10, (22,), NEW)
    made = forecast(counts, MONDAY - timedelta(days=20), MONDAY + timedelta(days=10), SHIFT, LADDERS, [])
    assert made.load("alerts").night.more.mean == pytest.approx(1)
    assert made.nights == pytest.approx(10)


def test_calls_follow_from_how_far_ladders_climb() -> None:
    """Four new worrying messages a night, of which a quarter is nobody's after a quarter of an hour: one call."""
    counts = clean(10) + hours(10, (20, 22, 0, 2), NEW)
    seen = [
        Climbed(Side.COMMUNITY, Level.HIGH_NEED, Audience.DUTY_CLINICIAN, 400, 100),
        Climbed(Side.COMMUNITY, Level.HIGH_NEED, Audience.MODERATORS_ON_SHIFT, 400, 200),
        Climbed(Side.COMMUNITY, Level.HIGH_NEED, Audience.CLINICAL_LEAD, 400, 0),
    ]
    made = told(counts, 10, seen)
    clinician, moderators, lead = (made.load(who) for who in ("clinician", "moderators", "lead"))
    assert clinician.night.more.mean == pytest.approx(1)
    assert moderators.night.more.mean == pytest.approx(2)
    assert lead.night.more.mean == 0
    assert clinician.night.more.low < 0.75
    assert clinician.night.more.high > 1.25
    assert not clinician.assumed


def test_too_few_ladders_count_as_if_nobody_came() -> None:
    """Where it is not known how far ladders climb, every alert is counted as a call, and the line says so."""
    made = told(
        clean(10) + hours(10, (22,), NEW), 10, [Climbed(Side.COMMUNITY, Level.HIGH_NEED, Audience.DUTY_CLINICIAN, 9, 0)]
    )
    assert made.load("clinician").assumed
    assert made.load("clinician").night.more.mean == pytest.approx(1)


def test_a_therapy_alert_calls_the_clinician_and_no_moderator() -> None:
    """On the care side the ladder begins with the clinician, and no moderator is on it: that needs no counting."""
    made = told(clean(10) + hours(10, (22,), NEW, side=Side.CARE), 10)
    assert made.load("clinician").night.more.mean == pytest.approx(1)
    assert not made.load("clinician").assumed
    assert made.load("moderators").night.more.mean == 0


@pytest.mark.parametrize(
    ("live", "proposed", "said", "expected"),
    [
        (0, 2, 0, (0, 2)),
        (2, 0, 2, (2, 0)),
        (0, 2, 2, (2, 2)),  # the model had found it without the lists
        (0, 2, 3, (3, 3)),
        (2, 3, 2, (2, 3)),
        (2, 0, 3, (3, 3)),
    ],
)
def test_what_something_else_found_already_is_no_new_alert(
    live: int, proposed: int, said: int, expected: tuple[int, int]
) -> None:
    """What the filter said beyond the lists it would say again, so the lists change nothing about that text."""
    assert levels_of(live, proposed, said) == expected


@pytest.mark.parametrize(
    ("estimate", "written"),
    [
        (Estimate(0, 0, 0.12), ("0", "0", "0.2")),
        (Estimate(0.31, 0.08, 0.79), ("0.3", "0", "0.8")),
        (Estimate(7.4, 3.2, 12.1), ("7", "3", "13")),
        (Estimate(143.2, 118.0, 171.4), ("145", "115", "175")),
        (Estimate(-0.02, -0.4, 0.3), ("0", "-0.4", "0.3")),
        (Estimate(-6.6, -9.9, -3.1), ("-7", "-10", "-3")),
    ],
)
def test_figures_are_no_finer_than_they_are_sure(estimate: Estimate, written: tuple[str, str, str]) -> None:
    """Tenths only where they mean something, ends rounded outwards, and no minus nothing."""
    assert rounded(estimate) == written


def test_rooms_where_nothing_is_said_make_calls_no_less_sure() -> None:
    """A new kind of alert in community rooms is as sure as itself: what does not change adds nothing."""
    grey = hours(10, (9, 23), (Level.GREY, Level.GREY))
    made = told(clean(10) + grey + hours(10, (22,), NEW), 10)
    assert made.load("clinician").night.more == made.load("alerts").night.more
