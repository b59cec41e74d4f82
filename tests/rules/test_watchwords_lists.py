"""The lists that come with the program, and what a wrong list is told."""

from datetime import date
from pathlib import Path

import pytest

from server.main import load_lists
from watchwords.exchange import from_csv, from_toml, to_csv, to_toml
from watchwords.lexicon import LISTS, LexiconError, load_lexicon
from watchwords.lint import lint, overdue
from watchwords.matcher import Matcher

MATCHER = load_lists()

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
        ("the wifi is down i want to die", 1, "hyperbole"),
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
        (ENTRY.replace('["want to die"]', '["want"]').replace("i want to die", "want"), 7, "add the words around it"),
        (ENTRY.replace('["want to die"]', '["a"]').replace("i want to die", "a"), 7, "add the words around it"),
        (ENTRY.replace('phrases = ["want to die"]', "pattern = '[a-z]+ing'"), 7, "add the words around it"),
        (ENTRY.replace('phrases = ["want to die"]', "pattern = '(x+)+\\1'"), 7, "re2 does not accept"),
        (ENTRY + 'exceptions = ["to die"]\n', 7, "every phrase holds an exception"),
        (ENTRY + 'unless = ["s-z"]\n', 7, "no entry is called 's-z'"),
        (ENTRY + 'unless = ["s-x"]\n', 7, "in a circle"),
        (ENTRY + 'unless = ["s-y"]\n' + ENTRY.replace("s-x", "s-y") + 'unless = ["s-x"]\n', 7, "in a circle"),
        (ENTRY + 'reviewer = " "\n', 7, "reviewer must be"),
        (ENTRY + 'review_date = "soon"\n', 7, "review_date must be"),
        (ENTRY.replace('phrases = ["want to die"]', 'slots = ["want ... die"]'), 7, "have no such form"),
        (ENTRY.replace('phrases = ["want to die"]', 'slots = ["{want}"]'), 7, "there are 1 slots"),
        (ENTRY.replace('phrases = ["want to die"]', 'slots = ["{want} {die}"]'), 7, "three dots"),
        (ENTRY.replace('phrases = ["want to die"]', 'slots = ["{want} ... {d*}"]'), 7, "too many words"),
        (ENTRY.replace('phrases = ["want to die"]', 'slots = ["{want} ... {die} within 40"]'), 7, "too far"),
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


def test_every_problem_of_a_folder_is_told(tmp_path: Path) -> None:
    """Lint names each wrong entry of each file, and a load that stops says how many more there are."""
    (tmp_path / "a.toml").write_text(HEAD + ENTRY.replace("level = 2", "level = 9") + ENTRY.replace('"S"', '"?"'))
    (tmp_path / "b.toml").write_text("[list")
    assert [str(problem).split(": ")[0].rsplit("/", 1)[1] for problem in lint(tmp_path)] == [
        "a.toml:7",
        "a.toml:16",
        "b.toml:1",
    ]
    with pytest.raises(LexiconError, match="and 2 more"):
        load_lexicon(tmp_path)
    assert lint() == ()


def test_an_entry_has_a_reviewer_and_a_date_of_its_own_or_of_its_list(tmp_path: Path) -> None:
    """Who reviewed an entry comes from it, its list, or the list's owner; what is past its date is told."""
    own = ENTRY.replace("s-x", "s-y") + 'reviewer = "Sam"\nreview_date = 2026-01-31\n'
    (tmp_path / "a.toml").write_text(HEAD + ENTRY + own)
    first, second = load_lexicon(tmp_path).entries
    assert (first.reviewer, first.review_date) == ("o", date(2027, 1, 1))
    assert (second.reviewer, second.review_date) == ("Sam", date(2026, 1, 31))
    assert [line.split(": ")[1] for line in overdue(tmp_path, date(2026, 6, 1))] == ["s-y"]


@pytest.mark.parametrize(
    ("slots", "text", "found"),
    [
        ("{kill|end} ... {myself|my life}", "i could kill off myself", True),
        ("{kill|end} ... {myself|my life}", "i will end, i think, my life", True),
        ("{kill|end} ... {myself|my life}", "ending my life", False),
        ("{kill|end*} ... {myself|my life}", "ending my life", True),
        ("{kill} ... {myself} within 1", "kill all of myself", False),
        ("{kill} ... {myself} within 2", "kill all of myself", True),
        ("{kill} ... {myself} within 6", "they kill bugs. i do it myself", False),
        ("{kill} ... {myself}", "myself kill", False),
        ("{kill} ... {myself} in any order", "myself kill", True),
        ("{took|taken} ... {all|whole|lots} ... {pills|tablets} within 4", "ive taken nearly all of my tablets", True),
        ("{kill} ... {myself}", "k1ll mys3lf", True),
    ],
)
def test_slots_are_found_near_one_another(tmp_path: Path, slots: str, text: str, found: bool) -> None:
    """Slots match in their order, within so many words of one sentence, through disguise as phrases do."""
    (tmp_path / "a.toml").write_text(
        HEAD + ENTRY.replace('phrases = ["want to die"]', f'slots = ["{slots}", "{{want}} ... {{die}}"]')
    )
    assert bool(Matcher(load_lexicon(tmp_path)).find(text)) is found


def test_an_entry_gives_way_to_another_where_they_touch(tmp_path: Path) -> None:
    """`unless` drops a match that the other entry touches, and no other."""
    film = ENTRY.replace("s-x", "s-film").replace("level = 2", "level = 0").replace("want to die", "to die another day")
    (tmp_path / "a.toml").write_text(HEAD + ENTRY + 'unless = ["s-film"]\n' + film)
    matcher = Matcher(load_lexicon(tmp_path))
    assert not matcher.find("i want to die another day")
    assert [match.start for match in matcher.find("i want to die another day, i want to die")] == [29]


@pytest.mark.parametrize("file", sorted(LISTS.glob("*.toml")), ids=lambda file: file.stem)
def test_a_list_comes_back_from_toml_and_csv_as_it_left(file: Path) -> None:
    """Nothing that a list says is lost on the way out and in, as TOML or as CSV."""
    given = from_toml(file.read_text(encoding="utf-8"))
    assert from_toml(to_toml(given)) == given
    assert from_csv(to_csv(given)) == given


def test_awkward_values_come_back_too() -> None:
    """Quotation marks, commas, backslashes, braces, pictures and an entry's own reviewer survive both ways."""
    said = ENTRY.replace('reason = "r"', "reason = 'say \"no\", \\b, {a|b};'")
    text = said + 'exceptions = ["🔪, \\u007f", "it\'s"]\n'
    given = from_toml(HEAD + "[fragments]\nx = 'a|\\b\"'\n" + text + 'reviewer = "S, T"\nreview_date = 2027-02-28\n')
    assert from_csv(to_csv(from_toml(to_toml(given)))) == given
    assert given.entries[0]["exceptions"] == ["🔪, \x7f", "it's"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("entry,,x", "level is"),
        ("thing,,", "write list, fragment or entry"),
        ("entry,a,1,b", "more cells than columns"),
    ],
)
def test_a_wrong_line_of_csv_is_named(line: str, says: str) -> None:
    """A cell of the wrong kind, an unknown kind of line or a cell too many is refused with its line."""
    with pytest.raises(LexiconError, match=says) as caught:
        from_csv(f"kind,id,level\n{line}\n", "a.csv")
    assert str(caught.value).startswith("a.csv:2: ")


@pytest.mark.parametrize("text", ["\ud800", "a \udfff b", "\udc00 i want to die \ud8ff"])
def test_half_a_character_hides_nothing(text: str) -> None:
    """What is no whole character is a stranger: never an exception, and the words beside it are found."""
    assert bool(MATCHER.find(text)) == ("die" in text)
