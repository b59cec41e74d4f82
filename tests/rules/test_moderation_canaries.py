"""The canaries: read with their places, found by the lists that come with the program."""

from __future__ import annotations

from pathlib import Path

import pytest

from moderation.canaries import CANARIES, load_canaries, missed
from moderation.files import PolicyError
from moderation.types import Category
from server.main import load_lists
from watchwords.lexicon import Lexicon
from watchwords.matcher import Matcher

HEAD = '[policy]\nname = "canaries"\nversion = 1\nowner = "Clinical lead"\nreview_date = 2027-05-31\n'


def test_the_lists_of_the_program_find_every_canary() -> None:
    """What ships finds all of them, and there is one for every category."""
    canaries = load_canaries()
    assert missed(canaries, load_lists().find) == ()
    assert {canary.category for canary in canaries} == set(Category)


def test_lists_without_an_entry_miss_every_canary() -> None:
    """A miss is told by file and line."""
    lost = missed(load_canaries(), Matcher(Lexicon((), (), "w0")).find)
    assert len(lost) == len(load_canaries())
    line = int(lost[0].where.partition(":")[2])
    assert CANARIES.read_text().splitlines()[line - 1] == "[[canary]]"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "there is no canary"),
        ('[[canary]]\ntext = "x"\ncategory = "S"\n', ":7: a canary has text"),
        ('[[canary]]\ntext = "x"\ncategory = "S"\nlevel = 0\n', ":7: a canary has text"),
        ('[[canary]]\ntext = " "\ncategory = "S"\nlevel = 3\n', ":7: a canary has text"),
        ('[[canary]]\ntext = "x"\ncategory = "Q"\nlevel = 3\n', ":7: a canary has text"),
        ('[[canary]]\ntext = "x"\ncategory = "S"\nlevel = 3\nmore = 1\n', ":7: a canary has text"),
    ],
)
def test_a_canary_that_says_nothing_stops_the_load(tmp_path: Path, body: str, words: str) -> None:
    """A file without canaries, or with one that could not be missed, is refused with its line."""
    path = tmp_path / "canaries.toml"
    path.write_text(f"{HEAD}\n{body}", encoding="utf-8")
    with pytest.raises(PolicyError, match=words):
        load_canaries(path)
