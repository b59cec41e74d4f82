"""The errors of the service, each with a stable code, a safe text and advice on trying again.

    ServiceError
    ├── BadRequest        the command can not be carried out as it stands           retry never
    │   └── TooLong       a text is over its bound                                  retry never
    ├── NotSignedIn       no valid session                                          retry never
    ├── Refused           this person may not do that (or it does not exist)        retry never
    │   └── NotFound      nothing by that id that this person may see               retry never
    ├── Conflict          somebody else changed it first                            retry never
    ├── TooMany           a limit on how often                                      retry later
    │   └── TooFast       one account said too much in a short time                 retry later
    ├── Unavailable       the service can not do it just now; nothing was stored    retry same or later
    └── Misconfigured     the operator has to change something before it starts     retry never

A text never holds what a member wrote, a name or a score. Expected outcomes (held, nobody on call, already claimed)
are values, not errors.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Retry = Literal["never", "same", "later"]


class ServiceError(Exception):
    """Base of all errors that may be shown to the person or program that asked.

    Attributes:
        code: stable, machine-readable; documented in `clients/PROTOCOL.md`.
        text: safe to show; says what to do.
        field: the field at fault, where there is one.
        retry: "never", "same" (the same command again) or "later" (after `retry_after_ms`).
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    default_retry: ClassVar[Retry] = "never"

    def __init__(
        self,
        text: str,
        *,
        code: str | None = None,
        field: str | None = None,
        retry: Retry | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(text)
        self.text = text
        self.error_code = code or self.code
        self.field = field
        self.retry: Retry = retry or self.default_retry
        self.retry_after_ms = retry_after_ms


class BadRequest(ServiceError):
    code = "bad_request"
    status = 400


class TooLong(BadRequest):
    code = "too_long"
    status = 413


class NotSignedIn(ServiceError):
    code = "not_signed_in"
    status = 401


class Refused(ServiceError):
    code = "refused"
    status = 403


class NotFound(Refused):
    """Also the answer for what exists but is not this person's to see: the two are never told apart."""

    code = "not_found"
    status = 404


class Conflict(ServiceError):
    code = "conflict"
    status = 409


class TooMany(ServiceError):
    code = "too_many"
    status = 429
    default_retry = "later"


class TooFast(TooMany):
    """An edge with a catalogue says this in its own words; the code is that of `TooMany`."""

    def __init__(self, *, retry_after_ms: int) -> None:
        super().__init__(
            "That was a lot at once. Wait a moment, then send it again. Asking for help is never limited.",
            retry_after_ms=retry_after_ms,
        )


class Unavailable(ServiceError):
    code = "unavailable"
    status = 503
    default_retry = "same"


class Misconfigured(ServiceError):
    code = "misconfigured"
    status = 500
