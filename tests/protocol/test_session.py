"""The order of frames on a connection, and what the codes tell a client to do."""

from __future__ import annotations

import pytest

from server.protocol.codes import CLOSES, ERRORS, CloseCode, ErrorCode, ProtocolError, close_advice
from server.protocol.frames import AnyCommand, Beat, Hello, Join, Limits, Person, Welcome
from server.protocol.session import Session

HELLO = Hello(client_id="12345678", client="test")
JOIN = Join(client_id="87654321", feed="room:a")
WELCOME = Welcome(
    re="12345678", server="1", minor=0, you=Person(id="a", name="b"), features=("handling",), now=0, limits=Limits()
)


@pytest.mark.parametrize(("command", "re"), [(JOIN, "87654321"), (Beat(), None)])
def test_nothing_comes_before_welcome(command: AnyCommand, re: str | None) -> None:
    """Neither before `hello` nor between `hello` and `welcome`; the refusal names the command."""
    session = Session()
    before = session.check(command)
    assert session.check(HELLO) is None
    between = session.check(command)
    for refused in (before, between):
        assert refused is not None
        assert (refused.code, refused.re) == (ErrorCode.HELLO_FIRST, re)
    session.welcomed(WELCOME)
    assert session.check(command) is None


def test_hello_is_said_once() -> None:
    """Neither while the first is being answered nor later."""
    session = Session()
    assert session.check(HELLO) is None
    early = session.check(HELLO)
    session.welcomed(WELCOME)
    late = session.check(HELLO)
    assert [refused and refused.code for refused in (early, late)] == [ErrorCode.HELLO_TWICE] * 2


def test_features_are_those_that_both_sides_know() -> None:
    """What was offered and is not known here is left out; what was agreed is remembered at `welcome`."""
    session = Session()
    assert session.agree(("smoke-signals", "console", "handling")) == ("handling", "console")
    assert (session.is_ready, session.features) == (False, frozenset())
    session.welcomed(WELCOME)
    assert (session.is_ready, session.features) == (True, frozenset({"handling"}))


def test_every_code_has_its_advice() -> None:
    """No code without a meaning that is a sentence."""
    assert set(ERRORS) == set(ErrorCode)
    assert set(CLOSES) == set(CloseCode)
    assert all(advice.meaning.endswith(".") for advice in [*ERRORS.values(), *CLOSES.values()])


@pytest.mark.parametrize(
    ("code", "comes_back"),
    [(1000, False), (1001, True), (1002, False), (1006, True), (1007, False), (1009, False), (1012, True),
     (4001, True), (4002, True), (4003, True), (4401, False), (4403, False), (4408, True), (4429, True),
     (4100, True), (4499, False), (3000, True)],
)  # fmt: skip
def test_whether_to_come_back(code: int, comes_back: bool) -> None:
    """The table of the contract, and the rule for codes that are not in it."""
    assert close_advice(code).reconnect is comes_back


def test_a_refusal_becomes_an_error_frame() -> None:
    """With the retry that belongs to its code, the field and the command that it answers."""
    reply = ProtocolError(ErrorCode.BAD_FIELD, "Give it.", field="seq", re="12345678").to_reply("r1")
    assert (reply.code, reply.retry, reply.field, reply.re, reply.request_id) == (
        "bad_field", "never", "seq", "12345678", "r1",
    )  # fmt: skip
