"""The second stage: its arithmetic is the sentence model's, it only raises, and no text or file breaks it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.screen import make_second
from server.errors import BadRequest, Misconfigured
from server.main import load_second
from tests.second import content, embedder, installed, raising
from watchwords.labelled import TRAIN, load_corpus, of_part
from watchwords.model import ModelError, version_of
from watchwords.screening import Screener

pytestmark = installed
PLAIN = "We had beans on toast and watched the snooker, and the dog slept on my feet all evening."


def test_the_arithmetic_is_the_models() -> None:
    """Three sentences are as near to a fourth as its makers' own library says of this model."""
    rows = (
        embedder()
        .embed(["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"])
        .rows
    )
    near = (rows[1:] @ rows[0]).tolist()
    assert near == pytest.approx([0.69458, 0.94292, 0.25688], abs=1e-4)


def test_a_text_means_the_same_in_any_company() -> None:
    """What a text is read together with changes its direction by nothing but rounding."""
    texts = ["hi", PLAIN, "see you at nine then"]
    together = embedder().embed(texts).rows
    for row, text in zip(together, texts, strict=True):
        assert embedder().embed([text]).rows[0].tolist() == pytest.approx(row.tolist(), abs=1e-5)


def test_a_long_text_is_read_to_its_end() -> None:
    """Of a text longer than the model reads, each stretch is weighed, and what stands last still raises it."""
    from watchwords.embedding import MOST_TOKENS
    from watchwords.second import SecondStage

    stage = SecondStage.load()
    screener = Screener.load()
    high = [message.text for message in of_part(load_corpus(), TRAIN) if message.level >= 2][::40]
    found = next(text for text in high if stage.raises(text, 0) is not None)
    long = " ".join([PLAIN] * 25)
    assert screener.screen(PLAIN).level == 0
    assert stage.raises(PLAIN, 0) is None
    assert len(embedder().embed([long]).text_of_row) > len(long.split()) / MOST_TOKENS
    # The last stretch holds what was said last, and hardly anything else.
    stretch = " ".join([found] * (2 * MOST_TOKENS // max(1, len(found.split()))))
    assert stage.raises(f"{long} {stretch}", 0) is not None


@pytest.mark.parametrize("says", [2, 3])
@pytest.mark.parametrize("level_now", [0, 1, 2, 3])
def test_the_second_stage_only_raises(says: int, level_now: int) -> None:
    """However it reads a text, a level comes out that is higher than the one before, or none."""
    raised = raising(says).raises(PLAIN, level_now)
    if says <= level_now:
        assert raised is None
    else:
        assert raised is not None
        assert raised.level == says


def test_what_is_raised_is_explained_without_the_text() -> None:
    """The finding names the head that made it, its category and a reason; nothing of the text is in it."""
    stage = raising(2, "E")
    raised = stage.raises(PLAIN, 0)
    assert raised is not None
    assert (raised.category, raised.entry_id) == ("E", f"second:{stage.version}")
    assert "an eating disorder" in raised.reason
    assert not any(word in raised.reason for word in ("beans", "snooker", "dog"))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.text(max_size=60), max_size=3))
def test_no_text_breaks_it(texts: list[str]) -> None:
    """Any texts whatever, lone surrogates and nothing at all included, get an answer each."""
    answers = raising(2).raises_all([(text, 0) for text in texts])
    assert [answer is not None for answer in answers] == [True] * len(texts)


def test_the_head_says_what_it_was_made_from_and_how_it_did() -> None:
    """The file names corpus, lists and sentence model, and its figures hold its bound on added alerts."""
    file = content()
    assert file["embedder"] == embedder().digest
    assert {"corpus", "lists", "seed"} <= set(file["trained"])
    unseen = file["measured"]["unseen_families"]
    assert unseen["added_per_1000_ordinary"] <= 2
    assert unseen["ppv_of_added"] >= 0.75
    assert {"test_part_first", "test_part_both"} <= set(file["measured"])


@pytest.mark.parametrize("missing", ["asked", "embedder", "trained", "measured", "thresholds", "bias", "weights"])
def test_a_head_without_a_part_is_refused(missing: str) -> None:
    """A file that lacks something says so in words, whatever its version claims."""
    from watchwords.second import Head

    changed = content()
    del changed[missing]
    with pytest.raises(ModelError, match=r"damaged|other questions"):
        Head({**changed, "version": version_of(changed)})


def test_a_head_whose_numbers_were_changed_is_refused() -> None:
    """A threshold changed by hand does not agree with the version, so nothing runs that nobody measured."""
    from watchwords.second import Head

    changed = content()
    changed["thresholds"]["flag"] = 0.0
    with pytest.raises(ModelError, match="not that of its numbers"):
        Head(changed)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 0}'])
def test_a_file_that_is_no_head_is_refused(tmp_path: Path, text: str) -> None:
    """Whatever else stands in the file: one error, and what to do."""
    from watchwords.second import Head

    file = tmp_path / "second.json"
    file.write_text(text)
    with pytest.raises(ModelError, match=r"train"):
        Head.load(file)


def test_a_head_of_another_sentence_model_is_refused() -> None:
    """Weights that were learnt on other directions are never laid over these."""
    from watchwords.second import Head, SecondStage

    changed = content() | {"embedder": "w000000000000"}
    with pytest.raises(ModelError, match="another sentence model"):
        SecondStage(embedder(), Head({**changed, "version": version_of(changed)}))


def test_without_its_packages_the_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that is told to read twice and can not does not start, and says what to install."""
    monkeypatch.setattr("watchwords.embedding.PACKAGE", "no_such_sentence_model")
    with pytest.raises(Misconfigured, match=r"no-such-sentence-model.*second\.txt.*unset EVENKEEL_SECOND_STAGE"):
        load_second.__wrapped__()
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    monkeypatch.delitem(sys.modules, "watchwords.embedding")
    with pytest.raises(Misconfigured, match=r"evenkeel\[server,second\]"):
        load_second.__wrapped__()


def test_training_it_without_its_packages_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`train --second` without the extra is refused in one line and writes nothing."""
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    for name in ("watchwords.training", "watchwords.training_second"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(BadRequest, match=r"evenkeel\[server,train,second\]"):
        make_second(None, tmp_path / "second.json")
    assert not list(tmp_path.iterdir())
