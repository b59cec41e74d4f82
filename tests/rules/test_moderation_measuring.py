"""The figures of the filter in service: what drawn messages say of all, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.draws import Band, Candidate, ReviewPolicy, Stratum, draw
from moderation.measuring import (
    Closed,
    Reading,
    agreement,
    by_entry,
    is_worrying,
    measured,
    sensitivity,
    total_of,
    weighted,
)
from moderation.types import Category, Level, RoomKind

POLICY = ReviewPolicy.load()
CRISIS = (Category.CRISIS,)


def cell(band: Band, kind: RoomKind = RoomKind.COMMUNITY) -> Stratum:
    return Stratum(kind, "evening", band)


def reading(band: Band, level: int, weight: float = 1.0, **more: Any) -> Reading:
    return Reading(cell(band), weight, Level(level), more.pop("categories", CRISIS if level else ()), **more)


class Every(Random):
    """Takes the n-th of all possible samples of a stratum instead of one at random."""

    def __init__(self, n: int) -> None:
        super().__init__(0)
        self._n = n

    def sample(self, population: Sequence[Any], k: int) -> list[Any]:  # type: ignore[override]
        return list(list(combinations(population, k))[self._n])


def every_draw(levels: Sequence[int], size: int) -> Iterator[float]:
    """What each possible draw of `size` of these messages says of how many there are at 2 or more."""
    policy = ReviewPolicy(
        **{**{name: getattr(POLICY, name) for name in POLICY.__slots__}, "sizes": dict.fromkeys(Band, size)}
    )
    among = [Candidate(str(n), 1, cell(Band.PLAIN)) for n in range(len(levels))]
    for n in range(len(list(combinations(among, min(size, len(among)))))):
        made = draw(policy, among, Every(n))
        read = [reading(Band.PLAIN, levels[int(one.candidate.message)], one.weight) for one in made.drawn]
        yield total_of(weighted({cell(Band.PLAIN): len(levels)}, read), [Band.PLAIN], is_worrying)[0]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.integers(1, 4))
def test_the_estimate_is_right_on_average_over_every_possible_draw(levels: list[int], size: int) -> None:
    """Unbiased: whatever was said in a shift, the mean over all draws is exactly how many were worrying."""
    estimates = list(every_draw(levels, size))
    assert sum(estimates) / len(estimates) == pytest.approx(sum(level >= 2 for level in levels))


def simulated(seed: int) -> tuple[float, Any]:
    """(true sensitivity, estimate) of one invented period: 8 strata of messages, some not judged."""
    random = Random(seed)
    among, truth = [], {}
    shares = {Band.PLAIN: 0.01, Band.NEAR: 0.1, Band.GREY: 0.3, Band.FLAGGED: 0.7}
    counts = {Band.PLAIN: 900, Band.NEAR: 120, Band.GREY: 40, Band.FLAGGED: 40}
    for kind in (RoomKind.COMMUNITY, RoomKind.GROUP):
        for band, count in counts.items():
            for n in range(count):
                name = f"{kind}{band}{n}"
                among.append(Candidate(name, 1, cell(band, kind)))
                truth[name] = 2 if random.random() < shares[band] else 0
    policy = ReviewPolicy(
        **{**{name: getattr(POLICY, name) for name in POLICY.__slots__}, "sizes": dict.fromkeys(Band, 25)}
    )
    made = draw(policy, among, random)
    read = [
        Reading(one.candidate.stratum, one.weight, Level(truth[one.candidate.message]), ())
        for one in made.drawn
        if random.random() < 0.9
    ]
    sizes = {stratum: size for stratum, (size, _) in made.sizes.items()}
    worrying = [one.stratum.band for one in among if truth[one.message] >= 2]
    return worrying.count(Band.FLAGGED) / len(worrying), sensitivity(weighted(sizes, read), is_worrying, [Band.FLAGGED])


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Over 200 invented periods, at least nine in ten intervals hold the sensitivity that was really there."""
    hits = 0
    for seed in range(200):
        truth, estimate = simulated(seed)
        hits += estimate.low <= truth <= estimate.high
        assert estimate.low <= estimate.value <= estimate.high
    assert hits >= 180


def test_no_miss_among_few_is_not_a_filter_that_misses_nothing() -> None:
    """Where 5 of 1,000 unflagged messages were read and all were fine, sensitivity may still be low, and is said so."""
    sizes = {cell(Band.PLAIN): 1000, cell(Band.FLAGGED): 20}
    read = [reading(Band.PLAIN, 0, 200)] * 5 + [reading(Band.FLAGGED, 2, 1)] * 20
    found = sensitivity(weighted(sizes, read), is_worrying, [Band.FLAGGED])
    assert found.value == 1
    assert found.low is not None
    assert found.low < 0.1


@pytest.mark.parametrize(
    ("missed_weight", "value"),
    [(1.0, 0.8), (10.0, 0.2857), (100.0, 0.0385)],
)
def test_a_miss_weighs_as_much_as_the_messages_that_it_stands_for(missed_weight: float, value: float) -> None:
    """One miss among many that were not read is many misses."""
    sizes = {cell(Band.PLAIN): round(2 * missed_weight), cell(Band.FLAGGED): 4}
    read = [reading(Band.PLAIN, 2, missed_weight), reading(Band.PLAIN, 0, missed_weight)]
    read += [reading(Band.FLAGGED, 2)] * 4
    assert sensitivity(weighted(sizes, read), is_worrying, [Band.FLAGGED]).value == value


def test_what_nobody_read_is_said_and_left_out() -> None:
    """A cell without a judgement is counted as unread; those who were judged stand for the others of their cell."""
    unread = cell(Band.PLAIN, RoomKind.THERAPY)
    sizes = {cell(Band.PLAIN): 100, cell(Band.FLAGGED): 4, unread: 50}
    read = [reading(Band.PLAIN, 0, 10), reading(Band.PLAIN, 2, 10), reading(Band.FLAGGED, 3, 1)]
    found = measured(sizes, read, [], [], {})
    assert (found.messages, found.read, found.unread, found.misses) == (154, 3, 50, 1)
    sample = weighted(sizes, read)
    assert sum(weight for _, weight in sample.weights) == 104
    assert found.sensitivity.value == pytest.approx(4 / 54, abs=1e-4)


@pytest.mark.parametrize("unread", [0, 1, 40, 4000])
def test_what_nobody_read_may_hold_as_many_misses_as_messages(unread: int) -> None:
    """The more lies where nobody has read, the less is claimed, though everything that was read was found."""
    sizes = {cell(Band.FLAGGED): 40, cell(Band.PLAIN): unread}
    found = sensitivity(weighted(sizes, [reading(Band.FLAGGED, 2)] * 40), is_worrying, [Band.FLAGGED])
    assert found.value == 1
    assert found.low is not None
    assert found.low == pytest.approx({0: 0.9124, 1: 0.9124, 40: 0.49, 4000: 0.0099}[unread], abs=0.02)


def test_nothing_read_is_no_figure() -> None:
    """Of nothing there is no share and no interval, rather than 0 or 1."""
    found = measured({}, [], [], [], {"c-x": ("crisis", Category.CRISIS)})
    assert found.sensitivity.value is found.ppv.low is found.ppv_cases.value is found.agreement.kappa is None
    assert found.lists[0].sensitivity.read == 0


def test_grey_is_neither_a_right_flag_nor_a_wrong_one() -> None:
    """PPV is of what was judged worrying or nothing; grey counts neither way."""
    sizes = {cell(Band.FLAGGED): 6}
    read = [reading(Band.FLAGGED, level) for level in (0, 1, 1, 2, 3, 3)]
    found = measured(sizes, read, [], [], {})
    assert (found.ppv.value, found.ppv.read) == (0.75, 4)


def test_lists_are_measured_by_what_they_are_about() -> None:
    """A list's sensitivity is of worrying messages about its category; what another list found is its miss."""
    sizes = {cell(Band.FLAGGED): 3, cell(Band.PLAIN): 1}
    lists = {"c-x": ("crisis", Category.CRISIS), "s-x": ("suicide", Category.SUICIDE)}
    read = [
        reading(Band.FLAGGED, 2, entries=frozenset({"c-x"}), said=CRISIS),
        reading(Band.FLAGGED, 2, entries=frozenset({"s-x"}), said=(Category.SUICIDE,)),
        reading(Band.FLAGGED, 0, entries=frozenset({"s-x"}), said=(Category.SUICIDE,)),
        reading(Band.PLAIN, 3),
    ]
    found = measured(sizes, read, [], [], lists)
    crisis, suicide = found.lists
    assert (crisis.name, crisis.sensitivity.value, crisis.ppv.value) == ("crisis", 0.3333, 1.0)
    assert (suicide.sensitivity.read, suicide.ppv.value) == (0, 0.5)
    by_letter = {line.name: line for line in found.categories}
    assert by_letter["C"].sensitivity.value == 0.6667
    assert by_letter["S"].ppv.value == 0.5


def test_entries_come_in_the_order_of_their_false_alarms() -> None:
    """Blind readings and closed cases both count, and the entry that was wrong most often comes first."""
    closed = [
        Closed(False, CRISIS, frozenset({"c-joke"})),
        Closed(False, CRISIS, frozenset({"c-joke", "c-good"})),
        Closed(True, CRISIS, frozenset({"c-good"})),
        Closed(False, CRISIS, frozenset({"c-good"}), is_read=True),
    ]
    read = [
        reading(Band.FLAGGED, 1, entries=frozenset({"c-good"})),
        reading(Band.FLAGGED, 2, entries=frozenset({"c-good"})),
    ]
    lines = by_entry(read, closed, {"c-joke": "crisis"})
    assert [(line.entry, line.list, line.right, line.wrong) for line in lines] == [
        ("c-joke", "crisis", 0, 2),
        ("c-good", "", 2, 1),
    ]


@pytest.mark.parametrize(
    ("pairs", "kappa"),
    [
        ([(0, 0), (2, 2), (3, 3)], 1.0),
        ([(0, 3), (3, 0)], -1.0),
        ([(0, 0), (0, 1), (2, 2), (3, 2)], 0.7895),
        ([(2, 2), (2, 2)], None),
    ],
)
def test_readers_agree_by_how_far_apart_they_are(pairs: list[tuple[int, int]], kappa: float | None) -> None:
    """Quadratic kappa: a level apart is little, three are much; where all is one level nothing can be said."""
    assert agreement([(Level(one), Level(two)) for one, two in pairs]).kappa == kappa
