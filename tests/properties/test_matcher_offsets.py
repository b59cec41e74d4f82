"""Laws of the normaliser and the matcher, for any text at all."""

from hypothesis import given, settings
from hypothesis import strategies as st

from server.main import load_lists
from watchwords.normalise import fold, normalise

MATCHER = load_lists()
PIECES = st.sampled_from(
    ["kill", " ", "my\u00adself", "K1LL", "want to die", "d\u0301ie", "ﷺ", "😀", "-", ".", "'", "07700900123"]
)
TEXTS = st.one_of(st.text(max_size=80), st.lists(st.one_of(PIECES, st.characters()), max_size=30).map("".join))


@given(TEXTS)
@settings(max_examples=150, deadline=None)
def test_every_view_maps_into_the_text(text: str) -> None:
    """Each character of each view stems from a non-empty span of the original, in order."""
    for view in normalise(text).views:
        starts, ends = view.offsets()
        assert len(starts) == len(ends) == len(view.text)
        assert all(0 <= start < end <= len(text) for start, end in zip(starts, ends, strict=True))
        assert list(starts) == sorted(starts)


@given(TEXTS)
@settings(max_examples=150, deadline=None)
def test_matches_lie_in_the_text(text: str) -> None:
    """The matcher never raises, and what it points at is a non-empty part of the original."""
    for match in MATCHER.find(text):
        assert text[match.start : match.end]
        assert 1 <= match.level <= 3


@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_surroundings_do_not_hide_a_statement(text: str) -> None:
    """A plain statement on a line of its own is found whatever stands before it."""
    plain = fold(text)
    found = {match.entry_id for match in MATCHER.find(text + " || want to die")}
    assert "s-want-to-die" in found, plain


def test_nothing_is_cut_off() -> None:
    """Twelve thousand characters of padding hide neither a plain nor a disguised statement."""
    padding = "zqxj vwkp " * 1_200
    assert {m.entry_id for m in MATCHER.find(padding + "k1ll mys3lf")} == {"s-kill-myself"}
