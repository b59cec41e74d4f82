"""Laws of the codec: what is sent is what is read, and no bytes whatever do more harm than a refusal."""

from __future__ import annotations

import json
import math
from typing import Any, get_args

import msgpack
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from server.protocol.codec import Codec, UnknownEvent, UnknownFrame
from server.protocol.codes import ErrorCode, ProtocolError
from server.protocol.frames import (
    MAX_BODY_CHARS,
    MAX_FRAME_BYTES,
    MAX_REPLY_BYTES,
    AnyCommand,
    AnyItem,
    AnyReply,
    Event,
    Join,
    Joined,
    MessageItem,
    Position,
    Send,
    Withheld,
)

CODECS = pytest.mark.parametrize("codec", list(Codec))
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)
names = st.from_regex(r"\A[a-z]+(:[A-Za-z0-9_-]+)?\Z").filter(lambda name: len(name) <= 80)
client_ids = st.text("abcdefghijklmnopqrstuvwxyzABC0123456789_.:~#-", min_size=8, max_size=64)
idents = st.text("abcXYZ019_-", min_size=1, max_size=40)
seqs = st.integers(0, 2**53 - 1)


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type, within the bounds of the contract."""
    info = msgspec.inspect.type_info(hint)
    return of_type(info)


def of_type(info: Any) -> st.SearchStrategy[Any]:
    match info:
        case msgspec.inspect.StrType(pattern=None, min_length=least, max_length=most):
            return st.text(st.characters(exclude_categories=("Cs",)), min_size=least or 0, max_size=min(most or 60, 60))
        case msgspec.inspect.StrType(min_length=8):
            return client_ids
        case msgspec.inspect.StrType(max_length=80):
            return names
        case msgspec.inspect.StrType():
            return idents
        case msgspec.inspect.IntType(ge=least, le=most, lt=below):
            top = most if most is not None else below - 1 if below is not None else 2**53 - 1
            return st.integers(least if least is not None else -(2**53), top)
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.NoneType():
            return st.none()
        case msgspec.inspect.LiteralType(values=allowed):
            return st.sampled_from(allowed)
        case msgspec.inspect.UnionType(types=kinds):
            return st.one_of([of_type(kind) for kind in kinds])
        case msgspec.inspect.VarTupleType(item_type=inner):
            return st.lists(of_type(inner), max_size=3).map(tuple)
        case msgspec.inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(of_type(key), of_type(value), max_size=3)
        case msgspec.inspect.StructType(cls=kind, fields=fields):
            return st.builds(kind, **{each.name: of_type(each.type) for each in fields})
        case msgspec.inspect.Metadata(type=inner):
            return of_type(inner)
    raise AssertionError(info)


commands = st.one_of([values(kind) for kind in get_args(AnyCommand)])
replies = st.one_of([values(kind) for kind in get_args(AnyReply)])
builtins = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | texts | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts | st.integers(0, 9), inner, max_size=4),
    max_leaves=12,
)


@CODECS
@given(command=commands)
def test_a_command_is_read_as_it_was_written(codec: Codec, command: AnyCommand) -> None:
    """decode(encode(command)) == command, for every command and both subprotocols."""
    assert codec.decode_command(codec.encode(command)) == command


@CODECS
@given(reply=replies)
def test_a_reply_is_read_as_it_was_written(codec: Codec, reply: AnyReply) -> None:
    """decode(encode(reply)) == reply, for every reply, item and state of a message."""
    assert codec.decode_reply(codec.encode(reply)) == reply


@CODECS
@given(data=st.binary(max_size=300))
@example(b"\x91" * 60_000)
@example(b"[" * 60_000)
@example(b"\xdb\xff\xff\xff\xff")
@example(b"\x82\xa1t\xa4beat\xa2at\xdf\xff\xff\xff\xff")
@example(b'{"t":"beat","at":{"a":' + b"9" * 5_000 + b"}}")
def test_any_bytes_are_read_or_refused(codec: Codec, data: bytes) -> None:
    """No byte string raises anything but ProtocolError, from either decoder."""
    for decode in (codec.decode_command, codec.decode_reply):
        try:
            decode(data)
        except ProtocolError:
            continue


@CODECS
@settings(max_examples=200)
@given(frame=st.one_of(commands, replies), data=st.data())
def test_a_damaged_frame_is_read_or_refused(codec: Codec, frame: Any, data: st.DataObject) -> None:
    """Bytes changed, cut out or put into a real frame are read or refused, nothing else."""
    wire = bytearray(codec.encode(frame))
    at = data.draw(st.integers(0, len(wire)))
    wire[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    for decode in (codec.decode_command, codec.decode_reply):
        try:
            decode(bytes(wire))
        except ProtocolError:
            continue


@given(
    kind=st.sampled_from([k.__struct_config__.tag for k in get_args(AnyReply) + get_args(AnyCommand)]), data=st.data()
)
def test_any_value_in_any_field_is_read_or_refused(kind: str, data: st.DataObject) -> None:
    """Well-formed values of the wrong shape are refused as such, and never reach a caller as another exception."""
    fields = data.draw(
        st.dictionaries(
            st.sampled_from(["client_id", "feed", "item", "items", "re", "seq", "at", "epoch", "x"]), builtins
        )
    )
    wire = msgpack.packb({"t": kind, **fields})
    for decode in (Codec.MSGPACK.decode_command, Codec.MSGPACK.decode_reply):
        try:
            decode(wire)
        except ProtocolError:
            continue


@pytest.mark.parametrize("depth", [17, 200, 1_000, 20_000, 100_000])
@pytest.mark.parametrize("codec", list(Codec))
def test_nesting_is_refused_however_deep(codec: Codec, depth: int) -> None:
    """17 levels and 100,000 levels end alike: in a refusal, as the whole frame, in a field and before the tag."""
    if codec.is_text:
        deep = b"[" * depth + b"]" * depth
        frames = [deep, b'{"t":"beat","at":' + deep + b"}", b'{"zzz":' + deep + b',"t":"beat"}']
    else:
        deep = b"\x91" * depth + b"\xc0"
        frames = [deep, b"\x82\xa1t\xa4beat\xa2at" + deep, b"\x82\xa3zzz" + deep + b"\xa1t\xa4beat"]
    for frame in frames:
        with pytest.raises(ProtocolError) as refused:
            codec.decode_command(frame)
        expected = ErrorCode.TOO_BIG if len(frame) > MAX_FRAME_BYTES else ErrorCode.TOO_DEEP
        assert refused.value.code is expected
        if frame is frames[0]:
            with pytest.raises(ProtocolError):
                codec.decode_reply(frame)


@pytest.mark.parametrize(
    "claim", [b"\xc6", b"\xc9", b"\xdb", b"\xdd", b"\xdf"], ids=["bin", "ext", "str", "array", "map"]
)
def test_a_length_claim_of_4_gib_is_refused_at_once(claim: bytes) -> None:
    """A head that announces 4 GiB and brings nothing is malformed; nothing is allocated for it."""
    for wire in (claim + b"\xff" * 4, b"\x82\xa1t\xa4beat\xa2at" + claim + b"\xff" * 4):
        with pytest.raises(ProtocolError):
            Codec.MSGPACK.decode_command(wire)


def leave(**changes: object) -> dict[str, object]:
    return {"t": "leave", "client_id": "12345678", "feed": "room:a"} | changes


def test_a_body_at_the_bound_is_taken_and_one_over_it_is_not() -> None:
    """4,000 characters are counted in code points, whatever their size in bytes."""
    body = "\U0001f331" * MAX_BODY_CHARS
    send = Send(client_id="12345678", feed="room:a", body=body)
    for codec in Codec:
        assert codec.decode_command(codec.encode(send)) == send
        with pytest.raises(ProtocolError) as refused:
            codec.decode_command(codec.encode(msgspec.structs.replace(send, body=body + "x")))
        assert (refused.value.code, refused.value.field, refused.value.re) == (ErrorCode.TOO_LONG, "body", "12345678")


@pytest.mark.parametrize(
    ("wire", "code", "field", "re"),
    [
        (b"", "malformed", None, None),
        (b"\xff\xfe", "malformed", None, None),
        (b'{"t":"beat"}{"t":"beat"}', "malformed", None, None),
        (b'{"t":"help","client_id":"12345678","body":NaN}', "malformed", None, None),
        (b'{"t":"help","client_id":"12345678","body":-Infinity}', "malformed", None, None),
        (b'{"t":"help","client_id":"12345678","body":"\xed\xa0\x80"}', "malformed", None, "12345678"),
        (b'{"t":"help","client_id":"12345678","body":"\\ud800"}', "malformed", None, None),
        (b'{"t":"dance","client_id":"12345678"}', "unknown_command", "t", "12345678"),
        (b'{"client_id":"12345678"}', "bad_field", "t", "12345678"),
        (b"[]", "bad_field", None, None),
        (json.dumps(leave(colour="x")).encode(), "unknown_field", "colour", "12345678"),
        (json.dumps(leave(feed=7)).encode(), "bad_field", "feed", "12345678"),
        (json.dumps(leave(feed="room:a\n")).encode(), "bad_field", "feed", "12345678"),
        (json.dumps(leave(client_id="short")).encode(), "bad_field", "client_id", None),
        (b'{"t":"leave","client_id":"12345678"}', "bad_field", "feed", "12345678"),
        (b'{"t":"leave","client_id":"12345678","feed":"a","feed":"b"}', "duplicate_field", "feed", "12345678"),
        (
            b'{"t":"leave","client_id":"12345678","client_id":"87654321","feed":"a"}',
            "duplicate_field",
            "client_id",
            None,
        ),
        (b'{"t":"beat","at":{"a":1,"a":2}}', "duplicate_field", "a", None),
        (
            b'{"t":"join","client_id":"12345678","feed":"a","after":{"epoch":1,"seq":-1}}',
            "bad_field",
            "after.seq",
            "12345678",
        ),
        (b'{"t":"read","client_id":"12345678","feed":"a","seq":1.0}', "bad_field", "seq", "12345678"),
    ],
)
def test_a_refusal_names_the_rule_the_field_and_the_command(
    wire: bytes, code: str, field: str | None, re: str | None
) -> None:
    """What a client developer needs to mend it, as a table of JSON frames."""
    with pytest.raises(ProtocolError) as refused:
        Codec.JSON.decode_command(wire)
    assert (refused.value.code, refused.value.field, refused.value.re) == (code, field, re)


@pytest.mark.parametrize("value", [msgpack.ExtType(5, b"x"), msgpack.Timestamp(1), b"bytes", math.nan, 1.5, math.inf])
def test_values_that_only_msgpack_has_are_refused(value: object) -> None:
    """Extension types, binary strings and floats are no part of the protocol."""
    with pytest.raises(ProtocolError) as refused:
        Codec.MSGPACK.decode_command(msgpack.packb(leave(feed=value)))
    assert (refused.value.code, refused.value.field, refused.value.re) == (ErrorCode.BAD_FIELD, "feed", "12345678")


def test_a_key_given_twice_is_refused_in_msgpack_too() -> None:
    """Also within an inner map."""
    command = Join(client_id="12345678", feed="room:a", after=Position(epoch=1, seq=2))
    wire = Codec.MSGPACK.encode(command)
    twice = wire.replace(b"\x82\xa5epoch\x01\xa3seq\x02", b"\x83\xa5epoch\x01\xa3seq\x02\xa3seq\x03")
    assert len(twice) > len(wire)
    with pytest.raises(ProtocolError) as refused:
        Codec.MSGPACK.decode_command(twice)
    assert (refused.value.code, refused.value.field) == (ErrorCode.DUPLICATE_FIELD, "seq")


def test_no_refusal_repeats_what_was_written() -> None:
    """A text in the wrong place does not come back in the message, field or name of a refusal."""
    secret = "nobody may read this"
    for wrong in (leave(t=secret), leave(**{secret: 1}), leave(feed=secret), leave(client_id=secret), {secret: secret}):
        for codec in Codec:
            with pytest.raises(ProtocolError) as refused:
                codec.decode_command(codec.encode(wrong))  # type: ignore[arg-type]
            assert secret not in f"{refused.value!r} {refused.value.message} {refused.value.field} {refused.value.re}"


@CODECS
def test_sizes_over_the_bound_are_refused_unread(codec: Codec) -> None:
    """One byte too many is enough, for a command and for a reply."""
    for decode, bound in ((codec.decode_command, MAX_FRAME_BYTES), (codec.decode_reply, MAX_REPLY_BYTES)):
        with pytest.raises(ProtocolError) as refused:
            decode(b" " * (bound + 1))
        assert refused.value.code is ErrorCode.TOO_BIG


# --- an older client and a newer server -------------------------------------------------------------------------------


def newer(codec: Codec, frame: dict[str, object]) -> Any:
    return codec.decode_reply(codec.encode(frame))  # type: ignore[arg-type]


@CODECS
def test_unknown_frames_and_items_are_skipped_and_advanced_over(codec: Codec) -> None:
    """A new kind of frame is named; a new kind of item keeps its position; within a snapshot it is left out."""
    event = {"t": "event", "feed": "room:a", "epoch": 1, "seq": 9, "item": {"kind": "poll", "x": [1]}, "new": {}}
    known = {"seq": 2, "item": {"kind": "access", "account": "b"}}
    joined = {"t": "joined", "feed": "a", "epoch": 1, "seq": 3, "recovered": False}
    assert newer(codec, event) == UnknownEvent(feed="room:a", epoch=1, seq=9, kind="poll")
    assert newer(codec, {"t": "tide", "re": "12345678"}) == UnknownFrame(t="tide", re="12345678")
    snapshot = newer(codec, {**joined, "items": [{"seq": 1, "item": {"kind": "poll"}}, known]})
    assert isinstance(snapshot, Joined)
    assert [placed.seq for placed in snapshot.items] == [2]


@CODECS
def test_a_message_in_an_unknown_state_is_not_shown(codec: Codec) -> None:
    """What this client does not understand replaces the text that stood there, by nothing."""
    item = {"kind": "message", "of": 3, "change": "veil", "view": {"state": "veiled", "body": "x"}}
    event = newer(codec, {"t": "event", "feed": "room:a", "epoch": 1, "seq": 4, "item": item})
    assert isinstance(event, Event)
    assert isinstance(event.item, MessageItem)
    assert event.item.view == Withheld()


@CODECS
@given(reply=replies, name=st.from_regex(r"\Azz[a-z]{1,8}\Z"), value=texts | seqs | st.lists(seqs, max_size=3))
def test_unknown_fields_of_a_reply_are_ignored(codec: Codec, reply: AnyReply, name: str, value: object) -> None:
    """A field that a newer server adds changes nothing else."""
    fields = {**msgspec.to_builtins(reply), name: value}
    assert newer(codec, fields) == reply


def test_every_kind_of_item_is_generated() -> None:
    """The strategies above are derived from the frames; this fails when a kind would be left out."""
    for kind in (*get_args(AnyItem), *get_args(AnyReply), *get_args(AnyCommand)):
        values(kind).validate()
