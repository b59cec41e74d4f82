"""Reading what a browser posts: bounded, strict, text only.

There is no multipart here on purpose: nothing is uploaded, and its parsers have a history of being stalled.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.requests import Request

from server.errors import BadRequest, TooLong

MAX_BODY_BYTES = 64 * 1024
# A whole watchword list, as a form spells it: the longest there is takes 96 kB.
MAX_LIST_BYTES = 512 * 1024
MAX_FIELDS = 32


class WrongMediaType(BadRequest):
    code = "media_type"
    status = 415


def media_type(request: Request) -> str:
    """The content type without its parameters, in lower case; "" for none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request, most_bytes: int = MAX_BODY_BYTES) -> bytes:
    """The body, at most so long.

    Raises:
        TooLong: it is longer; nothing past the bound was kept.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most_bytes:
            raise TooLong("That is too long.")
    return bytes(body)


async def read_form(request: Request, most_bytes: int = MAX_BODY_BYTES) -> dict[str, str]:
    """The fields of an urlencoded form.

    Raises:
        WrongMediaType: another content type.
        TooLong: over `most_bytes`.
        BadRequest: not UTF-8, a field given twice, or more than MAX_FIELDS.
    """
    if media_type(request) != "application/x-www-form-urlencoded":
        raise WrongMediaType("We could not read that form.")
    body = await read_body(request, most_bytes)
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            encoding="utf-8",
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except (UnicodeError, ValueError) as error:
        raise BadRequest("We could not read that form.") from error
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise BadRequest("A field was given twice.", field=name if name.isidentifier() else None)
        fields[name] = value.replace("\r\n", "\n")
    return fields


def strict(fields: Mapping[str, str], *required: str, optional: tuple[str, ...] = ()) -> dict[str, str]:
    """Exactly the fields that this form has; the optional ones default to "".

    Raises:
        BadRequest: one is missing, or there is one that the form does not have.
    """
    for name in required:
        if name not in fields:
            raise BadRequest("Something is missing from that form.", field=name)
    if not fields.keys() <= {*required, *optional}:
        raise BadRequest("There is something in that form that we do not know.")
    return {name: fields.get(name, "") for name in (*required, *optional)}
