"""Blind review: drawn once a shift, read by whoever reads that room, and a miss is a person who is looked after."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Row, select

from moderation.draws import Band
from moderation.types import Category, Level, Role, RoomKind, TextKind, Verdict
from server.actions import reviewing
from server.actions.messages import edit_message, remove_message
from server.actions.reports import report_message
from server.actions.rooms import make_room
from server.actions.services import Services
from server.auth.requester import Requester
from server.errors import BadRequest, Conflict, NotFound, Refused
from server.ids import new_id
from server.protocol.frames import Edit, Remove, Report
from server.store import reviews
from server.store.schema import (
    case_message,
    message,
    obligation,
    review_case,
    review_draw,
    review_item,
    review_judgement,
    review_stratum,
)
from tests import harness
from tests.path.scene import CLEAN, URGENT, Scene, belong, client_id, make_scene

# Nothing is found in it, but nearly; what a reader makes of it is another matter.
MISSED = "nobody would notice if my chair was empty really"
PLAIN = "same old rubbish day, felt flat"
DAY = timedelta(hours=25)


@dataclass
class Shift:
    """A room in which things were said, and the people who read them afterwards."""

    services: Services
    scene: Scene
    lead: Requester
    clinical: Requester
    clinician: Requester

    @property
    def sam(self) -> Requester:
        return self.scene.sam

    async def say(self, *texts: str, who: Requester | None = None, feed: str | None = None) -> list[str]:
        return [(await self.scene.say(who or self.scene.robin, text, feed=feed)).message for text in texts]

    async def over(self) -> int:
        """Let a day pass, and draw what was said."""
        await harness.fast_forward(self.services, DAY)
        return await reviewing.draw_shifts(self.services)

    async def rows(self, table: Any) -> list[Row[Any]]:
        return list(await self.services.store.read(lambda conn: conn.execute(select(table)).all()))

    async def item(self, ref: str) -> Row[Any]:
        (row,) = [row for row in await self.rows(review_item) if row.message == ref]
        return row

    async def judge(
        self, who: Requester, item: str, level: int | None, about: str = "S", re: str | None = None
    ) -> reviewing.Judged:
        categories = tuple(Category(letter) for letter in about) if level else ()
        chosen = None if level is None else Level(level)
        return await reviewing.judge(self.services, who, re or client_id(), item, chosen, categories, new_id())

    async def reads(self, who: Requester) -> set[str]:
        """The messages that wait for this person."""
        waiting = set(await reviewing.waiting(self.services, who))
        return {row.message for row in await self.rows(review_item) if row.id in waiting}


@pytest.fixture
async def shift(services: Services) -> Shift:
    # Just under the line is where this model puts that message; where that is, another model may see otherwise.
    verdict = services.screening.screen(MISSED, TextKind.MESSAGE, RoomKind.COMMUNITY, Role.MEMBER)
    near = verdict.score
    assert near > 0.1, verdict
    services.review = replace(services.review, second=0.0, near=near)
    return Shift(
        services,
        await make_scene(services),
        await harness.staff(services, "Mo", Role.MODERATOR_LEAD),
        await harness.staff(services, "Lea", Role.CLINICAL_LEAD),
        await harness.staff(services, "Dr Osei", Role.CLINICIAN),
    )


async def room_with(shift: Shift, kind: RoomKind) -> str:
    subject = shift.scene.robin.account if kind in (RoomKind.THERAPY, RoomKind.SUPPORT) else None
    feed = await make_room(shift.services, kind, "Another room", "For these tests", subject)
    await belong(shift.services, feed, shift.scene.robin)
    return feed


# --- the draw ---


async def test_a_shift_is_drawn_by_what_the_filter_said(shift: Shift) -> None:
    """Each message is in its band, each stratum says how many it held, and the verdict keeps the score."""
    plain, near, urgent = await shift.say(PLAIN, MISSED, URGENT)
    assert await shift.over() == 3
    bands = {row.message: row.band for row in await shift.rows(review_item)}
    assert bands == {plain: Band.PLAIN, near: Band.NEAR, urgent: Band.FLAGGED}
    assert sum(row.messages for row in await shift.rows(review_stratum)) == 3
    scores = {row.id: Verdict.from_json(row.verdict).score for row in await shift.rows(message)}
    assert scores[plain] < shift.services.review.near <= scores[near] < 1 < 3 <= scores[urgent]
    assert await harness.audited(shift.services, "review_drawn")


async def test_more_is_said_than_is_drawn_and_weights_say_how_much_more(shift: Shift) -> None:
    """Of a large stratum as many are drawn as the policy says, each for its share of the whole."""
    shift.services.review = replace(shift.services.review, sizes=dict.fromkeys(Band, 4))
    await shift.say(*[PLAIN] * 12)
    await shift.over()
    assert [row.weight for row in await shift.rows(review_item)] == [3.0] * 4
    assert [(row.messages, row.drawn) for row in await shift.rows(review_stratum)] == [(12, 4)]


async def test_a_shift_is_drawn_once_whoever_tries(shift: Shift) -> None:
    """Two that draw at once, and one that draws again, leave one draw; the next shift is another."""
    await shift.say(PLAIN, MISSED)
    await harness.fast_forward(shift.services, DAY)
    counts = await asyncio.gather(*(reviewing.draw_shifts(shift.services) for _ in range(3)))
    assert sorted(counts) == [0, 0, 2]
    assert await reviewing.draw_shifts(shift.services) == 0
    starts = [row.starts_at for row in await shift.rows(review_draw)]
    assert len(starts) == len(set(starts)) == len(await harness.audited(shift.services, "review_drawn"))
    await shift.say(PLAIN)
    assert await shift.over() == 1


async def test_only_members_words_that_stand_are_drawn(shift: Shift) -> None:
    """Staff are not reviewed, what its author took away stays away, and an edited message is read as it is now."""
    (edited, gone), _ = await shift.say(PLAIN, CLEAN), await shift.say(CLEAN, who=shift.sam)
    robin, feed = shift.scene.robin, shift.scene.feed
    await remove_message(shift.services, robin, Remove(client_id=client_id(), feed=feed, message=gone), new_id())
    await edit_message(shift.services, robin, Edit(client_id=client_id(), feed=feed, message=edited, body=MISSED))
    await shift.over()
    assert [(row.message, row.band) for row in await shift.rows(review_item)] == [(edited, Band.NEAR)]
    text = await reviewing.open_text(shift.services, shift.sam, (await shift.item(edited)).id, new_id())
    assert text.text == MISSED


async def test_a_share_is_read_by_two(shift: Shift) -> None:
    """What two people are to read waits until two have judged it, and neither is asked twice."""
    shift.services.review = replace(shift.services.review, second=1.0)
    (ref,) = await shift.say(PLAIN)
    await shift.over()
    item = (await shift.item(ref)).id
    await shift.judge(shift.sam, item, 0)
    assert (await shift.reads(shift.sam), await shift.reads(shift.lead)) == (set(), {ref})
    await shift.judge(shift.lead, item, 1)
    assert await shift.reads(shift.clinical) == set()
    assert Counter(row.reader for row in await shift.rows(review_judgement)) == {
        shift.sam.account: 1,
        shift.lead.account: 1,
    }


async def test_what_was_drawn_long_ago_waits_no_longer(shift: Shift) -> None:
    """A message that nobody has read for as long as the policy says is not asked about any more."""
    await shift.say(PLAIN)
    await shift.over()
    assert await reviewing.waiting(shift.services, shift.sam)
    await harness.fast_forward(shift.services, shift.services.review.open_for)
    assert await reviewing.waiting(shift.services, shift.sam) == []


# --- reading: blind, and on one's own side of the wall ---


@pytest.mark.parametrize("kind", list(RoomKind))
async def test_who_reads_what_was_drawn(shift: Shift, kind: RoomKind) -> None:
    """Therapy is read by clinicians and never by a moderator; everything else the other way round, the lead both."""
    feed = await room_with(shift, kind)
    (ref,) = await shift.say(PLAIN, feed=feed)
    await shift.over()
    item = (await shift.item(ref)).id
    care = kind is RoomKind.THERAPY
    may = {shift.sam: not care, shift.lead: not care, shift.clinical: True, shift.clinician: care}
    for who, allowed in may.items():
        assert await shift.reads(who) == ({ref} if allowed else set())
        if allowed:
            assert (await reviewing.open_text(shift.services, who, item, new_id())).text == PLAIN
            continue
        with pytest.raises(NotFound):
            await reviewing.open_text(shift.services, who, item, new_id())
        with pytest.raises(NotFound):
            await shift.judge(who, item, 0)
    with pytest.raises(Refused):
        await reviewing.waiting(shift.services, shift.scene.wren)


async def test_each_opening_is_one_audit_row(shift: Shift) -> None:
    """Who opened which message is recorded each time, before it is shown; a refused one leaves no row."""
    (ref,) = await shift.say(PLAIN)
    await shift.over()
    item = (await shift.item(ref)).id
    for who in (shift.sam, shift.sam, shift.lead):
        await reviewing.open_text(shift.services, who, item, new_id())
    with pytest.raises(NotFound):
        await reviewing.open_text(shift.services, shift.clinician, item, new_id())
    expected = [(who.account, ref, "review") for who in (shift.sam, shift.sam, shift.lead)]
    assert await harness.audited(shift.services, "review_text_read") == expected


async def test_a_reader_is_told_the_text_and_nothing_else(shift: Shift) -> None:
    """What is flagged and what is not look alike to whoever reads: a text, a kind of room, an id."""
    refs = await shift.say(URGENT, PLAIN)
    await shift.over()
    for ref, text in zip(refs, (URGENT, PLAIN), strict=True):
        item = await shift.item(ref)
        shown = await reviewing.open_text(shift.services, shift.sam, item.id, new_id())
        assert shown == reviewing.ToRead(item.id, RoomKind.COMMUNITY, text)
        assert text not in repr(shown)


async def test_what_its_author_took_away_since_is_not_opened(shift: Shift) -> None:
    """A message that was removed by its author after the draw is not shown; it can be judged as not to be told."""
    (ref,) = await shift.say(PLAIN)
    await shift.over()
    command = Remove(client_id=client_id(), feed=shift.scene.feed, message=ref)
    await remove_message(shift.services, shift.scene.robin, command, new_id())
    item = (await shift.item(ref)).id
    assert (await reviewing.open_text(shift.services, shift.sam, item, new_id())).text is None
    await shift.judge(shift.sam, item, None)
    assert [row.level for row in await shift.rows(review_judgement)] == [None]


# --- judging: a miss is a person ---


@pytest.mark.parametrize("level", [2, 3])
async def test_a_miss_opens_a_case_with_a_running_timer(shift: Shift, level: int) -> None:
    """Whoever was missed is looked after from then on, as urgently as the reader says; they are told nothing."""
    (ref,) = await shift.say(MISSED)
    await shift.over()
    assert await shift.rows(review_case) == []
    judged = await shift.judge(shift.sam, (await shift.item(ref)).id, level, "SC")
    (case,), (held,), (duty,) = [await shift.rows(table) for table in (review_case, case_message, obligation)]
    assert judged == reviewing.Judged(judged.item, True, case.id, ref, level, "SC")
    assert (case.subject, case.origin, case.level, case.categories) == (
        shift.scene.robin.account,
        "review",
        level,
        "SC",
    )
    assert (case.care, case.side, case.feed) == ("none", "community", shift.scene.feed)
    assert (held.message, held.level, held.origin) == (ref, level, "review")
    assert (duty.case, duty.state, duty.level) == (case.id, "running", level)
    assert [item.id for item in await shift.scene.queue()] == [case.id]
    page = await shift.scene.look(shift.sam, case.id)
    assert [fact.detail for fact in page.history if fact.what == "open"] == ["review"]


async def test_a_miss_in_therapy_is_the_clinicians(shift: Shift) -> None:
    """A case from a therapy message stays on its side: the moderators' feed never hears of it."""
    (ref,) = await shift.say(MISSED, feed=await room_with(shift, RoomKind.THERAPY))
    await shift.over()
    judged = await shift.judge(shift.clinician, (await shift.item(ref)).id, 2)
    assert await shift.scene.queue() == []
    assert [item.id for item in await shift.scene.queue(shift.clinician, "staff:clinical")] == [judged.case]


@pytest.mark.parametrize(("level", "opens"), [(None, False), (0, False), (1, False), (2, True)])
async def test_only_what_is_worrying_opens_a_case(shift: Shift, level: int | None, opens: bool) -> None:
    """Nothing, grey and "can not say" are answers like others, and call nobody."""
    (ref,) = await shift.say(MISSED)
    await shift.over()
    judged = await shift.judge(shift.sam, (await shift.item(ref)).id, level)
    assert (judged.missed, bool(judged.case), bool(await shift.rows(review_case))) == (opens, opens, opens)


async def test_whoever_is_looked_after_already_is_not_raised_again(shift: Shift) -> None:
    """A flagged message whose case a person has closed, or which came in as urgently, raises nothing anew."""
    urgent, closed = await shift.say(URGENT), await shift.say(URGENT, who=shift.scene.wren)
    for case in await shift.scene.queue():
        if case.subject.id == shift.scene.wren.account:
            for act, more in (
                ("claim", {}),
                ("release_message", {"message": closed[0]}),
                ("close", {"outcome": "supported"}),
            ):
                await shift.scene.act(shift.sam, case, act, **more)
    await shift.over()
    before = await shift.rows(review_case)
    for ref in (urgent[0], closed[0]):
        judged = await shift.judge(shift.lead, (await shift.item(ref)).id, 3)
        assert (judged.missed, judged.case, judged.message) == (False, "", "")
    assert await shift.rows(review_case) == before


async def test_an_open_case_rises_with_what_a_reader_finds(shift: Shift) -> None:
    """A message that others reported as a trifle, and that a reader finds urgent, lets its case rise."""
    (ref,) = await shift.say(MISSED)
    report = Report(client_id=client_id(), feed=shift.scene.feed, message=ref, reason="other", body="")
    await report_message(shift.services, shift.scene.wren, report, new_id())
    await shift.over()
    assert [row.level for row in await shift.rows(review_case)] == [1]
    judged = await shift.judge(shift.sam, (await shift.item(ref)).id, 3)
    assert [(row.id, row.level) for row in await shift.rows(review_case)] == [(judged.case, 3)]


async def test_a_judgement_counts_once(shift: Shift) -> None:
    """The same form sent twice is one judgement and one case; another one by the same person is refused."""
    (ref,) = await shift.say(MISSED)
    await shift.over()
    item, re = (await shift.item(ref)).id, client_id()
    answers = [await shift.judge(shift.sam, item, 2, re=re) for _ in range(2)]
    assert answers[0] == answers[1] == await reviewing.outcome(shift.services, shift.sam, item)
    with pytest.raises(Conflict):
        await shift.judge(shift.sam, item, 0)
    assert (len(await shift.rows(review_judgement)), len(await shift.rows(review_case))) == (1, 1)
    assert len(await harness.audited(shift.services, "review_judged")) == 1


async def test_a_level_needs_what_it_is_about(shift: Shift) -> None:
    """From grey up a judgement names a category, and without one nothing is kept."""
    (ref,) = await shift.say(MISSED)
    await shift.over()
    with pytest.raises(BadRequest):
        await shift.judge(shift.sam, (await shift.item(ref)).id, 2, about="")
    assert await shift.rows(review_judgement) == []
    assert await shift.services.store.read(lambda conn: reviews.cases_with(conn, ref)) == []
