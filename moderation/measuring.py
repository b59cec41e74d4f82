"""How well the filter does in service, from messages that people read blind and from how cases ended.

Pure. A message that was read stands for those of its stratum that were not: its weight is the inverse of its chance to
be drawn. Where some of a cell (kind of room, part of the day, band) were never judged, the others of that cell stand
for them too (weighting-class adjustment). A cell in which nobody was read is counted as `unread`: an estimate leaves it
out, an interval reckons with anything between none and all of its messages.

Intervals are of 95 % and say what the filter would do with more messages of the same kind, not of these alone:

- A share among weighted messages has Wilson's interval (1927) on effective counts: n is (sum of weights)^2 / sum of
  squared weights (Kish, 1965).
- A sensitivity is caught / (caught + missed). Each of the two is a total over bands: in each band the share and its
  Wilson interval on effective counts, times the band's messages; put together by recovered variances (MOVER; Zou and
  Donner, 2008). So a thousand unflagged messages of which fifty were read and none was a miss do not make it 1. It is
  never narrower than the interval of a share among the worrying messages that were read.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from moderation.draws import Band, Stratum
from moderation.types import Category, Level
from watchwords.quality import Share, share_of, wilson

UNFLAGGED = (Band.PLAIN, Band.NEAR)
_STEPS = 60


@dataclass(frozen=True, slots=True)
class Reading:
    """A drawn message as it was first judged: `level` and `categories` are the reader's, the main category first.

    `entries` are those list entries that the filter had found in it; `said` are the filter's categories.
    """

    stratum: Stratum
    weight: float
    level: Level
    categories: tuple[Category, ...]
    said: tuple[Category, ...] = ()
    entries: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Sample:
    """What was judged, each reading with the number of messages that it stands for, and how many nobody stands for."""

    weights: tuple[tuple[Reading, float], ...]
    unread: Mapping[Band, int]


@dataclass(frozen=True, slots=True)
class Closed:
    """A flagged message whose case is closed. `right`: it was a concern. `is_read`: somebody has read it blind, too."""

    right: bool
    said: tuple[Category, ...]
    entries: frozenset[str]
    is_read: bool = False


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated share with its interval, all None of nothing. `read`: messages judged that it rests on."""

    value: float | None
    low: float | None
    high: float | None
    read: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two readers of the same messages agree on levels: Cohen's kappa with quadratic weights (1968).

    `kappa` is None where there are no pairs, or where everything was given one level.
    """

    pairs: int
    same: int
    kappa: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """The figures of one category or list."""

    name: str
    sensitivity: Estimate
    ppv: Estimate
    ppv_cases: Share


@dataclass(frozen=True, slots=True)
class EntryLine:
    """One list entry: how often what it found was right, among flagged messages that a person has judged."""

    entry: str
    list: str
    right: int
    wrong: int
    ppv: Share


@dataclass(frozen=True, slots=True)
class Measured:
    """All figures of a period.

    `messages` were drawn from, `unread` of these lie in cells in which nobody was read. `sensitivity`: of messages that
    people judge a high need or urgent, said by the filter to be so. `noticed`: of these, in which anything was found.
    `ppv`: of messages said to be 2 or more and read blind, those judged so; grey counts neither way. `ppv_cases`: of
    flagged messages whose case is closed, those that were a concern; whoever closed it knew what the filter had said.
    `misses`: messages read in which nothing was found and that were judged a high need or urgent.
    """

    messages: int
    read: int
    unread: int
    misses: int
    sensitivity: Estimate
    noticed: Estimate
    ppv: Estimate
    ppv_cases: Share
    agreement: Agreement
    categories: tuple[Line, ...]
    lists: tuple[Line, ...]
    entries: tuple[EntryLine, ...]


_Which = Callable[[Reading], bool]


def measured(
    sizes: Mapping[Stratum, int],
    readings: Iterable[Reading],
    closed: Sequence[Closed],
    pairs: Sequence[tuple[Level, Level]],
    lists: Mapping[str, tuple[str, Category]],
) -> Measured:
    """Every figure of a period.

    Args:
        sizes: of each cell, how many messages there were in all draws of the period.
        readings: the first judgement of each message that was judged.
        closed: flagged messages whose case is closed.
        pairs: levels that two people gave to the same message.
        lists: (list, category) of each entry in force; what is found by other entries counts for no list.
    """
    given = tuple(readings)
    sample = weighted(sizes, given)
    of_list: defaultdict[str, set[Category]] = defaultdict(set)
    for name, category in lists.values():
        of_list[name].add(category)

    def found_by(name: str) -> Callable[[Reading | Closed], bool]:
        return lambda each: any(lists.get(entry, ("",))[0] == name for entry in each.entries)

    return Measured(
        messages=sum(sizes.values()),
        read=len(given),
        unread=sum(sample.unread.values()),
        misses=sum(each.stratum.band in UNFLAGGED and is_worrying(each) for each in given),
        sensitivity=sensitivity(sample, is_worrying, [Band.FLAGGED]),
        noticed=sensitivity(sample, is_worrying, [Band.GREY, Band.FLAGGED]),
        ppv=_ppv(sample, lambda each: True),
        ppv_cases=_of_cases(closed, lambda each: True),
        agreement=agreement(pairs),
        categories=tuple(_of_category(sample, closed, category) for category in Category),
        lists=tuple(
            Line(
                name,
                _found_by(sample, found_by(name), frozenset(of_list[name])),
                _ppv(sample, found_by(name)),
                _of_cases(closed, found_by(name)),
            )
            for name in sorted(of_list)
        ),
        entries=by_entry(given, closed, {entry: name for entry, (name, _) in lists.items()}),
    )


def is_worrying(reading: Reading) -> bool:
    """Whether a person judged it a high need or urgent."""
    return reading.level >= Level.HIGH_NEED


def weighted(sizes: Mapping[Stratum, int], readings: Sequence[Reading]) -> Sample:
    """The readings of a period, by the sizes of its cells; over a cell that was read the weights sum to its size."""
    sums: defaultdict[Stratum, float] = defaultdict(float)
    for each in readings:
        sums[each.stratum] += each.weight
    unread = dict.fromkeys(Band, 0)
    for cell, size in sizes.items():
        if cell not in sums:
            unread[cell.band] += size
    weights = ((each, sizes[each.stratum] * each.weight / sums[each.stratum]) for each in readings)
    return Sample(tuple(weights), unread)


def share(weights: Sequence[tuple[Reading, float]], which: _Which) -> tuple[float, float, float]:
    """The weighted share of one reading or more for which something holds, and its interval."""
    total = sum(weight for _, weight in weights)
    part = sum(weight for each, weight in weights if which(each)) / total
    effective = total**2 / sum(weight**2 for _, weight in weights)
    return part, *wilson(part * effective, effective)


def total_of(sample: Sample, bands: Collection[Band], which: _Which) -> tuple[float, float, float]:
    """How many messages of these bands there were for which something holds: the estimate and its interval."""
    value = below = above = 0.0
    for band in bands:
        mine = [(each, weight) for each, weight in sample.weights if each.stratum.band is band]
        messages = sum(weight for _, weight in mine)
        above += sample.unread[band] ** 2
        if mine:
            part, low, high = share(mine, which)
            value += messages * part
            below += (messages * (part - low)) ** 2
            above += (messages * (high - part)) ** 2
    return value, max(0.0, value - math.sqrt(below)), value + math.sqrt(above)


def sensitivity(
    sample: Sample,
    among: _Which,
    caught: Collection[Band],
    found: _Which | None = None,
) -> Estimate:
    """Of the messages `among` which to look, the share that is in a band of `caught` and, if given, `found`."""
    mine = [(each, weight) for each, weight in sample.weights if among(each)]
    if not mine:
        return Estimate(None, None, None, 0)
    if found is None:
        hits = total_of(sample, caught, among)
        misses = total_of(sample, [band for band in Band if band not in caught], among)
    else:
        is_found = found
        hits = total_of(sample, caught, lambda each: among(each) and is_found(each))
        misses = total_of(sample, list(Band), lambda each: among(each) and not is_found(each))
    low, high = _interval_of_part(hits, misses)
    value, least, most = share(mine, lambda each: each.stratum.band in caught and (found is None or found(each)))
    return Estimate(_round(value), _round(min(low, least)), _round(max(high, most)), len(mine))


def _interval_of_part(hits: tuple[float, float, float], misses: tuple[float, float, float]) -> tuple[float, float]:
    """The interval of hits / (hits + misses), by those of both: where (1 - x) hits - x misses may be 0."""
    (caught, least, most), (lost, fewest, worst) = hits, misses
    middle = caught / (caught + lost)

    def reaches(x: float, *, down: bool) -> bool:
        """Whether 0 lies within the interval of the difference at `x`, coming from the side of `middle`."""
        away = abs((1 - x) * caught - x * lost)
        of_hits, of_misses = (caught - least, worst - lost) if down else (most - caught, lost - fewest)
        return away <= math.hypot((1 - x) * of_hits, x * of_misses)

    def edge(outer: float, *, down: bool) -> float:
        inner = middle
        for _ in range(_STEPS):
            x = (inner + outer) / 2
            inner, outer = (x, outer) if reaches(x, down=down) else (inner, x)
        return inner

    return edge(0.0, down=True), edge(1.0, down=False)


def _of_category(sample: Sample, closed: Sequence[Closed], category: Category) -> Line:
    return Line(
        str(category),
        sensitivity(sample, lambda each: is_worrying(each) and each.categories[:1] == (category,), [Band.FLAGGED]),
        _ppv(sample, lambda each: each.said[:1] == (category,)),
        _of_cases(closed, lambda each: each.said[:1] == (category,)),
    )


def _found_by(sample: Sample, found: _Which, categories: frozenset[Category]) -> Estimate:
    """Of worrying messages about what a list is about, those in which it found something, at whatever level."""
    return sensitivity(
        sample,
        lambda each: is_worrying(each) and not categories.isdisjoint(each.categories),
        [Band.GREY, Band.FLAGGED],
        found,
    )


def _ppv(sample: Sample, among: _Which) -> Estimate:
    mine = [
        (each, weight)
        for each, weight in sample.weights
        if each.stratum.band is Band.FLAGGED and each.level is not Level.GREY and among(each)
    ]
    if not mine:
        return Estimate(None, None, None, 0)
    value, low, high = share(mine, is_worrying)
    return Estimate(_round(value), _round(low), _round(high), len(mine))


def _of_cases(closed: Sequence[Closed], among: Callable[[Closed], bool]) -> Share:
    mine = [each for each in closed if among(each)]
    return share_of(sum(each.right for each in mine), len(mine))


def by_entry(readings: Iterable[Reading], closed: Iterable[Closed], lists: Mapping[str, str]) -> tuple[EntryLine, ...]:
    """Every entry that found something in a judged message, the one with the most false alarms first.

    A message read blind counts by its reader's level (grey neither way), any other by how its case was closed.
    """
    right: defaultdict[str, int] = defaultdict(int)
    wrong: defaultdict[str, int] = defaultdict(int)
    judged = [(each.entries, is_worrying(each)) for each in readings if each.level is not Level.GREY]
    judged += [(each.entries, each.right) for each in closed if not each.is_read]
    for entries, is_right in judged:
        for entry in entries:
            (right if is_right else wrong)[entry] += 1
    lines = (
        EntryLine(
            entry,
            lists.get(entry, ""),
            right[entry],
            wrong[entry],
            share_of(right[entry], right[entry] + wrong[entry]),
        )
        for entry in {*right, *wrong}
    )
    return tuple(sorted(lines, key=lambda line: (-line.wrong, line.right, line.entry)))


def agreement(pairs: Sequence[tuple[Level, Level]]) -> Agreement:
    """Quadratic kappa: 1 less the mean squared distance of pairs, over that of every first with every second level."""
    same = sum(one == other for one, other in pairs)
    if not pairs:
        return Agreement(0, 0, None)
    seen = sum((one - other) ** 2 for one, other in pairs) / len(pairs)
    chance = sum((one - other) ** 2 for one, _ in pairs for _, other in pairs) / len(pairs) ** 2
    return Agreement(len(pairs), same, None if not chance else _round(1 - seen / chance))


def _round(value: float) -> float:
    return round(value, 4)
