"""Who is on the rota at any instant, past or future, folded from its rows.

The past is answered as it was: at a moment that is over only the rows that had been written by then count, so that a
change made today rewrites no yesterday. From now on all rows count, whatever the clock said when they were written.

Whose place it is: the rotations' turns and the extra shifts; then the covers, in the order in which they were written,
so that one who took a shift over may pass it on; then leave, which nobody can be covered into.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from moderation.rota import Shift
from moderation.rota_rows import Cover, Extra, Leave, Pattern, RotaRow, Rotation, Skill, Withdrawn
from moderation.types import Role
from moderation.wall import day_of

_DAY = timedelta(days=1)
_LONG = timedelta(days=35)


@dataclass(frozen=True, slots=True)
class Place:
    """One place that somebody should fill. `account`: None while they are on leave. `source`: the rotation, "" if none.

    `fit`: whoever fills it has the skill that it needs.
    """

    role: Role
    account: str | None
    source: str
    skill: str
    fit: bool


class Rota:
    """All rows of a rota. Cheap to ask again and again; of a rota that has changed, make a new one."""

    def __init__(self, rows: Iterable[RotaRow]) -> None:
        self._rows = tuple(sorted(rows, key=lambda row: row.n))
        self._written = sorted(row.at for row in self._rows)
        self._views: dict[int, _View] = {}

    @property
    def version(self) -> int:
        """The place of the newest row; 0 for an empty rota."""
        return self._rows[-1].n if self._rows else 0

    def places(self, moment: datetime, now: datetime) -> tuple[Place, ...]:
        """Every place that somebody should fill at `moment`, as was known then or, from `now` on, is known now."""
        return self._view(moment, now).places(moment)

    def on(self, moment: datetime, now: datetime, role: Role | None = None) -> tuple[tuple[str, Role], ...]:
        """(account, role) of everybody on the rota at `moment`, each once, in a steady order."""
        found = {
            (place.account, place.role)
            for place in self.places(moment, now)
            if place.account is not None and role in (None, place.role)
        }
        return tuple(sorted(found))

    def edges(self, start: datetime, end: datetime, now: datetime) -> list[datetime]:
        """`start`, then every moment before `end` at which somebody's duty could begin or end, ascending."""
        found = {start, *self._view(end, now).edges(start, end), *self._view(start, now).edges(start, end)}
        written = [moment for moment in self._written if start < moment < min(end, now)]
        for moment in written:
            found |= {moment, *self._view(moment, now).edges(start, end)}
        if start < now < end:
            found |= {now, *self._view(now, now).edges(start, end)}
        return sorted(edge for edge in found if start <= edge < end)

    def stints(self, start: datetime, end: datetime, now: datetime) -> tuple[Shift, ...]:
        """Each unbroken time of one person in one role within [start, end), by its beginning; cut at both ends."""
        done: list[Shift] = []
        begun: dict[tuple[str, Role], datetime] = {}
        for edge in self.edges(start, end, now):
            here = set(self.on(edge, now))
            for key in [key for key in begun if key not in here]:
                done.append(Shift(*key, begun.pop(key), edge))
            for key in here:
                begun.setdefault(key, edge)
        done += [Shift(*key, since, end) for key, since in begun.items()]
        return tuple(sorted(done, key=lambda shift: (shift.starts_at, shift.role, shift.account)))

    def shifts_at(self, moment: datetime, now: datetime, since: datetime | None = None) -> tuple[Shift, ...]:
        """The stints that hold `moment`, looked at from `since` (None: 36 hours before) to five weeks on."""
        here = self.on(moment, now)
        before = min(since or moment - _DAY * 1.5, moment)
        past = {
            (shift.account, shift.role): shift.starts_at
            for shift in self.stints(before, moment, now)
            if shift.ends_at == moment
        }
        ends: dict[tuple[str, Role], datetime] = {}
        for edge in self.edges(moment, moment + _LONG, now)[1:]:
            left = [key for key in here if key not in ends]
            if not left:
                break
            there = set(self.on(edge, now))
            ends |= dict.fromkeys((key for key in left if key not in there), edge)
        return tuple(Shift(*key, past.get(key, moment), ends.get(key, moment + _LONG)) for key in here)

    def doubled(self, start: datetime, end: datetime, now: datetime) -> dict[str, datetime]:
        """Who would be in two places at once within [start, end), and when that first begins."""
        found: dict[str, datetime] = {}
        for edge in self.edges(start, end, now):
            serving = [place.account for place in self.places(edge, now) if place.account is not None]
            for account in {one for one in serving if serving.count(one) > 1}:
                found.setdefault(account, edge)
        return found

    def has_skill(self, account: str, skill: str, moment: datetime, now: datetime) -> bool:
        """Whether somebody may fill a place that needs `skill`; everybody may where it needs none."""
        return self._view(moment, now).has_skill(account, skill, moment)

    def is_away(self, account: str, start: datetime, end: datetime, now: datetime) -> bool:
        """Whether somebody is on leave at any moment of [start, end), as is known now."""
        leaves = (row for row in self.standing(now) if isinstance(row, Leave) and row.account == account)
        return any(row.starts_at < end and start < row.ends_at for row in leaves)

    def patterns(self, now: datetime) -> dict[str, Pattern]:
        """The newest pattern of every rotation that is not over, by id, in the order of their names."""
        newest = {id_: versions[-1] for id_, versions in self._view(now, now).rotations.items()}
        return dict(sorted(((id_, one) for id_, one in newest.items() if one.people), key=lambda item: item[1].name))

    def standing(self, now: datetime) -> tuple[RotaRow, ...]:
        """The rows that hold now, in order: withdrawn ones are not among them."""
        return self._view(now, now).rows

    def _view(self, moment: datetime, now: datetime) -> "_View":
        known = bisect_right(self._written, moment) if moment < now else len(self._rows)
        if known not in self._views:
            rows = self._rows
            if known < len(rows):
                rows = tuple(row for row in rows if row.at <= moment)
            self._views[known] = _View(rows)
        return self._views[known]


class _View:
    """The rota as some of its rows have it."""

    def __init__(self, known: Sequence[RotaRow]) -> None:
        gone = {row.of for row in known if isinstance(row, Withdrawn)}
        self.rows = tuple(row for row in known if row.n not in gone and not isinstance(row, Withdrawn))
        self.rotations: dict[str, list[Pattern]] = {}
        for row in self.rows:
            if isinstance(row, Rotation):
                self.rotations.setdefault(row.id, []).append(row.pattern)
        self._extras = [row for row in self.rows if isinstance(row, Extra)]
        self._covers = [row for row in self.rows if isinstance(row, Cover)]
        self._leaves = [row for row in self.rows if isinstance(row, Leave)]
        self._skills = {(row.account, row.skill): row for row in self.rows if isinstance(row, Skill)}

    def places(self, moment: datetime) -> tuple[Place, ...]:
        found: list[tuple[Role, str, str, str]] = []
        for id_, versions in self.rotations.items():
            for day in (day_of(moment) - _DAY, day_of(moment)):
                pattern = _in_force(versions, day)
                if pattern is None:
                    continue
                start, end = pattern.span(day)
                if start <= moment < end:
                    found += [(pattern.role, account, id_, pattern.skill) for account in pattern.serving(day)]
        found += [(row.role, row.account, "", "") for row in self._extras if row.starts_at <= moment < row.ends_at]
        for cover in self._covers:
            if cover.starts_at <= moment < cover.ends_at:
                found = [
                    (role, cover.into if (role, account) == (cover.role, cover.out) else account, source, skill)
                    for role, account, source, skill in found
                ]
        away = {row.account for row in self._leaves if row.starts_at <= moment < row.ends_at}
        return tuple(
            Place(
                role,
                None if account in away else account,
                source,
                skill,
                account not in away and self.has_skill(account, skill, moment),
            )
            for role, account, source, skill in found
        )

    def has_skill(self, account: str, skill: str, moment: datetime) -> bool:
        row = self._skills.get((account, skill))
        return not skill or (row is not None and row.held and (row.until is None or moment < row.until))

    def edges(self, start: datetime, end: datetime) -> set[datetime]:
        found: set[datetime] = set()
        for versions in self.rotations.values():
            day, last = day_of(start) - _DAY, day_of(end)
            while day <= last:
                pattern = _in_force(versions, day)
                if pattern is not None and pattern.serving(day):
                    found |= set(pattern.span(day))
                day += _DAY
        for rows in (self._extras, self._covers, self._leaves):
            for row in rows:
                found |= {row.starts_at, row.ends_at}
        found |= {row.until for row in self._skills.values() if row.until is not None}
        return {edge for edge in found if start <= edge < end}


def _in_force(versions: Sequence[Pattern], day: date) -> Pattern | None:
    """The newest of the patterns that has begun by `day`."""
    return next((one for one in reversed(versions) if one.first <= day), None)
