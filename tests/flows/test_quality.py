"""The figures of the filter in service, from what people read blind and from how cases were closed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from moderation.measuring import Measured
from moderation.types import Role
from ops.quality import measure
from server.actions.quality import quality
from server.auth.permissions import LEADS
from server.errors import BadRequest, Refused
from tests import harness
from tests.flows.test_reviews import MISSED, PLAIN, Shift, shift
from tests.path.scene import URGENT

__all__ = ["shift"]
CUT = "I cut my arms again last night"


async def figures(shift: Shift) -> Measured:
    now = shift.services.clock.now()
    return await quality(shift.services, shift.lead, now - timedelta(days=28), now)


async def reviewed(shift: Shift) -> None:
    """Eight ordinary messages, one that is missed and one that is found; all read, some twice."""
    shift.services.review = replace(shift.services.review, second=1.0)
    await shift.services.lists.start()
    levels = dict.fromkeys(await shift.say(*[PLAIN] * 8), (0, 0))
    levels |= dict(zip(await shift.say(MISSED, CUT), [(2, 1), (2, 2)], strict=True))
    await shift.over()
    for ref, (first, second) in levels.items():
        item = (await shift.item(ref)).id
        await shift.judge(shift.sam, item, first, "H" if first else "")
        await shift.judge(shift.lead, item, second, "H" if second else "")


async def test_what_was_read_becomes_figures(shift: Shift) -> None:
    """Sensitivity, PPV and agreement come out of the rows, in all and by category, list and entry."""
    await reviewed(shift)
    found = await figures(shift)
    assert (found.messages, found.read, found.unread, found.misses) == (10, 10, 0, 1)
    assert (found.sensitivity.value, found.sensitivity.read, found.ppv.value) == (0.5, 2, 1.0)
    assert (found.agreement.pairs, found.agreement.same) == (10, 9)
    assert found.agreement.kappa is not None
    assert 0.8 < found.agreement.kappa < 1
    by_category = {line.name: line for line in found.categories}
    assert (by_category["H"].sensitivity.value, by_category["H"].ppv.value) == (0.5, 1.0)
    assert by_category["S"].sensitivity.read == 0
    by_list = {line.name: line for line in found.lists}
    assert (by_list["self-harm"].sensitivity.value, by_list["self-harm"].ppv.read) == (0.5, 1)
    assert {line.entry: (line.list, line.right, line.wrong) for line in found.entries}["h-cut-again"] == (
        "self-harm",
        1,
        0,
    )


async def test_the_first_judgement_is_the_one_that_counts(shift: Shift) -> None:
    """A second reader says how far people agree, and moves no other figure; "can not say" is no judgement."""
    await reviewed(shift)
    before = await figures(shift)
    (ref,) = await shift.say(PLAIN)
    await shift.over()
    item = (await shift.item(ref)).id
    await shift.judge(shift.sam, item, None)
    assert (await figures(shift)).read == before.read
    await shift.judge(shift.lead, item, 0)
    after = await figures(shift)
    assert (after.read, after.agreement) == (before.read + 1, before.agreement)


@pytest.mark.parametrize(
    ("outcome", "right", "wrong"),
    [("no_concern", 0, 1), ("supported", 1, 0), ("passed_to_clinician", 1, 0), ("removed", 1, 0), ("other", 0, 0)],
)
async def test_how_a_case_was_closed_is_a_label_too(shift: Shift, outcome: str, right: int, wrong: int) -> None:
    """What a moderator closes as no concern was a false alarm, any other outcome a right one; "other" says neither."""
    await shift.services.lists.start()
    await shift.say(CUT)
    (case,) = await shift.scene.queue()
    await shift.scene.act(shift.sam, case, "claim")
    assert (await figures(shift)).ppv_cases.total == 0
    await shift.scene.act(shift.sam, case, "close", outcome=outcome, body="Read it.")
    await harness.fast_forward(shift.services, timedelta(seconds=1))
    found = await figures(shift)
    assert (found.ppv_cases.count, found.ppv_cases.total) == (right, right + wrong)
    assert {(line.right, line.wrong) for line in found.entries} == ({(right, wrong)} if right + wrong else set())


async def test_a_period_holds_its_own_shifts_only(shift: Shift) -> None:
    """What was drawn before the period, or after it, is in none of its figures."""
    await reviewed(shift)
    now = shift.services.clock.now()
    for since, until in ((now - timedelta(hours=1), now), (now - timedelta(days=30), now - timedelta(days=8))):
        found = await quality(shift.services, shift.lead, since, until)
        assert (found.messages, found.read, found.ppv_cases.total) == (0, 0, 0)


async def test_only_leads_see_the_figures(shift: Shift) -> None:
    """Figures are for those who lead; everybody else is refused."""
    now = shift.services.clock.now()
    for who in (shift.lead, shift.clinical):
        assert who.role in LEADS
        await quality(shift.services, who, now - timedelta(days=1), now)
    for who in (shift.sam, shift.clinician, shift.scene.robin, await harness.staff(shift.services, "Ada", Role.ADMIN)):
        with pytest.raises(Refused):
            await quality(shift.services, who, now - timedelta(days=1), now)


async def test_the_command_line_says_the_same(shift: Shift) -> None:
    """Read beside the running service: the page's figures with their period, and nobody's words or names."""
    await reviewed(shift)
    await shift.say(URGENT)
    told, lines = await measure(shift.services.settings, None, None)
    found = await figures(shift)
    assert told["sensitivity"] == {
        "value": 0.5,
        "low": found.sensitivity.low,
        "high": found.sensitivity.high,
        "read": 2,
    }
    assert datetime.fromisoformat(told["to"]) - datetime.fromisoformat(told["from"]) == timedelta(days=28)
    assert [line["name"] for line in told["lists"]] == [line.name for line in found.lists]
    said = json.dumps(told) + "\n".join(lines)
    assert "sensitivity (2 and 3 found)" in said
    assert not any(text in said for text in (PLAIN, MISSED, CUT, URGENT, "Robin"))
    today = datetime.fromisoformat(told["to"]).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    with pytest.raises(BadRequest, match="end after it begins"):
        await measure(shift.services.settings, today, today)
