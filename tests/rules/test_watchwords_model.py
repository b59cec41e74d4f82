"""The model: its numbers are what was trained, it lowers and raises only as far as it may, and no text breaks it."""

from __future__ import annotations

import copy
import io
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.canaries import load_canaries, missed
from moderation.pipeline import Pipeline
from moderation.policy import DispositionPolicy
from moderation.types import Level, Role, RoomKind, Submission, TextKind
from ops.screen import evaluate, make_model
from server.errors import BadRequest
from server.main import load_lists, load_model
from watchwords.__main__ import BAD_LINE, FINE, screen
from watchwords.features import (
    EXTRA_WORDS,
    LESS_A_DOUBLING,
    WINDOW_WORDS,
    key_of,
    length_off,
    rules_of,
    sentences_of,
    windows,
    word_of,
)
from watchwords.labelled import TRAIN, load_corpus, of_part
from watchwords.model import MODEL_FILE, Model, ModelError, version_of
from watchwords.normalise import fold
from watchwords.quality import area, judge, quality, wilson
from watchwords.screening import Screened, Screener

MATCHER = load_lists()
MODEL = load_model()
SCREENER = Screener(MATCHER, MODEL)
URGENT = "I am going to kill myself tonight"


def content() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(MODEL_FILE.read_bytes())
    return loaded


def signed(changed: dict[str, Any]) -> Model:
    return Model({**changed, "version": version_of(changed)})


def tuned(**thresholds: float) -> Screener:
    """The lists with a model whose thresholds are as given."""
    changed = content()
    changed["thresholds"] |= thresholds
    return Screener(MATCHER, signed(changed))


NEVER = tuned(flag=99, urgent=99, grey=99, near=99)
ALWAYS = tuned(flag=-99, urgent=-99, grey=-99, gate=-99)


# What a level may become.


@pytest.mark.parametrize(
    ("text", "by_lists"),
    [(URGENT, 3), ("i want to kill myself", 2), ("he hits me", 2), ("i feel hopeless", 1)],
)
def test_the_model_never_lowers_a_list(text: str, by_lists: int) -> None:
    """However sure the model is that nothing is wrong, what two people signed stands at its level."""
    assert Screener(MATCHER).screen(text).level == by_lists
    said = NEVER.screen(text)
    assert said.level == by_lists
    assert max(found.level for found in said.findings) == by_lists


def test_the_shipped_model_loses_no_canary() -> None:
    """What must always be found is found with the model as it is found without."""
    assert missed(load_canaries(), lambda text: SCREENER.screen(text).findings) == ()


def test_a_contact_detail_keeps_its_level() -> None:
    """What must be masked is masked, whatever the model makes of the rest."""
    text = "text me on 07700 900123"
    levels = [found.level for found in Screener(MATCHER).screen(text).findings if found.category == "P"]
    assert levels
    assert [found.level for found in NEVER.screen(text).findings if found.category == "P"] == levels


def test_the_model_raises_where_no_list_found_anything() -> None:
    """A text of which the lists say nothing gets a level, a category, a reason and a place from the model alone."""
    text = "the kettle is on and the cat is asleep"
    assert Screener(MATCHER).screen(text) == Screened(0, 0.0, (), ())
    said = ALWAYS.screen(text)
    own = said.findings[0]
    assert said.level == 3
    assert own.entry_id == f"model:{ALWAYS.model.version if ALWAYS.model else ''}"
    assert 0 <= own.start < own.end <= len(text)
    assert own.category == said.cats[0]
    assert not any(word in own.reason for word in ("kettle", "cat", "asleep"))


def test_what_weighed_most_is_named_with_its_place() -> None:
    """Each reason of the model's finding is a rule by name or a span of the text, with a weight above nothing."""
    texts = [message.text for message in of_part(load_corpus(), TRAIN) if message.level == 3]
    own = [found for text in texts for found in SCREENER.screen(text).findings if found.entry_id.startswith("model:")]
    assert len(own) > 20
    for found in own:
        assert all(one.weight > 0 for one in found.because)
        assert all((one.feature == "words") is (one.end > one.start) for one in found.because)


def test_the_score_orders_within_and_across_levels() -> None:
    """The whole part of a score is its level, so that sorting by score never mixes levels."""
    said = [SCREENER.screen(message.text) for message in of_part(load_corpus(), TRAIN)[::7]]
    assert {one.level for one in said} == {0, 1, 2, 3}
    assert all(math.floor(one.score) == one.level for one in said)
    assert len({one.score for one in said}) > len(said) / 2


def test_one_sentence_in_a_long_cheerful_message_is_heard() -> None:
    """A disclosure weighs as much among ten plain sentences as by itself, but for a bounded part."""
    alone = "Nobody would miss me if I was gone."
    plain = "We had beans on toast and watched the snooker. The dog slept on my feet all evening. "
    long = plain * 3 + alone + " " + plain * 3
    words = sum(len(sentence.words) for sentence in sentences_of(fold(long)))
    assert words > 4 * WINDOW_WORDS
    assert MODEL.weigh(fold(long)).concern >= MODEL.weigh(fold(alone)).concern - length_off(words) - 2.5
    assert MODEL.weigh(fold(long)).concern > MODEL.weigh(fold(plain * 6)).concern


# The same features where it is made and where it is used.


@given(st.text(alphabet="abc .!?😀0", max_size=200))
def test_words_and_runs_are_weighed_as_they_were_learnt(text: str) -> None:
    """The fast sum over a text equals the sum over the features that training sees, stretch by stretch."""
    folded = fold(text)
    sentences = sentences_of(folded)
    lengths = [len(sentence.words) for sentence in sentences]
    rows = []
    for first, last in windows(lengths):
        part = sentences[first:last]
        total = sum(MODEL.word_weight(word) for sentence in part for word in sentence.words)
        total += sum(MODEL.run_weight(run) for sentence in part for run in sentence.runs)
        rows.append(MODEL.bias + total / math.sqrt(sum(lengths[first:last]) + EXTRA_WORDS))
    expected = max(rows) - length_off(sum(lengths))
    assert MODEL.weigh(folded).concern == pytest.approx(expected)


@given(st.lists(st.integers(1, WINDOW_WORDS), max_size=30))
def test_every_sentence_is_in_a_window_and_no_window_is_long(lengths: list[int]) -> None:
    """Nothing of a long text is left out, and nothing is added up over more than the bound."""
    found = list(windows(lengths))
    assert set(range(len(lengths))) == {place for first, last in found for place in range(first, last)}
    assert all(sum(lengths[first:last]) <= WINDOW_WORDS for first, last in found)
    assert len(found) <= max(1, len(lengths))


@pytest.mark.parametrize(
    ("token", "word"),
    [
        ("life,", ("life", False)),
        ("end.", ("end", True)),
        ("07700", ("00000", False)),
        ("...", ("", True)),
        ("😀", ("😀", False)),
    ],
)
def test_a_token_is_a_word_and_perhaps_an_end(token: str, word: tuple[str, bool]) -> None:
    """Marks at the edges are no part of a word, digits are all alike, an emoji is a word."""
    assert word_of(token) == word


def test_a_key_is_the_same_everywhere() -> None:
    """The file of numbers means the same on every machine: keys do not depend on the process."""
    assert key_of("kettle") == 0x1BC4246D2F
    assert length_off(2 * WINDOW_WORDS) == LESS_A_DOUBLING


def test_rules_are_named_once_and_in_order() -> None:
    """What the lists found becomes a few sorted names; nothing found, no names."""
    assert rules_of(()) == ()
    names = rules_of(MATCHER.find(URGENT))
    assert names == tuple(sorted(set(names)))
    assert {"level:3", "rule:S3"} <= set(names)


# The file.


def test_the_model_is_small_and_says_what_it_is() -> None:
    """It fits the repository, and names the corpus, the lists and the figures that it was made with."""
    assert MODEL_FILE.stat().st_size <= 1_500_000
    assert {"corpus", "lists", "seed"} <= set(MODEL.trained)
    assert {"unseen_families", "test_part"} <= set(MODEL.measured)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 2}, "form 2"),
        ({"bias": [0.0] * 13}, "not that of its numbers"),
        ({"tables": {}}, "not that of its numbers"),
    ],
)
def test_a_file_that_was_changed_is_refused(change: dict[str, Any], says: str) -> None:
    """Numbers that do not agree with their version are not used."""
    with pytest.raises(ModelError, match=re.escape(says)):
        Model({**content(), **change})


@pytest.mark.parametrize("missing", ["thresholds", "calibration", "bias", "rules", "tables", "trained"])
def test_a_file_without_a_part_is_refused(missing: str) -> None:
    """A part that is missing is said in a sentence, whatever the version says."""
    changed = content()
    del changed[missing]
    with pytest.raises(ModelError, match="damaged"):
        signed(changed)


def test_a_table_cut_short_is_refused() -> None:
    """Rows of weights that do not fit their keys are damage."""
    changed = copy.deepcopy(content())
    changed["tables"]["runs"]["weights"] = changed["tables"]["words"]["weights"]
    with pytest.raises(ModelError, match="damaged"):
        signed(changed)


@pytest.mark.parametrize("written", [None, b"", b"[]", b'{"format": 1', b"\xff"])
def test_a_missing_or_broken_file_is_a_clear_error(tmp_path: Path, written: bytes | None) -> None:
    """No file, an empty one or no JSON: the error names the file and what to do."""
    path = tmp_path / "score.json"
    if written is not None:
        path.write_bytes(written)
    with pytest.raises(ModelError, match=r"score\.json: .*train again"):
        Model.load(path)


# Any text, and the pipe.


@given(st.text(alphabet=st.characters(), max_size=300))
def test_any_text_has_a_verdict(text: str) -> None:
    """Every string of any code points is answered, with spans inside it."""
    said = SCREENER.screen(text)
    assert math.floor(said.score) == said.level
    assert bool(said.cats) is bool(said.level)
    assert all(0 <= found.start <= found.end <= len(text) for found in said.findings)


@pytest.mark.parametrize(
    "text", ["", " ", "\ud800", "\udfff a \ud83d", "x" * 65_536, "i want to die \ud800 " * 50, "é" * 9_000]
)
def test_odd_texts_have_a_verdict(text: str) -> None:
    """Nothing, halves of characters and 64 KiB of one letter are answered."""
    assert SCREENER.screen(text).level in range(4)


def test_half_a_character_hides_nothing() -> None:
    """A text that can not be encoded is still read."""
    assert SCREENER.screen(f"\ud800 {URGENT}").level >= 2


def test_the_pipe_answers_each_line_and_names_bad_ones() -> None:
    """One answer for each good line in its order; bad ones are named by number, never quoted, and the rest goes on."""
    lines = [b'{"id": "a", "text": "kettle on"}', b"secret words", b'{"text": 4}', b"", b"\xff", b"[1]"]
    lines.append(json.dumps({"text": URGENT}).encode())
    out, errors = io.StringIO(), io.StringIO()
    assert screen(lines, out, errors, SCREENER) == BAD_LINE
    answers = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(one["id"], one["level"]) for one in answers] == [("a", 0), (7, 3)]
    assert set(answers[0]) == {"id", "level", "score", "cats", "findings"}
    assert re.findall(r"line (\d+)", errors.getvalue()) == ["2", "3", "5", "6"]
    assert "secret" not in errors.getvalue()
    assert screen(lines[:1], out, errors, SCREENER) == FINE


# In the path.


def verdict_of(text: str, kind: TextKind = TextKind.MESSAGE, model: Model | None = ALWAYS.model) -> Any:
    pipeline = Pipeline(MATCHER, DispositionPolicy.load(), lambda: 0, model=model)
    return pipeline.screen(Submission(text, kind, RoomKind.COMMUNITY, Role.MEMBER))


def test_the_models_finding_counts_like_a_lists() -> None:
    """In the path a finding of the model gives its level, and the verdict names lists and model."""
    verdict = verdict_of("the kettle is on and the cat is asleep")
    assert verdict.level is Level.URGENT
    assert verdict.findings[0].entry_id.startswith("model:")
    assert verdict.list_version.startswith(f"{MATCHER.version}+m")


def test_a_name_is_read_with_the_lists_alone() -> None:
    """One word is no message: the model, made from messages, says nothing of it."""
    assert verdict_of("Bluebell", TextKind.NICKNAME).level is Level.NONE


# Figures.


def test_figures_are_what_they_say() -> None:
    """Sensitivity, PPV with and without grey, alarms and order, on eight messages counted by hand."""
    said = {"a": 3, "b": 2, "c": 0, "d": 2, "e": 2, "f": 0, "g": 0, "h": 1}
    truth = [("a", 3), ("b", 2), ("c", 2), ("d", 1), ("e", 0), ("f", 0), ("g", 0), ("h", 3)]
    judged = judge(
        [(text, level, ("S",) if level else ()) for text, level in truth],
        lambda text: Screened(said[text], said[text] + 0.5, ("S",) if said[text] else (), ()),
    )
    figures = quality(judged)
    assert (figures.sensitivity.count, figures.sensitivity.total) == (2, 4)
    assert (figures.urgent_flagged.count, figures.urgent_at_3.count, figures.urgent_flagged.total) == (1, 1, 2)
    assert (figures.ppv.count, figures.ppv.total) == (2, 3)
    assert (figures.ppv_strict.count, figures.ppv_strict.total) == (2, 4)
    assert (figures.alarms.count, figures.alarms.total) == (1, 3)
    assert figures.auc == pytest.approx((3 + 2.5 + 1 + 2) / 12)
    assert figures.by_category["H"].value is None


@pytest.mark.parametrize(("count", "total", "low", "high"), [(8, 10, 0.490, 0.943), (0, 20, 0.0, 0.161), (0, 0, 0, 1)])
def test_wilson_intervals_are_the_published_ones(count: int, total: int, low: float, high: float) -> None:
    """The interval of Wilson at 95 %."""
    assert wilson(count, total) == (pytest.approx(low, abs=5e-4), pytest.approx(high, abs=5e-4))


def test_order_counts_a_draw_as_half() -> None:
    """The area under the curve by its meaning; nothing to compare is no figure."""
    assert area([2, 1], [1, 0]) == (1 + 1 + 0.5 + 1) / 4
    assert area([], [1]) is None


def test_a_file_of_labelled_messages_is_evaluated(tmp_path: Path) -> None:
    """A labelled file gives figures; a bad line is named by number and not quoted."""
    file = tmp_path / "some.jsonl"
    file.write_text(json.dumps({"text": URGENT, "level": 3, "cats": ["S"]}) + "\n", encoding="utf-8")
    figures, versions = evaluate(file, corpus=False, lists_only=False)
    assert (figures.messages, figures.urgent_at_3.count) == (1, 1)
    assert versions == SCREENER.version
    file.write_text('{"text": "secret", "level": 9}\n', encoding="utf-8")
    with pytest.raises(BadRequest, match=r"some\.jsonl:1: level is 0 to 3"):
        evaluate(file, corpus=False, lists_only=False)
    with pytest.raises(BadRequest, match="not both"):
        evaluate(None, corpus=False, lists_only=False)


def test_training_without_its_packages_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the extra is not installed, the command is refused with the way to get it."""
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    monkeypatch.delitem(sys.modules, "watchwords.training", raising=False)
    with pytest.raises(BadRequest, match=r"evenkeel\[server,train\]"):
        make_model(None, tmp_path / "score.json")
    assert not (tmp_path / "score.json").exists()
