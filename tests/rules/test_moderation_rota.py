"""The rota: who is on at any instant, as a naive look at each minute says; gaps, burdens, and the calendar."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.files import PolicyError
from moderation.rota import Shift
from moderation.rota_calendar import calendar
from moderation.rota_cover import Rota
from moderation.rota_forecast import Lack, burdens, gaps, warning
from moderation.rota_policy import ROTA, RotaPolicy
from moderation.rota_rows import Cover, Extra, Leave, Pattern, RotaRow, Rotation, Skill, Withdrawn
from moderation.shifts import ShiftPolicy
from moderation.types import Role
from moderation.wall import instant_of

LONDON = ZoneInfo("Europe/London")
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = RotaPolicy.load()
HOURS = ShiftPolicy.load()
# The Saturdays before the clocks are set forward, and back.
WEEKENDS = (date(2026, 3, 28), date(2026, 10, 24))
PEOPLE = ("ann", "ben", "cat", "dov")


def at(day: int, hour: int, minute: int = 0, month: int = 11) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def always(name: str, people: tuple[str, ...], role: Role = Role.MODERATOR, **more: object) -> Pattern:
    given_: dict[str, object] = {"begins": time(8), "ends": time(8), "first": date(2026, 1, 1), **more}
    return Pattern(name, role, people=people, **given_)  # type: ignore[arg-type]


# --- a second opinion: every minute, looked at by itself --------------------------------------------------------------


@dataclass
class _Running:
    """A shift as somebody with a watch would keep it: begun when the wall first shows its hour, over likewise."""

    pattern: Pattern
    day: date
    begun: bool = False
    over: bool = False

    def look(self, wall: datetime) -> None:
        begins = datetime.combine(self.day, self.pattern.begins)
        ends = datetime.combine(self.day, self.pattern.ends)
        if self.pattern.ends <= self.pattern.begins:
            ends += timedelta(days=1)
        self.begun = self.begun or wall >= begins
        self.over = self.over or wall >= ends


def minute_by_minute(rows: list[RotaRow], start: datetime, end: datetime) -> list[set[tuple[str, Role]]]:
    """Who is on in each minute of [start, end), by walking through them; all rows are known."""
    gone = {row.of for row in rows if isinstance(row, Withdrawn)}
    rows = [row for row in rows if row.n not in gone]
    first = start.date() - timedelta(days=3)
    days = [first + timedelta(days=n) for n in range((end.date() - first).days + 3)]
    ids = {row.id for row in rows if isinstance(row, Rotation)}
    running: list[_Running] = []
    for id_ in ids:
        for day in days:
            fitting = [row.pattern for row in rows if isinstance(row, Rotation) and row.id == id_]
            fitting = [pattern for pattern in fitting if pattern.first <= day]
            if fitting:
                running.append(_Running(fitting[-1], day))
    found: list[set[tuple[str, Role]]] = []
    moment = start - timedelta(days=2)
    while moment < end:
        wall = moment.astimezone(LONDON).replace(tzinfo=None)
        serving: list[tuple[str, Role]] = []
        for one in running:
            one.look(wall)
            if one.begun and not one.over:
                serving += [(name, one.pattern.role) for name in turn(one.pattern, one.day)]
        for row in rows:
            if isinstance(row, Extra) and row.starts_at <= moment < row.ends_at:
                serving.append((row.account, row.role))
        for row in rows:
            if isinstance(row, Cover) and row.starts_at <= moment < row.ends_at:
                serving = [(row.into, row.role) if each == (row.out, row.role) else each for each in serving]
        for row in rows:
            if isinstance(row, Leave) and row.starts_at <= moment < row.ends_at:
                serving = [each for each in serving if each[0] != row.account]
        if moment >= start:
            found.append(set(serving))
        moment += MINUTE
    return found


def turn(pattern: Pattern, day: date) -> list[str]:
    """Whose turn it is, by counting days one after the other."""
    if day < pattern.first or day.weekday() not in pattern.weekdays or not pattern.people:
        return []
    place, served, running = 0, 0, pattern.first
    while running < day:
        running += timedelta(days=1)
        served += 1
        if served == pattern.each:
            place, served = (place + 1) % len(pattern.people), 0
    queue = pattern.people[place:] + pattern.people[:place]
    return list(queue[: pattern.need])


def _times() -> st.SearchStrategy[time]:
    """Mostly full hours, and those around the change of the clocks by quarters."""
    near = st.builds(time, st.integers(0, 3), st.sampled_from([0, 15, 30, 45]))
    return st.one_of(near, st.builds(time, st.integers(0, 23)))


@st.composite
def rotas(draw: st.DrawFn) -> tuple[list[RotaRow], datetime]:
    """Some rows around a weekend on which the clocks are set, and the moment from which to look."""
    saturday = draw(st.sampled_from(WEEKENDS))
    start = datetime.combine(saturday, time(12), tzinfo=UTC)

    def span() -> tuple[datetime, datetime]:
        begins = start + draw(st.integers(-24 * 4, 36 * 4)) * timedelta(minutes=15)
        return begins, begins + draw(st.integers(1, 24 * 4)) * timedelta(minutes=15)

    rows: list[RotaRow] = []
    for _ in range(draw(st.integers(1, 7))):
        n, kind = len(rows) + 1, draw(st.sampled_from(["rotation", "rotation", "extra", "cover", "leave", "withdrawn"]))
        who, other = draw(st.permutations(PEOPLE))[:2]
        role = draw(st.sampled_from([Role.MODERATOR, Role.CLINICIAN]))
        if kind == "rotation":
            crew = tuple(draw(st.permutations(PEOPLE))[: draw(st.integers(0, 4))])
            pattern = Pattern(
                "turns", role, draw(_times()), draw(_times()), crew,
                saturday + timedelta(days=draw(st.integers(-9, 1))),
                frozenset(draw(st.sets(st.integers(0, 6), min_size=4))),
                draw(st.integers(1, 3)), draw(st.integers(1, 2)),
            )  # fmt: skip
            rows.append(Rotation(n, LONG_AGO, draw(st.sampled_from("AB")), pattern))
        elif kind == "extra":
            rows.append(Extra(n, LONG_AGO, who, role, *span()))
        elif kind == "cover":
            rows.append(Cover(n, LONG_AGO, who, other, role, *span()))
        elif kind == "leave":
            rows.append(Leave(n, LONG_AGO, who, *span()))
        elif rows:
            rows.append(Withdrawn(n, LONG_AGO, draw(st.integers(1, len(rows)))))
    return rows, start


@settings(max_examples=60, deadline=None)
@given(rotas())
def test_every_minute_has_exactly_the_people_that_a_look_at_the_wall_says(
    drawn: tuple[list[RotaRow], datetime],
) -> None:
    """Through both nights on which the clocks are set, whoever is on is whom a walk through the minutes finds."""
    rows, start = drawn
    end = start + timedelta(hours=27)
    expected = minute_by_minute(rows, start, end)
    rota = Rota(rows)
    edges = set(rota.edges(start, end, LONG_AGO))
    for n, people in enumerate(expected):
        moment = start + n * MINUTE
        assert set(rota.on(moment, LONG_AGO)) == people, moment
        assert n == 0 or people == expected[n - 1] or moment in edges, moment
    stints = rota.stints(start, end, LONG_AGO)
    for n, people in enumerate(expected):
        moment = start + n * MINUTE
        assert {(s.account, s.role) for s in stints if s.starts_at <= moment < s.ends_at} == people


@pytest.mark.parametrize(
    ("day", "hours", "half_past_one"),
    [(date(2026, 3, 28), 11, (29, 1, 0)), (date(2026, 10, 24), 13, (25, 0, 30))],
)
def test_a_night_on_which_the_clocks_are_set_is_served_whole(
    day: date, hours: int, half_past_one: tuple[int, int, int]
) -> None:
    """The night from 20 to 8 has eleven or thirteen hours; half past one is its first coming, or the change itself."""
    start, end = always("nights", PEOPLE, begins=time(20), ends=time(8)).span(day)
    assert end - start == timedelta(hours=hours)
    date_, hour, minute = half_past_one
    assert instant_of(day + timedelta(days=1), time(1, 30)) == datetime(
        2026, day.month, date_, hour, minute, tzinfo=UTC
    )


# --- the past ---------------------------------------------------------------------------------------------------------


def test_the_past_is_answered_as_it_was() -> None:
    """A change made at noon moves nobody who served in the morning, also when it says that it holds from before."""
    noon, now = at(10, 12), at(10, 18)
    rows: list[RotaRow] = [
        Rotation(1, LONG_AGO, "A", always("all day", ("ann",))),
        Rotation(2, noon, "A", always("all day", ("ben",))),
        Extra(3, noon, "cat", Role.MODERATOR, at(10, 6), at(10, 20)),
    ]
    rota = Rota(rows)
    assert rota.on(at(10, 11, 59), now) == (("ann", Role.MODERATOR),)
    assert rota.on(noon, now) == (("ben", Role.MODERATOR), ("cat", Role.MODERATOR))
    assert [(s.account, s.starts_at, s.ends_at) for s in rota.stints(at(10, 10), at(10, 22), now)] == [
        ("ann", at(10, 10), noon),
        ("ben", noon, at(10, 22)),
        ("cat", noon, at(10, 20)),
    ]


def test_a_clock_that_was_set_back_takes_nobody_off_duty() -> None:
    """What was written counts from now on, also if the clock says that it is written in an hour."""
    rota = Rota([Extra(1, at(10, 13), "ann", Role.MODERATOR, at(10, 9), at(10, 17))])
    assert rota.on(at(10, 12), now=at(10, 12)) == (("ann", Role.MODERATOR),)


def test_what_was_withdrawn_held_until_then() -> None:
    """Leave that is taken back at noon was leave in the morning."""
    rows: list[RotaRow] = [
        Rotation(1, LONG_AGO, "A", always("all day", ("ann",))),
        Leave(2, LONG_AGO, "ann", at(10, 0), at(11, 0)),
        Withdrawn(3, at(10, 12), 2),
    ]
    rota, now = Rota(rows), at(10, 18)
    assert rota.on(at(10, 11), now) == ()
    assert rota.on(at(10, 12), now) == (("ann", Role.MODERATOR),)
    assert [(s.starts_at, s.ends_at) for s in rota.shifts_at(at(10, 13), now)] == [
        (at(10, 12), at(10, 13) + timedelta(days=35))
    ]


def test_a_shift_that_was_taken_over_may_be_passed_on() -> None:
    """Covers hold in the order in which they were written; leave comes after all of them."""
    day = (at(10, 8), at(10, 20))
    rows: list[RotaRow] = [
        Extra(1, LONG_AGO, "ann", Role.MODERATOR, *day),
        Cover(2, LONG_AGO, "ann", "ben", Role.MODERATOR, *day),
        Cover(3, LONG_AGO, "ben", "cat", Role.MODERATOR, at(10, 12), at(10, 20)),
        Leave(4, LONG_AGO, "cat", at(10, 16), at(10, 20)),
    ]
    stints = Rota(rows).stints(at(10, 0), at(11, 0), LONG_AGO)
    assert [(s.account, s.starts_at.hour, s.ends_at.hour) for s in stints] == [("ben", 8, 12), ("cat", 12, 16)]


# --- gaps and burdens -------------------------------------------------------------------------------------------------


def team(*more: RotaRow) -> Rota:
    """Everybody who must be there is, until a test adds more rows."""
    rows: list[RotaRow] = [
        Rotation(1, LONG_AGO, "M", always("moderators", ("ann", "ben"))),
        Rotation(2, LONG_AGO, "C", always("clinician", ("cat",), Role.CLINICIAN)),
        Rotation(3, LONG_AGO, "L", always("lead", ("dov",), Role.CLINICAL_LEAD)),
    ]
    return Rota([*rows, *more])


def test_no_gap_where_everybody_is_there() -> None:
    """A rota that has somebody of each role at every moment has no gap in 14 days, over a change of clocks as well."""
    assert gaps(team(), POLICY, datetime(2026, 10, 20, tzinfo=UTC)) == ()


def test_leave_and_a_lost_skill_are_gaps_with_their_hours() -> None:
    """A gap says from when to when, whom it lacks, and whether somebody is there who lacks only the skill."""
    now = at(1, 0)
    rota = team(
        Leave(4, LONG_AGO, "cat", at(3, 10), at(3, 18)),
        Rotation(5, LONG_AGO, "G", always("groups", ("eve",), skill="groups", first=date(2026, 11, 1))),
        Skill(6, LONG_AGO, "eve", "groups", True, at(5, 12)),
    )
    found = gaps(rota, POLICY, now)
    assert [(g.role, g.starts_at, g.lack, g.needed, g.there) for g in found] == [
        (Role.CLINICIAN, at(3, 10), Lack.NOBODY, 1, 0),
        (Role.MODERATOR, at(5, 12), Lack.SKILL, 2, 1),
    ]
    assert (found[0].ends_at, found[1].ends_at) == (at(3, 18), now + POLICY.ahead)


def test_nobody_on_a_rota_is_one_gap_for_each_role() -> None:
    """An empty rota is a gap from now on for everybody whom a ladder calls by it."""
    found = gaps(Rota([]), POLICY, at(1, 0))
    assert {(g.role, g.starts_at, g.ends_at) for g in found} == {
        (role, at(1, 0), at(15, 0)) for role in (Role.MODERATOR, Role.CLINICIAN, Role.CLINICAL_LEAD)
    }


@pytest.mark.parametrize(("hours", "expected"), [(73, None), (72, 72), (25, 72), (24, 24), (2, 2), (0, 2)])
def test_a_gap_is_told_72_24_and_2_hours_before(hours: int, expected: int | None) -> None:
    """Each warning holds from its hour until the next one's."""
    now = at(3, 10) - timedelta(hours=hours)
    (gap,) = gaps(team(Leave(4, LONG_AGO, "cat", at(3, 10), at(3, 18))), POLICY, now)
    assert warning(gap, POLICY, now) == (None if expected is None else timedelta(hours=expected))


def test_burdens_count_hours_nights_and_weekends_as_the_wall_shows() -> None:
    """The long night of October has 13 hours, is one night of one weekend; an evening until 22 is no night's work."""
    night = Shift("ann", Role.MODERATOR, datetime(2026, 10, 24, 19, tzinfo=UTC), datetime(2026, 10, 25, 8, tzinfo=UTC))
    evening = Shift("ben", Role.MODERATOR, at(10, 14), at(10, 22))
    ann, ben = burdens([night, evening], HOURS)
    assert (ann.hours, ann.nights, ann.weekends, ann.shifts) == (13, 1, 1, 1)
    assert (ben.hours, ben.nights, ben.weekends) == (8, 0, 0)


# --- the calendar and the policy --------------------------------------------------------------------------------------


def test_the_calendar_is_what_the_standard_asks_for() -> None:
    """Each shift is an event in UTC; text is escaped, lines are folded at 75 octets and end with CRLF."""
    shift = Shift("01ABC", Role.MODERATOR_LEAD, at(10, 8), at(10, 20))
    name = "Zoë, nights; and days " + "é" * 60
    text = calendar([shift], name, at(1, 9))
    assert text.endswith("END:VCALENDAR\r\n")
    assert "\n" not in text.replace("\r\n", "")
    lines = text.split("\r\n")
    assert all(len(line.encode()) <= 75 for line in lines)
    unfolded = text.replace("\r\n ", "")
    assert f"X-WR-CALNAME:Zoë\\, nights\\; and days {'é' * 60}\r\n" in unfolded
    for line in (
        "UID:01ABC-moderator_lead-20261110T080000Z@evenkeel",
        "DTSTAMP:20261101T090000Z",
        "DTSTART:20261110T080000Z",
        "DTEND:20261110T200000Z",
        "SUMMARY:On duty: moderator lead",
    ):
        assert line in lines


@pytest.mark.parametrize(
    ("line", "instead", "words"),
    [
        ("moderator = 1", "moderator = 0", "whole numbers from 1"),
        ("moderator = 1", "member = 1", "whole numbers from 1"),
        ("warn_h = [72, 24, 2]", "warn_h = []", "a list of whole hours"),
        ("tell_min = 10", "tell_min = 30", "less than ask_min"),
        ("offer_min = 20", "", "needs offer_min"),
    ],
)
def test_a_policy_that_can_not_be_used_says_why(tmp_path: Path, line: str, instead: str, words: str) -> None:
    """A missing or impossible number names file, line and cure."""
    path = tmp_path / "rota.toml"
    text = ROTA.read_text(encoding="utf-8")
    assert line in text
    path.write_text(text.replace(line, instead, 1), encoding="utf-8")
    with pytest.raises(PolicyError, match=rf"rota\.toml:\d+: .*{words}"):
        RotaPolicy.load(path)
