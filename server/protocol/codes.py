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
    # Why, more closely, where a client or a person can do something about it.
    BUSY = "busy"
    STOPPING = "stopping"
    STORAGE = "storage"
    ERASED = "erased"
    ROOM_CLOSED = "room_closed"
    NOT_JOINED = "not_joined"
    TOO_LATE = "too_late"
    REMOVED = "removed"
    NOT_HELD = "not_held"
    NOT_PUBLISHED = "not_published"
    STILL_HELD = "still_held"
    CASE_CHANGED = "case_changed"
    ACT_REFUSED = "act_refused"
    CLIENT_ID_REUSED = "client_id_reused"
    NEEDS_SOCKET = "needs_socket"
    TICKET = "ticket"
    BAD_TICKET = "bad_ticket"
    HOST = "host"
    ORIGIN = "origin"
    BAD_ORIGIN = "bad_origin"
    CSRF = "csrf"
    EXPIRED = "expired"
    SIGN_IN_FAILED = "sign_in_failed"
    RECOVERY_FAILED = "recovery_failed"
    WRONG_PASSWORD = "wrong_password"
    BAD_NAME = "bad_name"
    NAME_NOT_AVAILABLE = "name_not_available"
    PASSWORD_TOO_SHORT = "password_too_short"
    PASSWORD_TOO_COMMON = "password_too_common"
    PASSWORD_IS_NAME = "password_is_name"
    RULES_CHANGED = "rules_changed"
    ACCOUNT_DISABLED = "account_disabled"
    OWN_ACCOUNT = "own_account"
    MEDIA_TYPE = "media_type"
    METHOD = "method"
    # The rota and the change of shift.
    NOT_ON_DUTY = "not_on_duty"
    HANDOVER_TAKEN = "handover_taken"
    SHIFT_OVER = "shift_over"
    ROTA_OVERLAP = "rota_overlap"
    ON_LEAVE = "on_leave"
    NO_SKILL = "no_skill"
    NOT_YOURS = "not_yours"
    SWAP_SETTLED = "swap_settled"
    SWAP_MOVED = "swap_moved"
    OWN_HANDOVER = "own_handover"
    UNKNOWN_PERSON = "unknown_person"


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
    ErrorCode.BUSY: ErrorAdvice("Too many of these run at once: wait a moment, then send the same command.", "later"),
    ErrorCode.STOPPING: ErrorAdvice("This server is stopping; connect again and send the same command.", "same"),
    ErrorCode.STORAGE: ErrorAdvice("The database could not keep it; nothing was stored.", "same"),
    ErrorCode.ERASED: ErrorAdvice("What this needs was erased for good.", "never"),
    ErrorCode.ROOM_CLOSED: ErrorAdvice("The room is closed or can only be read just now.", "never"),
    ErrorCode.NOT_JOINED: ErrorAdvice("Follow the room first; then write there.", "never"),
    ErrorCode.TOO_LATE: ErrorAdvice("The time for editing is over.", "never"),
    ErrorCode.REMOVED: ErrorAdvice("The message was removed already.", "never"),
    ErrorCode.NOT_HELD: ErrorAdvice("Only a held message can be released.", "never"),
    ErrorCode.NOT_PUBLISHED: ErrorAdvice("Only a published message can be held.", "never"),
    ErrorCode.STILL_HELD: ErrorAdvice("A message of the case is held: release or remove it, then close.", "never"),
    ErrorCode.CASE_CHANGED: ErrorAdvice("Somebody else acted on the case first: open it again.", "never"),
    ErrorCode.ACT_REFUSED: ErrorAdvice(
        "This act is not possible with the case as it is now; `case_page.allowed` names those that are.", "never"
    ),
    ErrorCode.CLIENT_ID_REUSED: ErrorAdvice(
        "The `client_id` was used for another kind of command: choose a new one.", "never"
    ),
    ErrorCode.NEEDS_SOCKET: ErrorAdvice("This command only makes sense on a socket.", "never"),
    ErrorCode.TICKET: ErrorAdvice("A connection that was opened by a cookie needs a ticket in `hello`.", "never"),
    ErrorCode.BAD_TICKET: ErrorAdvice("The ticket is unknown, used or too old: ask for a new one.", "never"),
    ErrorCode.HOST: ErrorAdvice("This service is not reached by that name.", "never"),
    ErrorCode.ORIGIN: ErrorAdvice(
        "A socket is only opened from this service's own pages, or by a program with a bearer token.", "never"
    ),
    ErrorCode.BAD_ORIGIN: ErrorAdvice(
        "A change by HTTP comes from this service's own pages, or from a program with a bearer token.", "never"
    ),
    ErrorCode.CSRF: ErrorAdvice("The form's token is missing or too old: load the page again.", "never"),
    ErrorCode.EXPIRED: ErrorAdvice("The session has ended: sign in again.", "never"),
    ErrorCode.SIGN_IN_FAILED: ErrorAdvice("Name and password do not belong together.", "never"),
    ErrorCode.RECOVERY_FAILED: ErrorAdvice(
        "Name and recovery code do not belong together, or the code was used.", "never"
    ),
    ErrorCode.WRONG_PASSWORD: ErrorAdvice("The current password is not right.", "never"),
    ErrorCode.BAD_NAME: ErrorAdvice("The name breaks a rule that the text gives.", "never"),
    ErrorCode.NAME_NOT_AVAILABLE: ErrorAdvice("The name can not be used: choose another.", "never"),
    ErrorCode.PASSWORD_TOO_SHORT: ErrorAdvice("The password needs more characters.", "never"),
    ErrorCode.PASSWORD_TOO_COMMON: ErrorAdvice("The password is one that many people use.", "never"),
    ErrorCode.PASSWORD_IS_NAME: ErrorAdvice("The password is the name.", "never"),
    ErrorCode.RULES_CHANGED: ErrorAdvice("The house rules have changed: read them, then send their version.", "never"),
    ErrorCode.ACCOUNT_DISABLED: ErrorAdvice("This account was closed by the team.", "never"),
    ErrorCode.OWN_ACCOUNT: ErrorAdvice("Nobody changes their own role or closes their own account here.", "never"),
    ErrorCode.MEDIA_TYPE: ErrorAdvice("The body must be `application/json`.", "never"),
    ErrorCode.METHOD: ErrorAdvice("This address is not used in that way.", "never"),
    ErrorCode.NOT_ON_DUTY: ErrorAdvice(
        "Only somebody whose shift has begun can take this: say that you are there first.", "never"
    ),
    ErrorCode.HANDOVER_TAKEN: ErrorAdvice("Somebody else has accepted what was handed over.", "never"),
    ErrorCode.SHIFT_OVER: ErrorAdvice("The shift that was asked about is over.", "never"),
    ErrorCode.ROTA_OVERLAP: ErrorAdvice("This person is on the rota at that time already, in this role.", "never"),
    ErrorCode.ON_LEAVE: ErrorAdvice("This person is on leave then: the leave is taken back first.", "never"),
    ErrorCode.NO_SKILL: ErrorAdvice("This person does not have the skill that the shift needs.", "never"),
    ErrorCode.NOT_YOURS: ErrorAdvice("This swap is for the other person to answer.", "never"),
    ErrorCode.SWAP_SETTLED: ErrorAdvice("This swap was answered already.", "never"),
    ErrorCode.SWAP_MOVED: ErrorAdvice(
        "The rota has changed since this swap was asked for: it is asked for anew.", "never"
    ),
    ErrorCode.OWN_HANDOVER: ErrorAdvice("What one holds oneself is for somebody else to accept.", "never"),
    ErrorCode.UNKNOWN_PERSON: ErrorAdvice("Nobody of that name can be put on the rota.", "never"),
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
    CloseCode.HEARTBEAT_LOST: CloseAdvice("Nothing came from the client for too long.", reconnect=True),
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
