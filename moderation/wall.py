"""The clock on a wall in London, as instants: the one place that says what a time of day means when clocks are set.

A time of day is the first moment at which the wall shows it or anything later. Of an hour that comes twice that is its
first coming, and of an hour that is missing the moment of the change. So times never run backwards, one shift ends
exactly where the next begins, and a night has eleven or thirteen hours where it has.
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

LONDON = ZoneInfo("Europe/London")


@lru_cache(8_192)
def instant_of(day: date, at: time, zone: ZoneInfo = LONDON) -> datetime:
    """The first moment of `day` at which the wall shows `at` or later; aware UTC. `at` is naive, full minutes."""
    early = datetime.combine(day, at, tzinfo=zone).astimezone(UTC)
    if early.astimezone(zone).time() == at:
        return early
    # The wall never shows it. Read with the offset of after the change it lies before the change, otherwise behind it.
    moment = datetime.combine(day, at, tzinfo=zone).replace(fold=1).astimezone(UTC)
    before = moment.astimezone(zone).utcoffset()
    while moment.astimezone(zone).utcoffset() == before:
        moment += timedelta(minutes=1)
    return moment


def day_of(moment: datetime, zone: ZoneInfo = LONDON) -> date:
    """The date on the wall at an aware moment."""
    return moment.astimezone(zone).date()
