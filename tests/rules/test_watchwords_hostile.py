"""No text costs more than its length allows, counted as work and not as time; and no text is refused or goes unread."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st

from ops.bench.hostile import hostile_texts
from server.main import load_lists
from watchwords.matcher import MOST_PLAIN_VIEWS, Match
from watchwords.reading import LETTERS, LETTERS_A_WINDOW, WINDOW, Work

MATCHER = load_lists()
VOCABULARY = sorted({word for entry in MATCHER.lexicon.entries for phrase in entry.phrases for word in phrase.split()})
SIZE = 10_000
# Base, words, joined, despaced and torn; all but the words repaired besides; and two read plainly.
MOST_VIEWS = 9 + MOST_PLAIN_VIEWS
# A character grows to four at most when it is folded, and a sign that is read plainly to a word with its spaces.
MOST_GROWTH = 4
PLAIN_GROWTH = 200 * 20

PIECES = st.one_of(
    st.sampled_from(
        ["kill", "mysefl", "k1ll", "s**cide", "a", " ", "  ", "   ", "-", ".", "_", "*", "@", "!", "1", "|", "7", "'",
         "🔪", "ﷺ", "ﬀ", "é", "\u0301", "\u200b", "ж", "ｋ", "unalive", "i s/h", "07700900123", "a@b", " at ", " dot ",
         "i m ", "don t ", "end it", "end it with", "zqxjv", "\ud800", "\n"]
    ),
    st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=24),
    st.characters(),
)  # fmt: skip
# A few pieces again and again are worse than many: each kind of reading is then asked for everywhere.
TEXTS = st.tuples(st.lists(PIECES, min_size=1, max_size=12), st.integers(1, 400)).map(
    lambda made: ("".join(made[0]) * made[1])[:SIZE]
)


def work_of(text: str) -> Work:
    return MATCHER.read(text).work


def check_bounds(text: str) -> Work:
    work = work_of(text)
    assert work.views <= MOST_VIEWS
    assert work.letters <= LETTERS + LETTERS_A_WINDOW * (MOST_GROWTH * len(text) // WINDOW)
    assert work.characters <= MOST_VIEWS * (MOST_GROWTH * len(text) + PLAIN_GROWTH)
    return work


@given(TEXTS)
@settings(max_examples=150, deadline=None)
def test_no_text_takes_more_work_than_its_length_allows(text: str) -> None:
    """The search for the worst text finds none that makes more views, or looks at or works out more than is allowed."""
    work = check_bounds(text)
    target(work.characters / (len(text) + 1), label="characters for each of the text's")
    target(float(work.letters), label="letters worked out")


@pytest.mark.parametrize("kind", sorted(hostile_texts(VOCABULARY, 10, 0)))
def test_every_hostile_kind_keeps_the_bounds(kind: str) -> None:
    """Ten kilobytes of each kind that once cost much stay within what their length allows."""
    check_bounds(hostile_texts(VOCABULARY, SIZE, 1)[kind])


@pytest.mark.parametrize("kind", sorted(hostile_texts(VOCABULARY, 10, 0)))
def test_a_statement_after_any_padding_is_found(kind: str) -> None:
    """Padding of any kind, however long, does not hide a plain statement on a line of its own."""
    padding = hostile_texts(VOCABULARY, SIZE, 2)[kind]
    assert "s-want-to-die" in MATCHER.entries_in(f"{padding}\n|| i want to die")


@pytest.mark.parametrize("size", [0, 1, 65_536])
def test_texts_of_any_length_are_read(size: int) -> None:
    """Nothing, one character and 64 KiB of anything, half characters too, are read to their end."""
    rng = random.Random(size)
    text = "".join(chr(rng.randrange(0x110000)) for _ in range(size))
    matches = MATCHER.find(text + " want to die")
    assert "s-want-to-die" in {match.entry_id for match in matches if match.start == size + 1}


@given(st.text(st.characters(exclude_categories=()), max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_code_points_are_read(text: str) -> None:
    """Any code points at all, half characters among them, give matches that lie in the text, and no exception."""
    assert all(0 <= match.start < match.end <= len(text) for match in MATCHER.find(text))


def test_a_letter_of_the_lists_between_half_characters_is_found() -> None:
    """Half characters hide nothing: the statement around them is found where it stands."""
    text = "\udc80 i want to die \ud83d"
    found = [match for match in MATCHER.find(text) if match.entry_id == "s-want-to-die"]
    assert found == [Match("s-want-to-die", "S", 2, 4, 15, "base", found[0].adjustments)]


def test_each_of_many_contact_details_is_covered() -> None:
    """A text of nothing but telephone numbers is covered to its end, so that none is left to be read."""
    numbers = " ".join(f"07700900{number:03}" for number in range(900))
    covered = [(match.start, match.end) for match in MATCHER.find(numbers) if match.entry_id == "p-phone"]
    hidden = bytearray(len(numbers))
    for start, end in covered:
        hidden[start:end] = b"x" * (end - start)
    assert all(hidden[place] for place, character in enumerate(numbers) if character != " ")
