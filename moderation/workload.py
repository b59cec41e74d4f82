"""What proposed lists would ask of the people on duty: alerts and calls, a day and a night shift, with intervals.

Pure. Counted are members' messages by the hour in which they were written and by the level that they had and would
have; from them, and from how often a ladder has lately climbed to a rung before somebody took the case, follows who is
called how often. Decided here: what the figures mean and when there are too few to say anything.

What they do not know: that a message joins an open case whose ladder runs already, and then calls nobody anew. So calls
are counted as if each alert stood alone, which is never too few.

Sources: limits of a Poisson count by Byar's approximation (Breslow and Day, Statistical Methods in Cancer Research II,
1987, 2.10); of a difference or a sum from the limits of its parts (Zou and Donner, Statistics in Medicine 27, 2008).
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from moderation.ladders import Audience, Ladder, LadderPolicy, Side
from moderation.shifts import ShiftPolicy
from moderation.types import Level
from watchwords.quality import wilson

# Under these the answer is that there are too few messages to say: a count of nothing is no forecast of nothing.
LEAST_TEXTS = 100
LEAST_NIGHTS = 1.0
# Under so many ladders of a kind, every one is counted as if nobody took the case before the rung.
LEAST_LADDERS = 10
# From so many days or nights on it is seen whether they differ by more than chance.
_LEAST_PERIODS = 5
_HOUR = timedelta(hours=1)
_DAY_HOURS = 24
_Z = 1.959964


class Called(StrEnum):
    """Whom calls are counted for: rungs of one kind of person together."""

    MODERATORS = "moderators"
    CLINICIAN = "clinician"
    LEAD = "lead"


_AUDIENCES = {
    Called.MODERATORS: frozenset({Audience.ON_CALL_MODERATOR, Audience.MODERATORS_ON_SHIFT}),
    Called.CLINICIAN: frozenset({Audience.DUTY_CLINICIAN}),
    Called.LEAD: frozenset({Audience.CLINICAL_LEAD}),
}


@dataclass(frozen=True, slots=True)
class HourCount:
    """So many texts of one hour (aware UTC, its beginning) and side of the wall had a level and would have another."""

    hour: datetime
    side: Side
    before: Level
    after: Level
    texts: int


@dataclass(frozen=True, slots=True)
class Climbed:
    """Of `ladders` that are over, of one side and level, so many had called an audience before somebody took it."""

    side: Side
    level: Level
    audience: Audience
    ladders: int
    called: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number per day or per night shift, with a 95 % interval. A change may be below 0."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Change:
    """What there is now, what there would be, and the difference, which is surer than the two ends suggest.

    `is_moved`: some text came or went.
    """

    now: Estimate
    then: Estimate
    more: Estimate
    is_moved: bool


@dataclass(frozen=True, slots=True)
class Load:
    """One kind of work: `what` is a level's name in lower case, `alerts` (levels 2 and 3), or a `Called`.

    `assumed`: too few ladders were seen, so every one of some level counts as having climbed to these people.
    """

    what: str
    day: Change
    night: Change
    assumed: bool = False


@dataclass(frozen=True, slots=True)
class Forecast:
    """The whole answer. `days` and `nights` are how much was looked at; `loads` is empty where that is too little."""

    texts: int
    days: float
    nights: float
    loads: tuple[Load, ...]

    @property
    def is_enough(self) -> bool:
        """Whether there was enough to say anything."""
        return bool(self.loads)

    def load(self, what: str) -> Load:
        """The line of that name. Raises StopIteration if there are too few messages for any."""
        return next(load for load in self.loads if load.what == what)


def levels_of(live: int, proposed: int, said: int) -> tuple[Level, Level]:
    """The level of a text now and with the proposed lists.

    Args:
        live, proposed: what the two sets of lists say. said: what the filter said when it was written; where that is
            more than the lists do, something else raised it (the model), and would again.
    """
    other = said if said > live else 0
    return Level(max(live, other)), Level(max(proposed, other))


def forecast(
    counts: Sequence[HourCount],
    since: datetime,
    until: datetime,
    shifts: ShiftPolicy,
    ladders: LadderPolicy,
    climbed: Iterable[Climbed],
) -> Forecast:
    """Alerts and calls, a day and a night shift, from the texts of [since, until).

    Before the first text nothing is looked at: the service was not there yet.

    Args:
        counts: every text that was read, those without any level too; in any order.
        climbed: how far ladders climbed lately.
    """
    texts = sum(count.texts for count in counts)
    if not counts:
        return Forecast(0, 0.0, 0.0, ())
    hours = _hours(max(since, min(count.hour for count in counts)), until)
    nightly = [hour for hour in hours if shifts.night_of(hour) is not None]
    days, nights = len(hours) / _DAY_HOURS, len(nightly) / shifts.night_hours
    if texts < LEAST_TEXTS or nights < LEAST_NIGHTS or days < 1:
        return Forecast(texts, days, nights, ())
    read = [count for count in counts if hours[0] <= count.hour <= hours[-1]]
    at_night = [count for count in read if shifts.night_of(count.hour) is not None]
    by_day = _Periods(read, days, lambda hour: (hour - hours[0]).days)
    by_night = _Periods(at_night, nights, shifts.night_of)
    table = {(one.side, one.level, one.audience): one for one in climbed}
    loads = [
        Load(name, by_day.change(None, levels), by_night.change(None, levels))
        for name, levels in (
            ("alerts", frozenset({Level.HIGH_NEED, Level.URGENT})),
            *((level.name.lower(), frozenset({level})) for level in (Level.URGENT, Level.HIGH_NEED, Level.GREY)),
        )
    ]
    loads += [_calls(called, by_day, by_night, ladders, table) for called in Called]
    return Forecast(texts, days, nights, tuple(loads))


def _hours(since: datetime, until: datetime) -> list[datetime]:
    """The beginnings of the full hours from `since` to `until`."""
    hour = since.replace(minute=0, second=0, microsecond=0)
    return [hour + n * _HOUR for n in range(max(0, (until - hour) // _HOUR))]


class _Periods:
    """Texts counted by day or by night. `length`: how many days or nights were looked at, also in parts."""

    def __init__(self, counts: Sequence[HourCount], length: float, period_of: Callable[[datetime], object]) -> None:
        self._counts, self._length, self._period_of = counts, length, period_of

    def change(self, side: Side | None, levels: frozenset[Level]) -> Change:
        """Texts of these levels on one side of the wall, or on all."""
        mine = [count for count in self._counts if side is None or count.side is side]
        gained = self._rate(count for count in mine if count.after in levels and count.before not in levels)
        lost = self._rate(count for count in mine if count.before in levels and count.after not in levels)
        return Change(
            self._rate(count for count in mine if count.before in levels),
            self._rate(count for count in mine if count.after in levels),
            # What adds entries loses nothing: a kind of which there is none at all makes the other no less sure.
            _combined([part for part in ((gained, 1), (lost, -1)) if part[0].mean] or [(gained, 1), (lost, -1)]),
            gained.mean > 0 or lost.mean > 0,
        )

    def _rate(self, counted: Iterable[HourCount]) -> Estimate:
        """So many a period, with limits that are wider where the periods differ by more than chance."""
        each: Counter[object] = Counter()
        for count in counted:
            each[self._period_of(count.hour)] += count.texts
        total = each.total()
        low, high = _poisson_limits(total)
        wide = math.sqrt(_spread(list(each.values()), self._length))
        least, most = max(0.0, total - (total - low) * wide), total + (high - total) * wide
        return Estimate(total / self._length, least / self._length, most / self._length)


def _poisson_limits(count: int) -> tuple[float, float]:
    """The 95 % limits of the mean of a Poisson count."""
    above = count + 1
    high = above * (1 - 1 / (9 * above) + _Z / (3 * math.sqrt(above))) ** 3
    low = count * max(0.0, 1 - 1 / (9 * count) - _Z / (3 * math.sqrt(count))) ** 3 if count else 0.0
    return low, high


def _spread(counts: Sequence[int], length: float) -> float:
    """Variance by mean of the counts of periods, those without any included; at least 1, which is chance alone.

    One person who writes ten messages is not ten people, and a Saturday is no Tuesday.
    """
    periods = max(round(length), len(counts))
    if periods < _LEAST_PERIODS or not counts:
        return 1.0
    mean = sum(counts) / periods
    squares = sum((count - mean) ** 2 for count in counts) + (periods - len(counts)) * mean**2
    return max(1.0, squares / (periods - 1) / mean)


def _combined(parts: Sequence[tuple[Estimate, int]]) -> Estimate:
    """The sum of independent estimates, each times 1 or -1, with limits from theirs."""
    mean = sum(sign * part.mean for part, sign in parts)
    below = sum(((part.mean - part.low) if sign > 0 else (part.high - part.mean)) ** 2 for part, sign in parts)
    above = sum(((part.high - part.mean) if sign > 0 else (part.mean - part.low)) ** 2 for part, sign in parts)
    return Estimate(mean, mean - math.sqrt(below), mean + math.sqrt(above))


def _calls(
    called: Called,
    by_day: _Periods,
    by_night: _Periods,
    ladders: LadderPolicy,
    climbed: Mapping[tuple[Side, Level, Audience], Climbed],
) -> Load:
    """How often these people are called, over every side and level whose ladder comes to them."""
    days: list[Change] = []
    nights: list[Change] = []
    assumed = False
    for side in Side:
        for level in (Level.GREY, Level.HIGH_NEED, Level.URGENT):
            share, known = _share(called, ladders.ladder_for(side, level), side, level, climbed)
            if share is None:
                continue
            day, night = (periods.change(side, frozenset({level})) for periods in (by_day, by_night))
            assumed = assumed or (not known and (day.now.mean > 0 or day.then.mean > 0))
            days.append(_times(day, share))
            nights.append(_times(night, share))
    return Load(called, _summed(days), _summed(nights), assumed)


def _share(
    called: Called,
    ladder: Ladder,
    side: Side,
    level: Level,
    climbed: Mapping[tuple[Side, Level, Audience], Climbed],
) -> tuple[Estimate | None, bool]:
    """Of the ladders of one kind, the share that comes to these people, and whether that is known; None: never."""
    rungs = [rung for rung in ladder.rungs if rung.audience in _AUDIENCES[called]]
    if not rungs:
        return None, True
    if not rungs[0].after:
        return Estimate(1.0, 1.0, 1.0), True
    seen = climbed.get((side, level, rungs[0].audience))
    if seen is None or seen.ladders < LEAST_LADDERS:
        return Estimate(1.0, 1.0, 1.0), False
    low, high = wilson(seen.called, seen.ladders)
    return Estimate(seen.called / seen.ladders, low, high), True


def _times(change: Change, share: Estimate) -> Change:
    now, then, more = (_product(part, share) for part in (change.now, change.then, change.more))
    return Change(now, then, more, change.is_moved)


def _product(one: Estimate, share: Estimate) -> Estimate:
    corners = [end * part for end in (one.low, one.high) for part in (share.low, share.high)]
    return Estimate(one.mean * share.mean, min(corners), max(corners))


def _summed(changes: Sequence[Change]) -> Change:
    """All of them together. Where nothing is said, and what nothing moves, makes the sum no less sure."""
    there = [change for change in changes if change.now.mean or change.then.mean] or changes[:1]
    moved = [change for change in there if change.is_moved] or there[:1]
    return Change(
        _combined([(change.now, 1) for change in there]),
        _combined([(change.then, 1) for change in there]),
        _combined([(change.more, 1) for change in moved]),
        any(change.is_moved for change in there),
    )


def rounded(estimate: Estimate) -> tuple[str, str, str]:
    """Mean, low and high as people read them: no finer than the interval allows, its ends rounded outwards.

    An end that rounds to nothing is "0", never "-0".
    """
    width = estimate.high - estimate.low
    step = 0.1 if width < 2 else 1.0 if width < 50 else 5.0

    def written(steps: int) -> str:
        return f"{steps * step:.1f}" if step < 1 and steps else f"{steps * step:.0f}"

    low, high = math.floor(estimate.low / step + 1e-9), math.ceil(estimate.high / step - 1e-9)
    return written(round(estimate.mean / step)), written(low), written(high)
