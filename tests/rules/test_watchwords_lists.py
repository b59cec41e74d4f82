"""The lists that come with the program, and what a wrong list is told."""

from pathlib import Path

import pytest

from watchwords.lexicon import LexiconError, load_lexicon
from watchwords.matcher import Matcher

MATCHER = Matcher.load()

HEAD = '[list]\nname = "t"\nversion = 1\nowner = "o"\nreview_date = 2027-01-01\n'
ENTRY = """
[[entry]]
id = "s-x"
category = "S"
level = 2
phrases = ["want to die"]
reason = "r"
source = "s"
match = ["i want to die"]
"""


def strongest(text: str) -> int:
    return max((match.level for match in MATCHER.find(text)), default=0)


def test_lists_cover_ten_categories_and_four_levels() -> None:
    """Every category has entries, and every level is in use; loading has checked every example."""
    entries = MATCHER.lexicon.entries
    assert {entry.category for entry in entries} == set("SHOVAECGPX")
    assert {entry.level for entry in entries} == {0, 1, 2, 3}
    assert sum(len(entry.phrases) for entry in entries) >= 350


@pytest.mark.parametrize(
    "text",
    [
        "I want to kill myself", "i wnt to kil mysef", "feeling suicdal", "su1c1d4l", "s*icide", "k*ll myself",
        "k i l l m y s e l f", "i w a n t t o d i e", "k.i.l.l myself", "kill.myself", "ki🔪ll myself", "kїll mуself",
        "ｋｉｌｌ ｍｙｓｅｌｆ", "k\u200bill my\u00adself", "k\u0337ill myself", "kiiiill myseeeelf", "killmyself",
        "#iwanttodie", "sui-cide", "don’t want to be here", "no suicidal thoughts but dont want to be here",
        "gonna top mesen", "not gonna lie i want to die", "why not just kill myself",
    ],
)  # fmt: skip
def test_disguise_is_seen_through(text: str) -> None:
    """A statement of level 2 is found at level 2 or more however it is written."""
    assert strongest(text) >= 2


@pytest.mark.parametrize(
    "text",
    [
        "my feet are killing me", "I could murder a brew", "shoot me an email", "my therapist is lovely",
        "bill went hunting and ate sushi", "how many tablets do i take a day", "call 116 123", "a great exam result",
    ],
)  # fmt: skip
def test_everyday_talk_is_left_alone(text: str) -> None:
    """Idioms, innocent neighbours and helplines raise nothing."""
    assert MATCHER.find(text) == ()


@pytest.mark.parametrize(
    ("text", "level", "note"),
    [
        ("I wouldn't kill myself", 1, "negated"),
        ("i tried to kill myself ten years ago", 1, "past"),
        ("this exam makes me want to die lol", 1, "hyperbole"),
        ("there is suicide in this film", 1, "quoted"),
    ],
)
def test_context_lowers_and_says_why(text: str, level: int, note: str) -> None:
    """Context lowers a level with a reason code and never to nothing."""
    found = MATCHER.find(text)
    assert {match.level for match in found} == {level}
    assert all(note in match.adjustments for match in found)


@pytest.mark.parametrize(
    ("body", "line", "what"),
    [
        (ENTRY.replace("level = 2", "level = 7"), 7, "level must be"),
        (ENTRY.replace('"S"', '"Q"'), 7, "category must be"),
        (ENTRY.replace('reason = "r"\n', ""), 7, "reason is missing"),
        (ENTRY.replace("i want to die", "hello"), 7, "match example 1"),
        (ENTRY + 'no_match = ["want to die"]\n', 7, "no_match example 1"),
        (ENTRY.replace('phrases = ["want to die"]', "pattern = '(?=x)y'"), 7, "re2 does not accept"),
        (ENTRY.replace('phrases = ["want to die"]', "pattern = 'x*'"), 7, "empty text"),
        (ENTRY + ENTRY, 16, "also at"),
        ("", 1, "is empty"),
    ],
)
def test_bad_entry_stops_the_load_with_its_line(tmp_path: Path, body: str, line: int, what: str) -> None:
    """A wrong list is refused with its file, its line and what to do."""
    file = tmp_path / "bad.toml"
    file.write_text(HEAD + body)
    with pytest.raises(LexiconError, match=what) as caught:
        load_lexicon(tmp_path)
    assert str(caught.value).startswith(f"{file}:{line}:")


def test_version_follows_content_not_place(tmp_path: Path) -> None:
    """Moving an entry keeps the version; changing its level changes it."""
    file = tmp_path / "a.toml"
    versions = []
    for body in (ENTRY, "\n# note\n" + ENTRY, ENTRY.replace("level = 2", "level = 3")):
        file.write_text(HEAD + body)
        versions.append(load_lexicon(tmp_path).version)
    assert versions[0] == versions[1] != versions[2]


@pytest.mark.parametrize("text", ["\ud800", "a \udfff b", "\udc00 i want to die \ud8ff"])
def test_half_a_character_hides_nothing(text: str) -> None:
    """What is no whole character is a stranger: never an exception, and the words beside it are found."""
    assert bool(MATCHER.find(text)) == ("die" in text)
