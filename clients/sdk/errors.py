"""What a program using the SDK may have to catch.

ClientError
├── CommandRefused      the server did not carry a command out; `error` is its frame
├── ConnectionEnded     the connection ended and must not, or can not, be made again
└── HttpRefused         a call of the HTTP API was refused
"""

from __future__ import annotations

from server.protocol.frames import Error


class ClientError(Exception):
    """Base of all errors of the SDK."""


class CommandRefused(ClientError):
    """The server did not carry the command out, and sending it again would not help.

    Attributes:
        error: the frame, with `code`, `field` and `request_id`.
    """

    def __init__(self, error: Error) -> None:
        super().__init__(f"{error.code}: {error.message} (request {error.request_id})")
        self.error = error


class ConnectionEnded(ClientError):
    """There is no connection, and the client will not make another by itself.

    Attributes:
        close_code: why, as in section 9 of PROTOCOL.md; None where it never came to one.
        sign_in: True: with a new token it would work.
    """

    def __init__(self, text: str, *, close_code: int | None = None, sign_in: bool = False) -> None:
        super().__init__(text)
        self.close_code = close_code
        self.sign_in = sign_in


class HttpRefused(ClientError):
    """A call of the HTTP API was refused.

    Attributes:
        status: of HTTP.
        code: as in section 8 of PROTOCOL.md; "internal" where the answer was not one of ours.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code} ({status}): {message}")
        self.status = status
        self.code = code
