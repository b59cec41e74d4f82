"""The reference in clients/PROTOCOL.md and the code say the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from server import errors
from server.protocol import frames
from server.protocol.codec import Codec
from server.protocol.codes import CLOSES, ERRORS, CloseCode, ErrorCode

REFERENCE = (Path(__file__).parents[2] / "clients" / "PROTOCOL.md").read_text()
EXAMPLES = [
    (kind, text)
    for kind, text in re.findall(r"^```json (command|reply)\n(.*?)^```$", REFERENCE, re.MULTILINE | re.DOTALL)
]


def tags(union: Any) -> set[str]:
    return {kind.__struct_config__.tag for kind in get_args(union)}


def said_by_leaving_out(kind: Any) -> set[tuple[str, str]]:
    """(field, default as JSON) of the fields of a struct that may be left out and then mean something."""
    found = set()
    for field in msgspec.structs.fields(kind):
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        if kind.__struct_config__.omit_defaults and default is not msgspec.NODEFAULT and default:
            found.add((field.encode_name, json.dumps(default).strip('"')))
    return found


def values_of(key: str, value: object) -> set[str]:
    """Every text that stands under `key` anywhere within `value`."""
    if isinstance(value, dict):
        here = {value[key]} if isinstance(value.get(key), str) else set()
        return here.union(*(values_of(key, inner) for inner in value.values()))
    if isinstance(value, list):
        return set().union(*(values_of(key, inner) for inner in value))
    return set()


@pytest.mark.parametrize(("kind", "text"), EXAMPLES)
def test_every_example_means_the_same_on_both_subprotocols(kind: str, text: str) -> None:
    """An example decodes, and encoding and decoding it again on either codec gives the same frame."""
    for codec in Codec:
        first = (
            Codec.JSON.decode_command(text.encode()) if kind == "command" else Codec.JSON.decode_reply(text.encode())
        )
        wire = codec.encode(first)  # type: ignore[arg-type]
        assert (codec.decode_command(wire) if kind == "command" else codec.decode_reply(wire)) == first
        assert type(first).__struct_config__.tag == json.loads(text)["t"]


@pytest.mark.parametrize(("kind", "text"), EXAMPLES)
def test_no_example_holds_a_field_that_the_frame_does_not_have(kind: str, text: str) -> None:
    """Whatever an example says survives the round trip: a misspelt field of a reply would be dropped."""
    given = json.loads(text)
    frame = Codec.JSON.decode_command(text.encode()) if kind == "command" else Codec.JSON.decode_reply(text.encode())
    sent = json.loads(Codec.JSON.encode(frame))  # type: ignore[arg-type]
    assert holds(sent, given)


def holds(sent: Any, given: Any) -> bool:
    """Whether all of `given` is in `sent`, where a field that has its default may have been left out."""
    if isinstance(given, dict):
        return all(holds(sent[k], v) if k in sent else is_default(k, v) for k, v in given.items())
    if isinstance(given, list):
        return len(sent) == len(given) and all(map(holds, sent, given))
    return bool(sent == given)


def is_default(field: str, value: object) -> bool:
    return (field, value) in {("open", True), ("complete", True), ("state", "ringing")}


def test_every_command_and_every_reply_has_an_example() -> None:
    """A frame that the reference does not show does not exist for its readers."""
    shown = {kind: {json.loads(text)["t"] for k, text in EXAMPLES if k == kind} for kind in ("command", "reply")}
    assert shown == {"command": tags(frames.AnyCommand), "reply": tags(frames.AnyReply)}


def test_every_item_and_every_state_of_a_message_has_an_example() -> None:
    """The same for what an event carries and for the states of a message."""
    replies = [json.loads(text) for kind, text in EXAMPLES if kind == "reply"]
    assert values_of("kind", replies) == tags(frames.AnyItem)
    assert set().union(*(values_of("state", v) for v in views(replies))) == tags(frames.AnyView)


def views(value: object) -> list[object]:
    if isinstance(value, dict):
        return [v for k, v in value.items() if k == "view"] + [v for inner in value.values() for v in views(inner)]
    return [v for inner in value for v in views(inner)] if isinstance(value, list) else []


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_error_code_is_in_the_table_as_it_is(code: ErrorCode) -> None:
    """Code, meaning and retry of the table are those of `codes.ERRORS`."""
    assert f"| `{code.value}` | {ERRORS[code].meaning} | {ERRORS[code].retry} |\n" in REFERENCE


@pytest.mark.parametrize("code", list(CloseCode))
def test_every_close_code_is_in_the_table_as_it_is(code: CloseCode) -> None:
    """Meaning, whether to come back and the least wait are those of `codes.CLOSES`."""
    advice = CLOSES[code]
    back = "yes" if advice.reconnect else "after signing in" if advice.sign_in else "no"
    assert f"| {code.value} | {advice.meaning} | {back} | {advice.min_delay_ms / 1000:g} s |\n" in REFERENCE


def test_every_error_of_the_service_has_a_code_of_the_contract() -> None:
    """`server.errors` can not raise what a client never heard of, and promises the same about trying again."""
    kinds = [errors.ServiceError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    assert {kind.code for kind in kinds} <= {code.value for code in ErrorCode}
    for kind in kinds:
        assert ERRORS[ErrorCode(kind.code)].retry == kind.default_retry


@pytest.mark.parametrize(
    ("said", "bound"),
    [
        ("64 KiB", frames.MAX_FRAME_BYTES == 64 * 1024),
        ("over 1 MiB close 1009", frames.DISCARD_BYTES == 1024 * 1024),
        ("4 MiB", frames.MAX_REPLY_BYTES == 4 * 1024 * 1024),
        ("| nesting | 16 |", frames.MAX_DEPTH == 16),
        ("4,000 characters", frames.MAX_BODY_CHARS == 4_000),
        ("| feeds followed by one connection | 64 |", frames.MAX_FEEDS == 64),
        ("| a page | 50 |", frames.PAGE_SIZE == 50),
        ("The WebSocket is at `/ws`", frames.SOCKET_PATH == "/ws"),
    ],
)
def test_the_limits_that_are_written_down_are_the_limits(said: str, bound: bool) -> None:
    """Each bound in the reference is the one in `frames`."""
    assert said in REFERENCE
    assert bound


def test_every_feature_is_described() -> None:
    """A feature that can be agreed on is in the table of features."""
    for feature in frames.FEATURES:
        assert f"| `{feature}` |" in REFERENCE


def test_what_a_field_means_that_is_left_out_is_said() -> None:
    """Where a default is not null, false, 0 or empty, the text gives it: a client by the text alone would be wrong."""
    kinds = {*get_args(frames.AnyReply), *get_args(frames.AnyItem), *get_args(frames.AnyView)}
    meant = set().union(*(said_by_leaving_out(kind) for kind in kinds))
    assert ("state", "ringing") in meant
    for field, default in sorted(meant):
        assert f"`{field}` is `{default}` unless given" in " ".join(REFERENCE.split()), field
