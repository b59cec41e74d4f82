"""A pattern's keys never hide the pattern: what matches has one of them."""

from __future__ import annotations

import random

import pytest
import re2

from server.main import load_lists
from watchwords.keys import MOST_ALSO, MOST_TOGETHER, SHORTEST_KEY, alternatives_of, keys_of
from watchwords.labelled import load_corpus
from watchwords.normalise import normalise
from watchwords.patterns import Patterns


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        (r"\b(?:kill|hurt) myself\b", {" kill myself ", " hurt myself "}),
        (r"\bwill.{0,25}\b(?:hang|drown)\b", {" hang ", " drown "}),
        (r"\b(?:i|im) .{0,5}overdos(?:e|ed|ing)\b", {"overdose ", "overdosed ", "overdosing "}),
        (r"\b(?:cut|burn)s? (?:my )?arms?\b", {f" {a}{s} {m}arm{e} " for a in ("cut", "burn") for s in ("", "s")
                                               for m in ("", "my ") for e in ("", "s")}),
        (r"\b(?:bridge.{0,9}jump|end it.{0,9}now)\b", {" bridge", " end it"}),
        (r"\bi (?:(?:might|will) )*od(?:ed)?\b", {" od ", " oded "}),
        (r"x\w*(?:the )+rope\b|x.*\brope", {" rope ", " rope"}),
        (r"(?:rope){2,3}", {"rope"}),
        (r"a[bc]d{2}\d*", {"abdd", "acdd"}),
        (r"\b(?:https?://|www\.)[^\s]+", {" www ", " http   ", " https   "}),
        (r"\b\d{4}\b", None),
        (r"\b(?:ab|.+xyz)\b", None),
        (r"(?i)rope", None),
        (r"(?:rope)?", None),
        (r"(?:rope){0,5}", None),
    ],
)  # fmt: skip
def test_keys_stand_in_every_match(pattern: str, keys: set[str] | None) -> None:
    """The rarest stretch that can be written out: of alternatives one of each, of what is optional none."""
    found = keys_of(pattern)
    assert (None if found is None else found.first) == keys


def test_keys_of_common_words_are_asked_for_with_others() -> None:
    """Where the rarest stretch is in much of all talk, one word of each of each other has to stand there as well."""
    found = keys_of(r"\b(?:want|need)\b.{0,9}\b(?:rope|be gone)\b.{0,9}\b(?:now|today)\b")
    assert found is not None
    assert found.first == {" rope ", " be gone "}
    assert set(found.also) == {frozenset({"want", "need"}), frozenset({"now", "today"})}


def test_no_pattern_of_the_lists_is_hidden_by_its_keys() -> None:
    """Each pattern tried by itself on a third of the corpus finds nothing that its keys had ruled out."""
    patterns = [entry.pattern for entry in load_lists().lexicon.entries if entry.pattern]
    known, plain = Patterns(patterns), [re2.compile(pattern.encode("ascii")) for pattern in patterns]
    found = 0
    for message in random.Random(7).sample(load_corpus(), 1_900):
        text = normalise(message.text).views[0].text
        coded = text.encode("ascii", "replace")
        matching = {number for number, pattern in enumerate(plain) if pattern.search(coded)}
        found += len(matching)
        assert matching <= {known.owner(part) for part in known.perhaps_in(coded)}
    assert found > 200


def test_keys_are_few_and_of_some_length() -> None:
    """What a list's keys may cost is bounded, and none stands in nearly every text."""
    for entry in load_lists().lexicon.entries:
        for part in alternatives_of(entry.pattern) if entry.pattern else ():
            if (keys := keys_of(part)) is not None:
                assert len(keys.first) <= MOST_TOGETHER
                assert len(keys.also) <= MOST_ALSO
                assert all(len(key.strip()) >= SHORTEST_KEY or key == f" {key.strip()} " for key in keys.first)


@pytest.mark.parametrize(
    ("pattern", "parts"),
    [
        ("a|b", ["a", "b"]),
        (r"\b(?:a|b(?:c|d))\b", [r"\b(?:a)\b", r"\b(?:b(?:c|d))\b"]),
        (r"\b(?:a|b)\b|[|)]c|\|d", [r"\b(?:a)\b", r"\b(?:b)\b", "[|)]c", r"\|d"]),
        (r"\b(?:a|b)\b.{0,9}\b(?:c|d)\b", [r"\b(?:a|b)\b.{0,9}\b(?:c|d)\b"]),
        (r"\b(?:a|b) e (?:c|d)\b", [r"\b(?:a|b) e (?:c|d)\b"]),
    ],
)
def test_a_pattern_falls_apart_into_its_alternatives(pattern: str, parts: list[str]) -> None:
    """Bars outside of every group, and those of one group around everything, with its frame; no others."""
    assert list(alternatives_of(pattern)) == parts
