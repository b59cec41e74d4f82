"""What is found plain is found disguised; and innocent talk stays innocent however it is written.

Measured on the training part of the corpus and the lists' own examples: the test part and other people's labels are for
those who judge the filter, not for those who build it.
"""

from __future__ import annotations

import random
from functools import cache

import pytest

from server.main import load_lists
from tests.rules.disguises import DISGUISES, GOALS
from watchwords.labelled import TRAIN, load_corpus, of_part
from watchwords.lookalikes import lookalikes
from watchwords.matcher import Matcher
from watchwords.normalise import fold

MATCHER = load_lists()
# A text that is disguised already, or is of a language that nobody spaces out so, can be lost a second time: the goals
# are set for plain texts, so every kind is given this much.
SLACK = 0.05
MOST_FALSE_PER_1000 = 3.0


def flagged(text: str) -> bool:
    return any(match.level >= 2 for match in MATCHER.find(text))


@cache
def found_plain() -> tuple[str, ...]:
    """Every fourth text that is flagged as it stands: of the corpus, and the examples of the lists."""
    texts = [message.text for message in of_part(load_corpus(), TRAIN) if message.level >= 2]
    texts += [example for entry in MATCHER.lexicon.entries if entry.level >= 2 for example in entry.match]
    return tuple(text for text in texts if flagged(text))[::4]


@cache
def left_plain() -> tuple[str, ...]:
    """Every text of level 0 in which nothing stands, plain: no entry, and no idiom that excuses one."""
    texts = (message.text for message in of_part(load_corpus(), TRAIN) if not message.level)
    return tuple(text for text in texts if not MATCHER.entries_in(text))


@pytest.mark.parametrize("kind", DISGUISES)
def test_what_is_found_plain_is_found_disguised(kind: str) -> None:
    """Of each kind of disguise, the promised share of what is flagged plain is flagged still."""
    rng = random.Random(kind)
    disguised = [text for plain in found_plain() if (text := DISGUISES[kind](plain, rng)) is not None]
    assert len(disguised) >= 20
    assert sum(map(flagged, disguised)) / len(disguised) >= GOALS[kind] - SLACK


def test_what_is_left_alone_plain_is_left_alone_disguised() -> None:
    """Over all disguises together, at most three in a thousand innocent texts are flagged for their spelling."""
    disguised = [
        text
        for kind, disguise in DISGUISES.items()
        for plain in left_plain()
        if (text := disguise(plain, random.Random(kind + plain))) is not None
    ]
    assert len(disguised) > 5_000
    assert sum(map(flagged, disguised)) / len(disguised) * 1_000 <= MOST_FALSE_PER_1000


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("i w a n t t o d i e", "i want to die"), ("w a n t   t o   d i e", "want to die"), ("k-i-l-l", "kill"),
        ("iwanttokillmyselftonight", "i want to kill myself tonight"), ("kiiiilll myseeelf", "kill myself"),
        ("1 w4n7 70 d13", "i want to die"), ("su1c!d4l", "suicidal"), ("mysefl", "myself"), ("sucidial", "suicidal"),
        ("s**cide", "suicide"), ("gonna unalive myself", "gonna kill myself"), ("want to unalive", "want to die"),
        ("took 40 💊", "took 40 pills"), ("ꓗ𐌉ꓡ𐐛", "kill"), ("i m done i don t want this", "im done i dont want this"),
    ],
)  # fmt: skip
def test_a_disguised_word_reads_as_what_it_says(text: str, reads: str) -> None:
    """One of the views of a disguised text is the plain text."""
    assert reads in {view.text for view in MATCHER.read(text).views}


@pytest.mark.parametrize(
    "text",
    [
        "bill went hunting and ate sushi", "flame retardant jacket", "order 3f9a0b7c5d1e8f42 came",
        "co-codamol for my back", "meet at 7.30 @ the cafe", "lorem ipsum dolor sit amet", "t*ny f*ot on the p*ge",
        "what the f*** is this",
        "s/h bike for sale", "haha nooooo way", "mondaymotivation", "skills course", "gr8 2 see u l8r",
        "my own t shirt has a hole", "vitamin d and iron", "we re-did the hall",
    ],
)  # fmt: skip
def test_an_innocent_word_is_not_read_as_another(text: str) -> None:
    """Codes, names, swearing, stretched and starred everyday words raise nothing."""
    assert not MATCHER.find(text)


def test_every_lookalike_of_unicode_reads_as_its_letter() -> None:
    """The table reads each of its characters as one ASCII letter, digit or mark, and no ASCII as anything else."""
    table = lookalikes()
    assert len(table) > 500
    assert all(len(plain) == 1 and plain.isascii() for plain in table.values())
    assert not any(strange.isascii() for strange in table)
    assert {fold(strange) for strange, plain in table.items() if plain == "k"} == {"k"}


def test_what_is_read_does_not_depend_on_what_was_read_before() -> None:
    """A used matcher reads a text as a fresh one does, also where the allowance for strange words runs out."""
    gibberish = " ".join(f"zq{number:x}vwk{number * 7:x}pt" for number in range(400))
    texts = [gibberish + " k1ll mys3lf", "k1ll mys3lf " + gibberish, "i wnat to dei"]
    used = Matcher(MATCHER.lexicon)
    before = [used.find(text) for text in texts]
    assert [used.find(text) for text in reversed(texts)] == before[::-1]
