"""The written part of the demonstration: who says what, when, and what the filter makes of it."""

from __future__ import annotations

import time
from datetime import timedelta
from itertools import islice, pairwise

import pytest

from moderation.pipeline import Pipeline
from moderation.policy import DispositionPolicy
from moderation.types import Disposition, Level, Role, RoomKind, Submission, TextKind, Verdict
from ops.demo import people
from ops.demo.script import AGAIN_EVERY_S, Said, script
from ops.demo.texts import load_stories, load_talk
from server.auth.credentials import check_name, name_key
from server.main import load_lists, load_model

TALK = load_talk()
STORIES = load_stories()


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    limit = timedelta(seconds=5)
    return Pipeline(load_lists(), DispositionPolicy.load(), time.monotonic_ns, deadline=limit, model=load_model())


def said(seed: int, count: int) -> list[Said]:
    return list(islice(script(TALK, STORIES, seed), count))


def met(pipeline: Pipeline, text: str, kind: RoomKind = RoomKind.COMMUNITY, role: Role = Role.MEMBER) -> Verdict:
    return pipeline.screen(Submission(text, TextKind.MESSAGE, kind, role))


def test_one_seed_gives_one_course_of_events() -> None:
    """The same seed gives the same people, words and times; another seed gives others."""
    assert said(1, 800) == said(1, 800)
    assert said(1, 800) != said(2, 800)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_somebody_speaks_every_few_seconds(seed: int) -> None:
    """The first words come within five seconds, and then never more than three seconds pass."""
    times = [line.at_s for line in said(seed, 800)]
    assert times[0] <= 5
    assert all(0 <= later - earlier <= 3.001 for earlier, later in pairwise(times))


def test_the_story_comes_at_its_times_with_other_people_each_time() -> None:
    """Something worrying at 15 s and something urgent at 25 s, and again every few minutes, by somebody else."""
    worries = [line for line in said(1, 1200) if line.kind != "talk"]
    assert [(line.kind, line.at_s) for line in worries[:4]] == [
        ("flagged", 15.0),
        ("urgent", 25.0),
        ("flagged", AGAIN_EVERY_S + 15.0),
        ("urgent", AGAIN_EVERY_S + 25.0),
    ]
    turn = [line.who for line in worries[: len(people.TROUBLED)]]
    assert sorted(turn) == sorted(people.TROUBLED)


def test_whoever_is_not_well_is_answered_next() -> None:
    """After a worrying message the next words of anybody are kind ones, in that room, to that person."""
    lines = said(1, 1200)
    for line in (line for line in lines if line.kind == "flagged"):
        answers = [later for later in lines[line.n + 1 :] if later.kind == "talk"][:2]
        assert [(answer.room, answer.reply_to) for answer in answers] == [(line.room, line.n)] * 2


def test_an_answer_follows_what_it_answers() -> None:
    """A reply names an earlier message of the same room by somebody else."""
    lines = said(1, 1200)
    replies = [line for line in lines if line.reply_to is not None]
    assert replies
    for line in replies:
        earlier = lines[line.reply_to or 0]
        assert (earlier.n < line.n, earlier.room, earlier.who != line.who) == (True, line.room, True)


def test_ordinary_talk_is_never_noticed(pipeline: Pipeline) -> None:
    """Nothing of the talk, slips of the pen included, is flagged: what a visitor sees flagged is meant to be."""
    noticed = {
        (line.text, tuple(finding.entry_id for finding in verdict.findings))
        for seed in (1, 2, 3)
        for line in said(seed, 1000)
        if line.kind == "talk" and (verdict := met(pipeline, line.text)).level is not Level.NONE
    }
    assert noticed == set()


def test_every_story_is_met_as_it_says(pipeline: Pipeline) -> None:
    """What should be flagged is published and flagged, and what is urgent is held."""
    stories = (*STORIES.flagged, *STORIES.urgent, *STORIES.past)
    verdicts = {story.text: met(pipeline, story.text) for story in stories}
    assert {text: (int(v.level), v.disposition is Disposition.HOLD) for text, v in verdicts.items()} == {
        story.text: (story.level, story.held) for story in stories
    }
    assert {story.level for story in STORIES.urgent} == {3}
    assert {story.level for story in STORIES.flagged} == {2}


def test_kind_answers_open_no_case(pipeline: Pipeline) -> None:
    """What the team, the helped and the room write in answer is not itself flagged."""
    by_team = (*(story.reply for story in STORIES.past), *(STORIES.replies.of(level) for level in (1, 2, 3)))
    by_members = (*(story.answer for story in STORIES.past), *STORIES.answers.lines)
    by_the_room = (*STORIES.greetings.lines, *(text for story in STORIES.flagged for text in story.comfort))
    verdicts = {
        **{text: met(pipeline, text, RoomKind.SUPPORT, Role.MODERATOR) for text in by_team if text},
        **{text: met(pipeline, text, RoomKind.SUPPORT) for text in by_members if text},
        **{text: met(pipeline, text.format(name="Bluebell")) for text in by_the_room},
    }
    assert {text for text, verdict in verdicts.items() if verdict.level is not Level.NONE} == set()


def test_the_invented_names_could_have_been_chosen_by_anybody(pipeline: Pipeline) -> None:
    """Each pseudonym is one that the service would accept at the door, and no two look alike."""
    for name in people.MEMBERS:
        check_name(name)
        assert pipeline.screen(Submission(name, TextKind.NICKNAME, None, Role.MEMBER)).level is Level.NONE, name
    names = (*people.MEMBERS, *(name for name, _ in people.STAFF))
    assert len({name_key(name) for name in names}) == len(names)
    assert len(people.MEMBERS) == 40
