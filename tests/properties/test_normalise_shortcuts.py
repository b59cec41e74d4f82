"""The filter's shortcuts for ordinary text change nothing: each equals the plain rule that it stands for."""

import re

from hypothesis import given
from hypothesis import strategies as st

from watchwords import normalise, reading

# Weighted towards what the shortcuts look at: letters alone, marks between letters, hyphens, apostrophes, strangers.
PIECES = st.sampled_from(
    [
        "a",
        "b",
        "i",
        " ",
        "  ",
        "-",
        "'",
        "`",
        ".",
        "..",
        "_",
        "*",
        "@",
        "1",
        "é",
        "–",
        "ж",
        "\u200b",
        "\n",
        "\x01",
        "kill",
    ]
)
TEXTS = st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=60)

BETWEEN = re.compile(r"[a-z0-9][^a-z0-9\s]+[a-z0-9]|[^a-z0-9\s]{2,}|_")
SPACED = re.compile(r"(?<![a-z0-9])[a-z0-9](?:[^a-z0-9]{1,3}[a-z0-9]){2,}(?![a-z0-9])")


@given(TEXTS)
def test_ascii_is_folded_as_any_text_is(text: str) -> None:
    """Folding by bytes gives what folding by characters gives."""
    ascii_text = text.encode("ascii", "ignore").decode()
    folded = ascii_text.translate(normalise._FOLDING)
    assert normalise.fold(ascii_text) == re.sub(r" {2,}", " ", folded)


@given(TEXTS)
def test_views_are_made_wherever_the_rule_asks_for_them(text: str) -> None:
    """A view is there exactly where its expression finds something in the base reading."""
    views = normalise.normalise(text)
    names = {view.name for view in views.views}
    base = views.base.text
    assert ("words" in names) == bool(BETWEEN.search(base))
    assert ("despaced" in names) == bool(SPACED.search(base))


@given(TEXTS)
def test_each_character_of_a_view_comes_from_where_its_map_says(text: str) -> None:
    """The short way to the map of an ASCII text gives the map of the walk."""
    base = normalise.normalise(text).base
    starts, ends = base.offsets()
    assert len(starts) == len(ends) == len(base.text)
    for place, character in enumerate(base.text):
        assert character.strip() in normalise.fold(text[starts[place] : ends[place]])


@given(TEXTS)
def test_tokens_of_ascii_are_those_of_the_expression(text: str) -> None:
    """Splitting by bytes finds every token that the expression finds, and else single characters only."""
    ascii_text = normalise.fold(text.encode("ascii", "ignore").decode())
    apart = reading._apart(ascii_text)
    assert [token for token in apart if len(token) > 1] == reading._TOKEN.findall(ascii_text)
