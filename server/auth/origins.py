"""What a request says about where it comes from: exact lists, nothing worked out.

Pure. Used before a socket is accepted and before any change by HTTP, so that both come to the same decision about the
same headers. A browser sends the origin itself, so a page of somebody else can not hide behind a signed-in person's
cookie (CWE-1385). Header values are taken as they came; what came twice counts as not there.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence


def check_origin(origin: str | None, allowed: frozenset[str]) -> bool:
    """Whether `origin` is literally one of `allowed`.

    A missing origin, "null", another port, case, scheme, or anything before or behind an allowed one is refused.

    Args:
        origin: the Origin header as it came; None if there was none, or more than one.
        allowed: `Settings.allowed_origins`.
    """
    return origin is not None and origin != "null" and origin in allowed


def check_host(host: str | None, allowed: frozenset[str]) -> bool:
    """Whether the Host header is literally one of `allowed` (`Settings.allowed_hosts`), port included."""
    return host is not None and host in allowed


def is_loopback_host(host: str | None) -> bool:
    """Whether the Host header names this machine itself, with or without a port: no name that could lead elsewhere."""
    if host is None:
        return False
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name in ("127.0.0.1", "::1", "localhost")


def is_program(names: Collection[str]) -> bool:
    """Whether a request with these header names (in lower case) comes from no browser.

    Nothing rides on a cookie then, so no page of somebody else can be behind it: a browser sends Origin with every
    socket and every change, and Sec-Fetch-Site with everything. Only a program is known by a bearer token.
    """
    return {"cookie", "origin", "sec-fetch-site"}.isdisjoint(names)


def only(values: Sequence[str]) -> str | None:
    """The value of a header that was sent exactly once; None where it is missing or doubled."""
    return values[0] if len(values) == 1 else None


def bearer_token(values: Sequence[str]) -> str | None:
    """The token in the Authorization headers `values`, if there is exactly one."""
    scheme, _, token = (only(values) or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def cookie_value(values: Sequence[str], name: str) -> str | None:
    """The cookie `name` in the Cookie headers `values`; None where it is missing, empty or given twice."""
    pairs = (part.strip().partition("=") for part in ";".join(values).split(";"))
    return only([value for key, _, value in pairs if key == name]) or None


def client_address(peer: str | None, forwarded_for: str | None, trusted: tuple[str, ...]) -> str:
    """The address that limits are kept by: the peer's, or what a trusted proxy says in front of it.

    Only the last entry of X-Forwarded-For that no trusted proxy wrote counts; a client can write the ones before it.
    What is not an address counts as not said.
    """
    if peer is None:
        return "local"
    if peer not in trusted or not forwarded_for:
        return peer
    hops = [hop.strip() for hop in forwarded_for.split(",") if hop.strip()]
    said = next((hop for hop in reversed(hops) if hop not in trusted), peer)
    try:
        return str(ipaddress.ip_address(said))
    except ValueError:
        return peer
