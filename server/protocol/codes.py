"""Every error code and every close code of the wire contract, and what a client does on meeting one.

Decided here: the codes, what each means and whether to come back. Not decided here: when the service uses one
(`server.errors`, `server.actions`, the hub) or how long a client waits between attempts (`clients.sdk.connection`).

A code is stable: clients test codes, never texts. A client that meets a code it does not know follows the `retry` of
the frame itself, and for a close code the rule of `close_advice`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from server.protocol.frames import Error, Retry


class ErrorCode(StrEnum):
    """The `code` of an `error` frame and of an HTTP error."""

    # The bytes or their order were wrong; decided by this package.
    MALFORMED = "malformed"
    TOO_BIG = "too_big"
    TOO_DEEP = "too_deep"
    UNKNOWN_COMMAND = "unknown_command"
    UNKNOWN_FIELD = "unknown_field"
    DUPLICATE_FIELD = "duplicate_field"
    BAD_FIELD = "bad_field"
    HELLO_FIRST = "hello_first"
    HELLO_TWICE = "hello_twice"
    # The command was understood and not carried out; one for each class of `server.errors`.
    BAD_REQUEST = "bad_request"
    TOO_LONG = "too_long"
    NOT_SIGNED_IN = "not_signed_in"
    REFUSED = "refused"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    TOO_MANY = "too_many"
    UNAVAILABLE = "unavailable"
    MISCONFIGURED = "misconfigured"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class ErrorAdvice:
    """What an error code means (a full sentence) and the `retry` that goes with it unless the frame says otherwise."""

    meaning: str
    retry: Retry


ERRORS: dict[ErrorCode, ErrorAdvice] = {
    ErrorCode.MALFORMED: ErrorAdvice("The bytes are not one whole frame of the agreed subprotocol.", "never"),
    ErrorCode.TOO_BIG: ErrorAdvice("The frame is larger than `limits.frame_bytes`.", "never"),
    ErrorCode.TOO_DEEP: ErrorAdvice("Arrays and maps are nested more than 16 deep.", "never"),
    ErrorCode.UNKNOWN_COMMAND: ErrorAdvice("This server knows no command of that `t`.", "never"),
    ErrorCode.UNKNOWN_FIELD: ErrorAdvice("The command has no such field; `field` names it where it is safe.", "never"),
    ErrorCode.DUPLICATE_FIELD: ErrorAdvice("A field was given twice.", "never"),
    ErrorCode.BAD_FIELD: ErrorAdvice("A field is missing, has the wrong type or is out of its bounds.", "never"),
    ErrorCode.HELLO_FIRST: ErrorAdvice("`hello` comes first, and nothing else before `welcome`.", "never"),
    ErrorCode.HELLO_TWICE: ErrorAdvice("`hello` was already said on this connection.", "never"),
    ErrorCode.BAD_REQUEST: ErrorAdvice("The command can not be carried out as it stands.", "never"),
    ErrorCode.TOO_LONG: ErrorAdvice("A text is over its bound.", "never"),
    ErrorCode.NOT_SIGNED_IN: ErrorAdvice("There is no valid session: sign in, then try again.", "never"),
    ErrorCode.REFUSED: ErrorAdvice("This account may not do that.", "never"),
    ErrorCode.NOT_FOUND: ErrorAdvice("Nothing by that id that this account may see.", "never"),
    ErrorCode.CONFLICT: ErrorAdvice("Somebody else changed it first: read it again, then decide.", "never"),
    ErrorCode.TOO_MANY: ErrorAdvice("Too often: wait `retry_after_ms`, then send the same command.", "later"),
    ErrorCode.UNAVAILABLE: ErrorAdvice("The service can not do it just now; nothing was stored.", "same"),
    ErrorCode.MISCONFIGURED: ErrorAdvice("The operator has to change something first.", "never"),
    ErrorCode.INTERNAL: ErrorAdvice("Something failed in the service; quote `request_id` when reporting it.", "never"),
}


class ProtocolError(Exception):
    """A frame, or its place in the order of a connection, breaks the contract.

    Attributes:
        code: which rule was broken.
        message: says what to do; never holds anything of what was sent but the name of a field.
        field: path of the field at fault, such as "after.seq"; None where it is the whole frame.
        re: the `client_id` of the frame, where it could be read safely.
    """

    def __init__(self, code: ErrorCode, message: str, *, field: str | None = None, re: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.re = re

    def to_reply(self, request_id: str) -> Error:
        """The `error` frame that tells the client."""
        return Error(
            code=self.code.value,
            message=self.message,
            retry=ERRORS[self.code].retry,
            request_id=request_id,
            re=self.re,
            field=self.field,
        )


class CloseCode(IntEnum):
    """Why a connection ended. The 4000s are ours: 4000-4399 come back, 4400-4499 something has to change first."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    BAD_DATA_TYPE = 1003
    LOST = 1006
    INVALID_TEXT = 1007
    POLICY = 1008
    TOO_BIG = 1009
    INTERNAL = 1011
    SERVICE_RESTART = 1012
    TRY_LATER = 1013
    SLOW_CONSUMER = 4001
    HEARTBEAT_LOST = 4002
    RESTARTING = 4003
    SESSION_ENDED = 4401
    FORBIDDEN = 4403
    NO_HELLO = 4408
    TOO_MANY_CONNECTIONS = 4429


@dataclass(frozen=True, slots=True)
class CloseAdvice:
    """Whether to connect again after a close, and no sooner than when.

    Attributes:
        meaning: a full sentence.
        reconnect: False: do not connect again with this program and this session.
        min_delay_ms: floor of the wait before the next attempt; the back-off may make it longer.
        sign_in: True: get a new session first, then connecting again is right.
    """

    meaning: str
    reconnect: bool
    min_delay_ms: int = 0
    sign_in: bool = False


CLOSES: dict[CloseCode, CloseAdvice] = {
    CloseCode.NORMAL: CloseAdvice("The client asked to close.", reconnect=False),
    CloseCode.GOING_AWAY: CloseAdvice("The server, or a proxy before it, is going away.", reconnect=True),
    CloseCode.PROTOCOL_ERROR: CloseAdvice("The client broke the WebSocket protocol.", reconnect=False),
    CloseCode.BAD_DATA_TYPE: CloseAdvice("Text where the subprotocol is binary, or the reverse.", reconnect=False),
    CloseCode.LOST: CloseAdvice("Cut without a close; a client's library reports this itself.", reconnect=True),
    CloseCode.INVALID_TEXT: CloseAdvice("A text frame was not UTF-8.", reconnect=False),
    CloseCode.POLICY: CloseAdvice("Too many frames that break the contract.", reconnect=False),
    CloseCode.TOO_BIG: CloseAdvice("A frame was over the size at which the server reads no further.", reconnect=False),
    CloseCode.INTERNAL: CloseAdvice("Something failed in the server.", reconnect=True, min_delay_ms=1_000),
    CloseCode.SERVICE_RESTART: CloseAdvice("The server restarts.", reconnect=True),
    CloseCode.TRY_LATER: CloseAdvice("The server is over its load.", reconnect=True, min_delay_ms=5_000),
    CloseCode.SLOW_CONSUMER: CloseAdvice("The client read too slowly; resume by position.", reconnect=True),
    CloseCode.HEARTBEAT_LOST: CloseAdvice("No heartbeat came for three beats.", reconnect=True),
    CloseCode.RESTARTING: CloseAdvice("The time that `drain` gave is over.", reconnect=True),
    CloseCode.SESSION_ENDED: CloseAdvice("The session ended: sign in first.", reconnect=False, sign_in=True),
    CloseCode.FORBIDDEN: CloseAdvice("This account or origin may not connect.", reconnect=False),
    CloseCode.NO_HELLO: CloseAdvice("No `hello` came within 5 s.", reconnect=True, min_delay_ms=1_000),
    CloseCode.TOO_MANY_CONNECTIONS: CloseAdvice(
        "Too many connections of this account or address.", reconnect=True, min_delay_ms=30_000
    ),
}


def close_advice(code: int) -> CloseAdvice:
    """What to do after any close code, also one this build does not know: 44xx never by itself, all else come back."""
    try:
        return CLOSES[CloseCode(code)]
    except ValueError:
        return CloseAdvice("A code this client does not know.", reconnect=not 4400 <= code < 4500, min_delay_ms=1_000)
