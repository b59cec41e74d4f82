"""Which pages and which host names are answered: exact lists, nothing worked out.

Pure. Used before a socket is accepted and before any change by HTTP. A browser sends the origin itself, so a page of
somebody else can not hide behind a signed-in person's cookie (CWE-1385).
"""

from __future__ import annotations


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


def client_address(peer: str | None, forwarded_for: str | None, trusted: tuple[str, ...]) -> str:
    """The address that limits are kept by: the peer's, or what a trusted proxy says in front of it.

    Only the last entry of X-Forwarded-For that no trusted proxy wrote counts; a client can write the ones before it.
    """
    if peer is None:
        return "local"
    if peer not in trusted or not forwarded_for:
        return peer
    hops = [hop.strip() for hop in forwarded_for.split(",") if hop.strip()]
    return next((hop for hop in reversed(hops) if hop not in trusted), peer)
