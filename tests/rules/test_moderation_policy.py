"""Dispositions as a table that reads as policy, and a pipeline that never takes silence for clean."""

from datetime import timedelta
from pathlib import Path

import pytest

from moderation.checks import Check
from moderation.files import PolicyError
from moderation.pipeline import Pipeline
from moderation.policy import DISPOSITION, DispositionPolicy
from moderation.types import Category, Disposition, Finding, Level, Role, RoomKind, Submission, TextKind, Verdict
from server.main import load_lists
from watchwords.lexicon import Lexicon
from watchwords.matcher import Matcher

MATCHER = load_lists()
POLICY = DispositionPolicy.load()
MEMBER, MESSAGE = Role.MEMBER, TextKind.MESSAGE


def submission(text: str, room: RoomKind | None, kind: TextKind = MESSAGE, role: Role = MEMBER) -> Submission:
    return Submission(text, kind, room, role)


@pytest.mark.parametrize(
    ("room", "kind", "role", "text", "disposition"),
    [
        ("community", "message", "member", "hello all", "publish"),
        ("community", "message", "member", "what's the point anymore", "flag"),
        ("community", "message", "member", "i want to die", "flag"),
        ("group", "message", "member", "i want to die", "flag"),
        ("community", "message", "member", "im going to kill myself tonight", "hold"),
        ("community", "message", "member", "what is a lethal dose", "hold"),
        ("community", "message", "member", "just go kill yourself", "hold"),
        ("community", "message", "member", "ring 07700 900123", "mask"),
        ("community", "message", "member", "going to kill myself tonight, ring 07700 900123", "hold"),
        ("community", "message", "moderator", "ring 07700 900123", "publish"),
        ("therapy", "message", "member", "im going to kill myself tonight", "flag"),
        ("therapy", "message", "member", "just go kill yourself", "flag"),
        ("support", "message", "member", "ring 07700 900123", "flag"),
        ("therapy", "message", "member", "hello", "publish"),
        ("community", "message", "member", "main bahut thak gayi hoon ab aur nahi hota", "flag"),
        ("therapy", "message", "member", "main bahut thak gayi hoon ab aur nahi hota", "flag"),
        ("community", "message", "moderator", "main bahut thak gayi hoon ab aur nahi hota", "publish"),
        (None, "nickname", "member", "nahi hota mujhse", "publish"),
        (None, "journal", "member", "nie mam sily dalej tak byc", "flag"),
        (None, "nickname", "member", "RiverFox", "publish"),
        (None, "nickname", "member", "iwanttodie", "refuse"),
        (None, "report", "member", "he was rude", "flag"),
        (None, "help", "member", "hi", "flag"),
        (None, "staff_note", "clinician", "suicidal, has a plan to end it", "publish"),
        (None, "journal", "member", "i want to die", "flag"),
    ],
)
def test_policy(room: str | None, kind: str, role: str, text: str, disposition: str) -> None:
    """The first policy, row by row."""
    verdict = Pipeline(MATCHER, POLICY, lambda: 0).screen(
        submission(text, RoomKind(room) if room else None, TextKind(kind), Role(role))
    )
    assert verdict.disposition == Disposition(disposition)
    assert Verdict.from_json(verdict.to_json()) == verdict


def test_mask_covers_the_contact_details() -> None:
    """A masked text names exactly the spans that members must not see."""
    text = "ring 07700 900123 please"
    verdict = Pipeline(MATCHER, POLICY, lambda: 0).screen(submission(text, RoomKind.COMMUNITY))
    assert [text[start:end] for start, end in verdict.mask_spans] == ["07700 900123"]


def raising(submission: Submission, text: str) -> list[Finding]:
    raise RuntimeError(text)


@pytest.mark.parametrize(
    ("room", "disposition"),
    [("community", "hold"), ("group", "hold"), ("therapy", "flag"), ("support", "flag")],
)
def test_failing_check_is_never_clean(room: str, disposition: str) -> None:
    """A check that raises leaves an incomplete verdict, and the other checks still run."""
    seen = Finding("later", Category.CRISIS, Level.GREY, "e", 0, 1, "r")
    checks: list[tuple[str, Check]] = [("bad", raising), ("later", lambda s, t: [seen])]
    verdict = Pipeline(MATCHER, POLICY, lambda: 0, checks=checks).screen(submission("secret", RoomKind(room)))
    assert not verdict.complete
    assert verdict.disposition == Disposition(disposition)
    assert seen in verdict.findings
    assert ("bad", "check_failed") in {(f.check, f.reason) for f in verdict.findings}
    assert "secret" not in verdict.to_json()


@pytest.mark.parametrize(
    ("spent_ms", "chars", "complete"),
    [(4, 1, True), (5, 1, True), (6, 1, False), (5, 249, True), (6, 249, False), (10, 250, True), (11, 499, False)],
)
def test_deadline_is_five_milliseconds_for_each_250_characters(spent_ms: int, chars: int, complete: bool) -> None:
    """A check that ends after the deadline makes the verdict incomplete, and the next does not begin."""
    now, ran = [0], []

    def slow(submission: Submission, text: str) -> list[Finding]:
        now[0] += round(timedelta(milliseconds=spent_ms).total_seconds() * 1e9)
        return []

    def after(submission: Submission, text: str) -> list[Finding]:
        ran.append(1)
        return []

    verdict = Pipeline(MATCHER, POLICY, lambda: now[0], checks=[("slow", slow), ("after", after)]).screen(
        submission("x" * chars, RoomKind.COMMUNITY)
    )
    assert verdict.complete is complete
    assert bool(ran) is complete
    assert [f.reason for f in verdict.findings] == ([] if complete else ["over_time"])


def test_empty_list_is_never_clean() -> None:
    """Lists with nothing in them make every verdict incomplete."""
    verdict = Pipeline(Matcher(Lexicon((), (), "w0")), POLICY, lambda: 0).screen(submission("x", RoomKind.COMMUNITY))
    assert (verdict.complete, verdict.disposition) == (False, Disposition.HOLD)
    assert [f.reason for f in verdict.findings] == ["empty_list"]


def test_unchecked_text_is_held_in_rooms_of_many() -> None:
    """A text that stalled the filter is not screened again and not published."""
    verdict = Pipeline(MATCHER, POLICY, lambda: 0).unchecked(submission("x", RoomKind.GROUP), "stalled")
    assert (verdict.complete, verdict.disposition) == (False, Disposition.HOLD)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('id = "clean"\n', 'id = "clean"\nmin_level = 1\n', "no rule answers"),
        ('id = "worrying"\nmin_level = 1\ndisposition = "flag"', 'id = "worrying"\ndisposition = "refuse"', "never"),
        ('disposition = "mask"', 'disposition = "shout"', "shout"),
        ('owner = "Clinical lead"\n', "", "needs name"),
    ],
)
def test_bad_policy_is_refused_with_its_line(tmp_path: Path, old: str, new: str, what: str) -> None:
    """A policy with a hole, a wrong word, no owner, or a refused disclosure does not load."""
    file = tmp_path / "p.toml"
    source = DISPOSITION.read_text()
    assert old in source
    file.write_text(source.replace(old, new))
    with pytest.raises(PolicyError, match=what) as caught:
        DispositionPolicy.load(file)
    assert str(caught.value).startswith(f"{file}:")
