"""The table of times, the rota and the case machine."""

from datetime import UTC, datetime, timedelta

import pytest

from moderation.cases import Act, CaseState, after, allowed_acts, joined
from moderation.ladders import Audience, LadderPolicy, Side, plan
from moderation.rota import Shift, on_duty, people_for
from moderation.types import Level, Role

POLICY = LadderPolicy.load()
T0 = datetime(2026, 11, 23, 2, tzinfo=UTC)
URGENT = POLICY.ladder_for(Side.COMMUNITY, Level.URGENT)


def everybody(audience: Audience) -> tuple[str, ...]:
    return (audience.value,)


def at(seconds: int) -> datetime:
    return T0 + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("side", "level", "rungs"),
    [
        ("community", 3, [(0, "on_call_moderator"), (15, "moderators_on_shift"), (30, "duty_clinician"),
                          (90, "clinical_lead"), (120, "fallback")]),
        ("community", 2, [(300, "moderators_on_shift"), (900, "duty_clinician"), (1800, "clinical_lead"),
                          (2700, "fallback")]),
        ("care", 3, [(0, "treating_therapist"), (0, "duty_clinician"), (90, "clinical_lead"), (120, "fallback")]),
    ],
)  # fmt: skip
def test_table_of_times(side: str, level: int, rungs: list[tuple[int, str]]) -> None:
    """Who is called when, as the design says."""
    ladder = POLICY.ladder_for(Side(side), Level(level))
    assert [(r.after.total_seconds(), r.audience.value) for r in ladder.rungs] == rungs


def test_care_never_calls_a_moderator() -> None:
    """No ladder of the care side reaches across the wall."""
    for level in (Level.GREY, Level.HIGH_NEED, Level.URGENT):
        audiences = {rung.audience for rung in POLICY.ladder_for(Side.CARE, level).rungs}
        assert not audiences & {Audience.ON_CALL_MODERATOR, Audience.MODERATORS_ON_SHIFT, Audience.FACILITATOR}


@pytest.mark.parametrize(
    ("next_rung", "now", "fired", "then", "due"),
    [(0, 0, [0], 1, 15), (1, 14, [], 1, 15), (1, 15, [1], 2, 30), (0, 95, [0, 1, 2, 3], 4, 120),
     (4, 120, [4], 5, 180), (5, 180, [4], 5, 240), (5, 9000, [4], 5, 9060)],
)  # fmt: skip
def test_due_rungs_fire(next_rung: int, now: int, fired: list[int], then: int, due: int) -> None:
    """Every rung that is due fires, however late; the last repeats each minute without end."""
    planned = plan(URGENT, T0, next_rung, everybody, at(now))
    assert ([s.rung for s in planned.steps], planned.next_rung, planned.next_due_at) == (fired, then, at(due))


def test_empty_rung_is_skipped_at_once() -> None:
    """With no moderator anywhere the clinician is called at second 0, and both gaps are reported."""

    def people(audience: Audience) -> tuple[str, ...]:
        return () if "moderator" in audience.value else (audience.value,)

    planned = plan(URGENT, T0, 0, people, T0)
    assert [(s.audience.value, s.empty) for s in planned.steps] == [
        ("on_call_moderator", True), ("moderators_on_shift", True), ("duty_clinician", False),
    ]  # fmt: skip
    assert planned.next_due_at == at(90)


def test_fallback_can_not_be_empty() -> None:
    """An empty fallback list is an error that names the cure."""
    with pytest.raises(ValueError, match="name at least one person"):
        plan(URGENT, T0, 4, lambda a: (), at(120))


def test_rota_is_half_open() -> None:
    """A shift counts from its first instant to just before its last; the longest left comes first."""
    shifts = [Shift("a", Role.MODERATOR, at(0), at(60)), Shift("b", Role.MODERATOR, at(0), at(90))]
    assert on_duty(shifts, Role.MODERATOR, at(0)) == ("b", "a")
    assert on_duty(shifts, Role.MODERATOR, at(60)) == ("b",)
    assert people_for(Audience.ON_CALL_MODERATOR, shifts, ("f",), at(0)) == ("b",)
    assert people_for(Audience.FALLBACK, shifts, ("f",), at(900)) == ("f",)


def test_a_moderator_lead_on_shift_is_called_as_a_moderator() -> None:
    """Who leads the moderators and is on shift is one of them; nobody is left uncalled for a grander title."""
    shifts = [Shift("lead", Role.MODERATOR_LEAD, at(0), at(60))]
    assert on_duty(shifts, Role.MODERATOR, at(0)) == ("lead",)
    assert on_duty(shifts, Role.CLINICIAN, at(0)) == ()


def test_case_needs_an_owner_before_the_member_is_touched() -> None:
    """An open case is claimed first; a closed one is only reopened; nothing else is offered."""
    assert allowed_acts(CaseState.OPEN, Role.MODERATOR, False) == (Act.CLAIM, Act.ACKNOWLEDGE, Act.ESCALATE)
    assert allowed_acts(CaseState.CLOSED, Role.MODERATOR, False) == (Act.REOPEN,)
    assert allowed_acts(CaseState.OPEN, Role.MEMBER, False) == ()
    assert Act.REMOVE_MESSAGE not in allowed_acts(CaseState.CLAIMED, Role.THERAPIST, True)
    assert Act.CLOSE in allowed_acts(CaseState.ACTED, Role.CLINICIAN, True)
    assert after(CaseState.OPEN, Act.CLOSE) is None
    assert after(CaseState.CLAIMED, Act.REPLY) is CaseState.ACTED
    assert after(CaseState.ACTED, Act.RELEASE_CLAIM) is CaseState.OPEN


def test_level_of_a_case_never_falls() -> None:
    """A milder finding does not calm a case."""
    assert joined(Level.URGENT, Level.GREY) is Level.URGENT
    assert joined(Level.GREY, Level.HIGH_NEED) is Level.HIGH_NEED
