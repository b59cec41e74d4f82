"""The key that seals what must be shown unchanged later: rows of the audit, daily heads, exports.

Ed25519, made from the key that lies outside the database: whoever can change every row can sign none, and whoever has
the public half alone can check all of them. Each kind of thing is signed under a name of its own, so that a seal of one
is none of another.
"""

from __future__ import annotations

import hashlib
import hmac
from enum import StrEnum
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SEAL_BYTES: Final = 64
_PURPOSE: Final = b"audit seal 1"


class Sealed(StrEnum):
    """What a seal can be of."""

    ROW = "evenkeel audit row 1"
    HEAD = "evenkeel audit head 1"
    EXPORT = "evenkeel audit export 1"
    REPLAY = "evenkeel replay 1"


class AuditKey:
    """Signs and checks; of one service there is one, whichever process asks.

    `public` is the half that may be given to anybody: 32 bytes.
    """

    def __init__(self, wrapping_key: bytes) -> None:
        seed = hmac.new(wrapping_key, _PURPOSE, hashlib.sha256).digest()
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._private.public_key().public_bytes_raw()

    def seal(self, what: Sealed, content: bytes) -> bytes:
        """A seal of `content` (some 30 us)."""
        return self._private.sign(_named(what, content))

    def seal_row(self, row_hash: bytes) -> bytes:
        return self.seal(Sealed.ROW, row_hash)


class SealCheck:
    """Checks seals by a public key."""

    def __init__(self, public: bytes) -> None:
        self.public = public
        self._key = Ed25519PublicKey.from_public_bytes(public)

    def holds(self, what: Sealed, content: bytes, seal: object) -> bool:
        """Whether `seal` was made of this content by the key's other half (some 120 us); never raises."""
        if not isinstance(seal, bytes | memoryview):
            return False
        try:
            self._key.verify(bytes(seal), _named(what, content))
        except InvalidSignature:
            return False
        return True


def _named(what: Sealed, content: bytes) -> bytes:
    return what.encode() + b"\0" + content


def fingerprint(public: bytes) -> str:
    """How a public key is read out to somebody: the beginning of its SHA-256, in groups."""
    digest = hashlib.sha256(public).hexdigest()[:32]
    return " ".join(digest[n : n + 8] for n in range(0, 32, 8))
