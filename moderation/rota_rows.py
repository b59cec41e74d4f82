"""What a rota is written in: rows that are only ever added, each with its place in the order and when it was written.

Nothing is changed in place: a change of a rotation is a newer row of the same one, and what was taken back is named by
a row that says so. What the rows come to at a moment is `moderation.rota_cover`'s to say.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from moderation.types import Role
from moderation.wall import instant_of

WEEK = frozenset(range(7))


@dataclass(frozen=True, slots=True)
class Pattern:
    """One shift of the day that a row of people serve in turn, by the wall clock in London.

    Attributes:
        begins: full minutes; a shift belongs to the day on which it begins.
        ends: on the next day if it is not after `begins`; equal: a whole day.
        weekdays: on which it begins, 0 for Monday to 6 for Sunday.
        people: accounts, in the order in which they serve; empty: the rotation is over.
        each: for how many days in a row a turn goes on before the next person's.
        first: the day on which this pattern, and the first person's turn, begins.
        need: how many serve at once: whose turn it is, and those behind them.
        skill: what whoever serves must be able to do; "" for nothing besides the role.
    """

    name: str
    role: Role
    begins: time
    ends: time
    people: tuple[str, ...]
    first: date
    weekdays: frozenset[int] = WEEK
    each: int = 1
    need: int = 1
    skill: str = ""

    def span(self, day: date) -> tuple[datetime, datetime]:
        """The shift that begins on `day`, half-open, aware UTC; empty where the clocks leave nothing of it."""
        end = day if self.ends > self.begins else day + timedelta(days=1)
        return instant_of(day, self.begins), instant_of(end, self.ends)

    def serving(self, day: date) -> tuple[str, ...]:
        """Whose turn it is on `day`; nobody before `first`, on another weekday, or once it is over."""
        if day < self.first or day.weekday() not in self.weekdays or not self.people:
            return ()
        turn = (day - self.first).days // self.each
        count = len(self.people)
        return tuple(self.people[(turn + place) % count] for place in range(min(self.need, count)))


@dataclass(frozen=True, slots=True)
class Row:
    """`n`: the place in the order of writing, from 1. `at`: when it was written, aware UTC."""

    n: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Rotation(Row):
    """A pattern of the rotation `id`, in force from its `first` day until a newer one's."""

    id: str
    pattern: Pattern


@dataclass(frozen=True, slots=True)
class Extra(Row):
    """One shift of one person, half-open, aware UTC, whatever the rotations say."""

    account: str
    role: Role
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Cover(Row):
    """`into` serves wherever `out` would, in one role, within [starts_at, ends_at)."""

    out: str
    into: str
    role: Role
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Leave(Row):
    """Somebody serves nowhere within [starts_at, ends_at)."""

    account: str
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Skill(Row):
    """Somebody has a skill from `at` until `until` (None: until a newer row), or has it no more (`held` False)."""

    account: str
    skill: str
    held: bool
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Withdrawn(Row):
    """The row `of` holds no more."""

    of: int


RotaRow = Rotation | Extra | Cover | Leave | Skill | Withdrawn
