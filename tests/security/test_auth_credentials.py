"""Secrets, names and origins: made well, compared exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.auth import credentials
from server.auth.origins import check_host, check_origin
from server.errors import BadRequest, ServiceError

ALLOWED = frozenset({"https://chat.example.nhs.uk"})


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "",
        "null",
        "https://chat.example.nhs.uk.evil.example",
        "https://evil.example/https://chat.example.nhs.uk",
        "https://evilchat.example.nhs.uk",
        "https://example.nhs.uk",
        "http://chat.example.nhs.uk",
        "https://chat.example.nhs.uk:443",
        "https://chat.example.nhs.uk:8443",
        "https://CHAT.example.nhs.uk",
        "HTTPS://chat.example.nhs.uk",
        "https://chat.example.nhs.uk/",
        "https://chat.example.nhs.uk ",
        "https://chat.example.nhs.uk, https://evil.example",
        "https://chat.example.nhs.uk@evil.example",
        "https://chat.exаmple.nhs.uk",
    ],
)
def test_an_origin_that_is_not_exactly_allowed_is_refused(origin: str | None) -> None:
    """Missing, null, prefix, suffix, scheme, port and case variants are refused (reliability 3.1, item 2)."""
    assert not check_origin(origin, ALLOWED)


def test_the_allowed_origin_is_accepted() -> None:
    """The one that is listed passes; "null" does not pass even where somebody listed it."""
    assert check_origin("https://chat.example.nhs.uk", ALLOWED)
    assert not check_origin("null", frozenset({"null"}))


@pytest.mark.parametrize("host", [None, "", "evil.example", "chat.example.nhs.uk:443", "CHAT.example.nhs.uk"])
def test_a_host_that_is_not_exactly_allowed_is_refused(host: str | None) -> None:
    """Only the listed names are answered, port included."""
    assert not check_host(host, frozenset({"chat.example.nhs.uk"}))
    assert check_host("chat.example.nhs.uk", frozenset({"chat.example.nhs.uk"}))


def test_tokens_are_long_and_never_twice_the_same() -> None:
    """A token carries 256 random bits and looks like one; its hash is 32 bytes (item 4)."""
    tokens = {credentials.new_token() for _ in range(1_000)}
    assert len(tokens) == 1_000
    assert all(credentials.looks_like_token(token) for token in tokens)
    assert {len(credentials.token_hash(token)) for token in tokens} == {32}


def test_recovery_codes_are_ten_of_a_hundred_bits() -> None:
    """Ten codes, each of 20 characters out of 32 that are not misread for one another."""
    codes = credentials.new_recovery_codes()
    assert len(set(codes)) == 10
    for code in codes:
        assert len(code.replace("-", "")) == 20
        assert not set(code) & set("ILOU")


def test_a_code_may_be_typed_carelessly() -> None:
    """Case, spaces, missing hyphens and misread letters give the same code; another character does not."""
    kept = credentials.recovery_hash("0A1BC-DEFGH-JKMNP-QRSTV")
    for typed in ("0a1bc-defgh-jkmnp-qrstv", "OAIBC DEFGH JKMNP QRSTV", " oalbcdefghjkmnpqrstu\n"):
        assert credentials.recovery_hash(typed) == kept
    assert credentials.recovery_hash("0A1BC-DEFGH-JKMNP-QRSTW") != kept


def test_a_form_token_belongs_to_one_session_and_one_service() -> None:
    """It holds for its session only, and nobody can make it without the service's secret."""
    token = credentials.form_token(b"s" * 32, "SESSION1")
    assert credentials.form_token_holds(b"s" * 32, "SESSION1", token)
    for secret, binding, given_token in (
        (b"s" * 32, "SESSION2", token),
        (b"t" * 32, "SESSION1", token),
        (b"s" * 32, "SESSION1", token[:-1]),
        (b"s" * 32, "SESSION1", ""),
        (b"s" * 32, "SESSION1", None),
    ):
        assert not credentials.form_token_holds(secret, binding, given_token)


@pytest.mark.parametrize(
    ("one", "other"), [("amber", "Amber"), ("amber", "a m b e r"), ("Iris", "lris"), ("Bob", "B0b")]
)
def test_names_that_look_alike_have_one_key(one: str, other: str) -> None:
    """Two names that a person may take for one another are the same name."""
    assert credentials.name_key(one) == credentials.name_key(other)


@pytest.mark.parametrize("name", ["Ann", "Siân", "Zoë 2", "blue-tit_9", "Łukasz", "李雷"])
def test_ordinary_names_are_accepted(name: str) -> None:
    """Letters of any script, digits, spaces, hyphens and underlines make a name, shown as it was typed."""
    assert credentials.check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", " ", "a", "-a", "a" * 31, "a@b.uk", "a\u202eb", "x\u200by", "a/b", "a\tb<", "😀😀", "ﷺﷺ"]
)
def test_names_that_break_a_screen_are_refused(name: str) -> None:
    """Control, invisible and direction marks, signs, and names too short or long to show are refused."""
    with pytest.raises(BadRequest):
        credentials.check_name(name)


@given(st.text(max_size=200))
def test_no_name_or_password_breaks_the_rules(text: str) -> None:
    """Law: any text is either accepted, or refused with an error of ours that does not repeat it."""
    said = []
    for check in (credentials.check_name, lambda value: credentials.check_password(value, "amber")):
        try:
            check(text)
        except ServiceError as error:
            said.append(error.text)
    assert len(text) < 8 or not any(text in answer for answer in said)
    assert len(credentials.name_key(text)) <= 121
    assert len(credentials.recovery_hash(text)) == 32
    assert isinstance(credentials.looks_like_token(text), bool)


@given(st.text(min_size=2, max_size=30))
def test_an_accepted_name_stays_as_it_is(text: str) -> None:
    """Law: what is accepted is accepted again unchanged, and has the same key."""
    try:
        shown = credentials.check_name(text)
    except BadRequest:
        return
    assert credentials.check_name(shown) == shown
    assert credentials.name_key(shown) == credentials.name_key(text)
