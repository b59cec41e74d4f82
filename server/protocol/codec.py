"""Bytes to frames and back, for both subprotocols: the same frames, once as MessagePack and once as JSON.

Decided here: what of a frame's bytes is refused, with which code, and how much of a newer server's frames an older
client can still use. Not decided here: the order of frames (`session`) and what they do (`server.actions`).

Two libraries read MessagePack here. `msgspec` decodes straight into the typed frames, checking types, bounds and
unknown fields on the way; `msgpack` builds a dict that would still have to be checked. But msgspec keeps the last of
two equal keys in silence, and two readers that disagree about which one counts are a way round a check; so `msgpack`
(for JSON the standard library) reads each command once more and refuses keys given twice. For a `send`: 1.1 us typed,
half of it the patterns of its ids, and 1.0 us for the second reading (two-core machine, November 2026).

Depth: a typed decoder goes only as deep as the frame types do (4 levels), since an unknown field of a command is an
error before its value is entered. Skipped values of a reply go through msgspec's guarded recursion. Neither reaches the
C stack; `RecursionError` is caught all the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, get_args

import msgpack  # type: ignore[import-untyped]
import msgspec

from server.protocol.codes import ErrorCode, ProtocolError
from server.protocol.frames import (
    MAX_BODY_CHARS,
    MAX_DEPTH,
    MAX_FRAME_BYTES,
    MAX_REPLY_BYTES,
    AnyCommand,
    AnyItem,
    AnyReply,
    AnyView,
    Care,
    Change,
    ClientId,
    Retry,
)

# How many tokens of a refused frame are looked at to say "too deep"; only the wording of a refusal depends on it.
_SCAN_TOKENS: Final = 1_024
_AT: Final = re.compile(r" - at (?:`key` in )?`\$\.?([^`]*)`$")
_UNKNOWN: Final = re.compile(r"^Object contains unknown field `([A-Za-z0-9_]{1,40})`")
_MISSING: Final = re.compile(r"^Object missing required field `([A-Za-z0-9_]{1,40})`")
_JSON_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)


class UnknownFrame(msgspec.Struct, frozen=True):
    """A frame of a kind that this build does not know. Ignore it; `re` is the command it answers, if any."""

    t: str
    re: str | None = None


class UnknownEvent(msgspec.Struct, frozen=True):
    """An event whose item this build does not know. There is nothing to apply: advance to `seq`."""

    feed: str
    epoch: int
    seq: int
    kind: str


ReplyOrUnknown = AnyReply | UnknownFrame | UnknownEvent


class _Named(msgspec.Struct, frozen=True):
    client_id: ClientId


class _Duplicate(Exception):
    """Raised from inside a decoder by `_pairs`; `key` is None where it is not a field of ours."""

    def __init__(self, key: str | None) -> None:
        super().__init__()
        self.key = key


def _pairs(pairs: list[tuple[object, object]]) -> dict[object, object]:
    read = dict(pairs)
    if len(read) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _Duplicate(twice if isinstance(twice, str) and re.fullmatch(r"[a-z_]{1,40}", twice) else None)
    return read


def _check_json_keys(data: bytes) -> None:
    json.loads(data.decode(), object_pairs_hook=_pairs)


def _check_msgpack_keys(data: bytes) -> None:
    msgpack.unpackb(data, object_pairs_hook=_pairs)


def _is_deep_json(data: bytes) -> bool:
    depth = 0
    for n, token in enumerate(_JSON_TOKEN.finditer(data)):
        first = token[0][0]
        if first in b"[{":
            depth += 1
        elif first in b"]}":
            depth -= 1
        if depth > MAX_DEPTH:
            return True
        if n >= _SCAN_TOKENS:
            break
    return False


def _msgpack_token(data: bytes, at: int) -> tuple[int, int]:
    """(offset after the token at `at`, values that it contains); a scalar's offset may lie past the end of `data`."""
    first = data[at]
    if first <= 0x7F or first >= 0xE0 or first in (0xC0, 0xC1, 0xC2, 0xC3):
        return at + 1, 0
    if first <= 0x8F:
        return at + 1, 2 * (first & 0x0F)
    if first <= 0x9F:
        return at + 1, first & 0x0F
    if first <= 0xBF:
        return at + 1 + (first & 0x1F), 0
    if first in _FIXED:
        return at + 1 + _FIXED[first], 0
    width, extra, values = _SIZED[first]
    size = int.from_bytes(data[at + 1 : at + 1 + width], "big")
    return at + 1 + width + (0 if values else size + extra), values * size


# Bytes after the first of the fixed-width kinds; then (width of the length, extra bytes, values per count) of the rest.
_FIXED: Final = {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8} | {
    0xD4 + n: 1 + (1 << n) for n in range(5)
}
_SIZED: Final = {
    **{0xC4 + n: (1 << n, 0, 0) for n in range(3)},
    **{0xC7 + n: (1 << n, 1, 0) for n in range(3)},
    **{0xD9 + n: (1 << n, 0, 0) for n in range(3)},
    **{0xDC + n: (2 << n, 0, 1) for n in range(2)},
    **{0xDE + n: (2 << n, 0, 2) for n in range(2)},
}


def _is_deep_msgpack(data: bytes) -> bool:
    at, open_values = 0, [1]
    for _ in range(_SCAN_TOKENS):
        while open_values and open_values[-1] == 0:
            open_values.pop()
        if not open_values or at >= len(data):
            return False
        open_values[-1] -= 1
        at, values = _msgpack_token(data, at)
        if values:
            open_values.append(values)
        if len(open_values) - 1 > MAX_DEPTH:
            return True
    return False


class Codec(Enum):
    """One of the two subprotocols.

    `decode_command` and `decode_reply` either return a frame or raise `ProtocolError`: no other exception, whatever the
    bytes. What one of them accepts, `encode` gives back as the same frame.
    """

    MSGPACK = "evenkeel.v1.msgpack"
    JSON = "evenkeel.v1.json"

    def __init__(self, subprotocol: str) -> None:
        self.subprotocol = subprotocol
        self.is_text = subprotocol.endswith(".json")
        library: Any = msgspec.json if self.is_text else msgspec.msgpack
        self._decode_command: Callable[[bytes], AnyCommand] = library.Decoder(AnyCommand).decode
        self._decode_reply: Callable[[bytes], AnyReply] = library.Decoder(AnyReply).decode
        self._decode_name: Callable[[bytes], _Named] = library.Decoder(_Named).decode
        self._decode_any: Callable[[bytes], object] = library.Decoder().decode
        self._encode: Callable[[object], bytes] = library.Encoder().encode
        self._check_keys = _check_json_keys if self.is_text else _check_msgpack_keys
        self._is_deep = _is_deep_json if self.is_text else _is_deep_msgpack

    @classmethod
    def choose(cls, offered: Sequence[str]) -> Codec | None:
        """The first offered subprotocol that we speak; None where there is none (the handshake is then refused)."""
        known = {codec.subprotocol: codec for codec in cls}
        return next((known[name] for name in offered if name in known), None)

    def encode(self, frame: AnyCommand | AnyReply) -> bytes:
        """The bytes of one frame: UTF-8 for a text frame, or a binary frame.

        Raises:
            ProtocolError: a text in it is not Unicode (a lone surrogate).
        """
        try:
            return self._encode(frame)
        except UnicodeEncodeError:
            raise ProtocolError(ErrorCode.BAD_FIELD, "A text holds a lone surrogate: send valid Unicode.") from None

    def decode_command(self, data: bytes) -> AnyCommand:
        """The command in `data`, checked for types, bounds, unknown fields and fields given twice.

        Raises:
            ProtocolError: with the `client_id` of the frame as `re` where it can be read.
        """
        if len(data) > MAX_FRAME_BYTES:
            raise ProtocolError(ErrorCode.TOO_BIG, f"Send frames of at most {MAX_FRAME_BYTES} bytes.")
        try:
            command = self._decode_command(data)
            self._check_keys(data)
        except _Duplicate as twice:
            named = None if twice.key == "client_id" else self._name(data)
            raise ProtocolError(ErrorCode.DUPLICATE_FIELD, "Give each field once.", field=twice.key, re=named) from None
        except (ValueError, RecursionError, msgspec.MsgspecError) as exc:
            raise self._explain(data, exc) from None
        return command

    def decode_reply(self, data: bytes) -> ReplyOrUnknown:
        """The frame in `data`, using of a newer server's what can be used.

        Unknown fields are ignored. An unknown kind of frame is an `UnknownFrame`, an event with an unknown item an
        `UnknownEvent`; an unknown item within a snapshot or page is left out. A message in an unknown state is
        `Withheld`: what we do not understand we do not show.

        Raises:
            ProtocolError: not a frame at all, or one that lacks what its kind always had.
        """
        if len(data) > MAX_REPLY_BYTES:
            raise ProtocolError(ErrorCode.TOO_BIG, f"A frame is at most {MAX_REPLY_BYTES} bytes.")
        try:
            return self._decode_reply(data)
        except msgspec.ValidationError:
            return self._decode_newer(data)
        except (ValueError, RecursionError, msgspec.MsgspecError) as exc:
            raise self._explain(data, exc) from None

    def _decode_newer(self, data: bytes) -> ReplyOrUnknown:
        try:
            frame = self._decode_any(data)
            return _understand(frame)
        except (ValueError, TypeError, RecursionError, msgspec.MsgspecError) as exc:
            raise self._explain(data, exc) from None

    def _name(self, data: bytes) -> str | None:
        try:
            return self._decode_name(data).client_id
        except (ValueError, RecursionError, msgspec.MsgspecError):
            return None

    def _explain(self, data: bytes, exc: Exception) -> ProtocolError:
        """The refusal for what a decoder raised. Only names of fields and expected types are taken from its text."""
        named = self._name(data)
        if isinstance(exc, RecursionError) or self._is_deep(data):
            return ProtocolError(ErrorCode.TOO_DEEP, f"Nest at most {MAX_DEPTH} deep.", re=named)
        if not isinstance(exc, msgspec.ValidationError):
            kind = "JSON text in UTF-8" if self.is_text else "MessagePack value"
            return ProtocolError(ErrorCode.MALFORMED, f"Send one whole {kind} per frame, nothing after it.", re=named)
        text = str(exc)
        at = _AT.search(text)
        path = at[1] if at is not None else ""
        path = path if len(path) <= 80 else ""
        unknown, missing = _UNKNOWN.match(text), _MISSING.match(text)
        if text.startswith("Object contains unknown field"):
            field = _joined(path, unknown[1]) if unknown is not None else None
            return ProtocolError(
                ErrorCode.UNKNOWN_FIELD, "Leave out what the command does not have.", field=field, re=named
            )
        if path == "t" and text.startswith("Invalid value"):
            return ProtocolError(
                ErrorCode.UNKNOWN_COMMAND, "Send a command of this version of the protocol.", field="t", re=named
            )
        if missing is not None:
            field = _joined(path, missing[1])
            return ProtocolError(ErrorCode.BAD_FIELD, f"Give the field `{field}`.", field=field, re=named)
        if path == "body" and "length <=" in text:
            return ProtocolError(
                ErrorCode.TOO_LONG, f"Write at most {MAX_BODY_CHARS} characters.", field="body", re=named
            )
        expected = (text[: at.start()] if at is not None else text).partition(" matching regex")[0]
        hint = f" {expected}." if expected.startswith("Expected") else " It is not one of the values allowed."
        where = f"the field `{path}`" if path else "the frame"
        return ProtocolError(ErrorCode.BAD_FIELD, f"Correct {where}.{hint}", field=path or None, re=named)


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


# --- frames of a newer server -----------------------------------------------------------------------------------------

_REPLIES: Final = {kind.__struct_config__.tag: kind for kind in get_args(AnyReply)}
# A word that an older client does not know is read as the most careful one that it does.
_CAREFUL: Final = (
    ("care", get_args(Care), "urgent"),
    ("retry", get_args(Retry), "never"),
)
_WITHHELD: Final = MappingProxyType({"state": "withheld"})


def _understand(frame: object) -> ReplyOrUnknown:
    """The frame in what an untyped decoder read. Raises ValidationError or TypeError where it is not one at all."""
    if not isinstance(frame, dict) or not isinstance(frame.get("t"), str):
        raise msgspec.ValidationError("Expected `object` with `t`")
    kind = _REPLIES.get(frame["t"])
    if kind is None:
        answers = frame.get("re")
        return UnknownFrame(t=frame["t"], re=answers if isinstance(answers, str) else None)
    known = _carefully(frame)
    if frame["t"] == "event":
        item = _known_item(frame.get("item"))
        if item is None:
            return _unknown_event(frame)
        known["item"] = item
    for name in ("items", "private"):
        if isinstance(frame.get(name), list):
            known[name] = [placed for placed in map(_known_placed, frame[name]) if placed is not None]
    reply: AnyReply = msgspec.convert(known, kind)
    return reply


def _unknown_event(frame: Mapping[str, object]) -> UnknownEvent:
    item = frame.get("item")
    kind = item.get("kind") if isinstance(item, dict) else None
    return msgspec.convert({**frame, "kind": kind if isinstance(kind, str) else ""}, UnknownEvent)


def _carefully(fields: Mapping[str, object]) -> dict[str, object]:
    read = dict(fields)
    for name, words, careful in _CAREFUL:
        if name in read and read[name] not in words:
            read[name] = careful
    return read


def _known_item(item: object) -> dict[str, object] | None:
    """The item as it can be converted, or None where nothing can be made of it."""
    if not isinstance(item, dict):
        return None
    known = _carefully(item)
    if known.get("kind") == "message":
        if known.get("change") not in get_args(Change):
            known["change"] = "edit"
        try:
            msgspec.convert(known.get("view"), AnyView)
        except msgspec.ValidationError:
            known["view"] = dict(_WITHHELD)
    try:
        msgspec.convert(known, AnyItem)
    except msgspec.ValidationError:
        return None
    return known


def _known_placed(placed: object) -> dict[str, object] | None:
    if not isinstance(placed, dict):
        return None
    item = _known_item(placed.get("item"))
    return None if item is None else {**placed, "item": item}
