"""The labelled corpus: of the promised size and make-up, nothing twice, and what measures apart from what teaches."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from watchwords.labelled import CORPUS, TEST, TRAIN, CorpusError, Labelled, load_corpus, of_part
from watchwords.lexicon import CATEGORIES

EXCLUDED = Path(__file__).resolve().parents[3] / "shared" / "reference" / "exclude_hashes.txt"
# Of two texts, the share of their runs of three words that both have: above it one is the other, reworded.
ALIKE = 0.4
GOOD: dict[str, Any] = {
    "id": "d-1",
    "family": "d-a",
    "part": "train",
    "level": 0,
    "cats": [],
    "text": "kettle on",
    "note": "small talk",
}


@pytest.fixture(scope="module")
def corpus() -> tuple[Labelled, ...]:
    return load_corpus()


def squeezed(text: str) -> str:
    return re.sub(r"\W", "", text.lower())


def runs(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return set(zip(words, words[1:], words[2:], strict=False))


def test_it_is_as_large_and_as_hard_as_promised(corpus: tuple[Labelled, ...]) -> None:
    """At least 4,000 messages, a third nobody's concern, every category at all of its levels, in each part."""
    assert len(corpus) >= 4_000
    assert sum(not message.level for message in corpus) >= len(corpus) / 3
    for part in (TRAIN, TEST):
        counts = Counter((message.cats[0], message.level) for message in of_part(corpus, part) if message.cats)
        assert {category for category, _ in counts} == set(CATEGORIES)
        # An address by itself endangers nobody within minutes.
        scarce = {place: counts[place] for place in ((c, n) for c in CATEGORIES for n in (1, 2)) if counts[place] < 5}
        assert not scarce
        assert all(counts[category, 3] >= 5 for category in CATEGORIES if category != "P")
    assert len(of_part(corpus, TEST)) >= len(corpus) * 0.25


def test_nothing_is_in_it_twice_and_no_wording_in_both_parts(corpus: tuple[Labelled, ...]) -> None:
    """No text twice, however it is spelt, and none of the test part is one of the training part, reworded."""
    again = [text for text, count in Counter(squeezed(m.text) for m in corpus).items() if count > 1]
    assert not again
    taught: dict[tuple[str, ...], list[Labelled]] = defaultdict(list)
    for message in of_part(corpus, TRAIN):
        for run in runs(message.text):
            taught[run].append(message)
    alike = []
    for message in of_part(corpus, TEST):
        own = runs(message.text)
        if len(own) < 4:
            continue
        shared = Counter(other.id for run in own for other in taught.get(run, ()))
        lengths = {other.id: len(runs(other.text)) for run in own for other in taught.get(run, ())}
        alike += [(message.id, other) for other, n in shared.items() if n / (len(own) + lengths[other] - n) > ALIKE]
    assert not alike


def test_it_holds_no_text_of_the_set_that_measures_in_the_end(corpus: tuple[Labelled, ...]) -> None:
    """None of its texts is one of those by whose digests a private set is kept out."""
    if not EXCLUDED.exists():
        pytest.skip("the digests are not beside this tree")
    excluded = set(EXCLUDED.read_text(encoding="ascii").split())
    assert len(excluded) > 1_000
    digests = {hashlib.sha256(squeezed(m.text).encode()).hexdigest()[:16]: m.id for m in corpus}
    assert not excluded & set(digests)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"level": 4}, "write 0, 1, 2 or 3"),
        ({"level": True}, "write 0, 1, 2 or 3"),
        ({"level": 2}, "give categories"),
        ({"cats": ["S"]}, "give categories"),
        ({"level": 2, "cats": ["S", "S"]}, "each once"),
        ({"level": 2, "cats": ["Z"]}, "each once"),
        ({"part": "dev"}, "write train or test"),
        ({"text": " "}, "is empty"),
        ({"note": None}, "is empty"),
        ({"text": "a" * 1_201}, "shorten"),
        ({"extra": 1}, "in this order"),
    ],
)
def test_a_line_that_can_not_be_used_is_named(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    """Whatever is wrong with a line, the error says where it is and what to do."""
    lines = [json.dumps(GOOD), json.dumps({**GOOD, "id": "d-2", **change})]
    (tmp_path / "some.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=re.escape(says)) as found:
        load_corpus(tmp_path)
    assert str(found.value).startswith("some.jsonl:2: ")


@pytest.mark.parametrize(
    ("second", "says"),
    [
        ("{", "no JSON"),
        (json.dumps(GOOD), "comes twice"),
        (json.dumps({**GOOD, "id": "d-2", "part": "test"}), "in both parts"),
    ],
)
def test_two_lines_that_do_not_go_together_are_named(tmp_path: Path, second: str, says: str) -> None:
    """No JSON, an id that comes twice, a family in both parts: refused with the place."""
    (tmp_path / "some.jsonl").write_text(json.dumps(GOOD) + "\n" + second + "\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=says):
        load_corpus(tmp_path)


def test_each_file_of_the_corpus_is_read(corpus: tuple[Labelled, ...]) -> None:
    """As many messages as there are lines in all files."""
    assert len(corpus) == sum(len(path.read_text(encoding="utf-8").splitlines()) for path in CORPUS.glob("*.jsonl"))
