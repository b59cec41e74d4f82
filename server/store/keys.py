"""Sealed bodies: AES-256-GCM under a data key per (subject, realm, retention class).

A data key is wrapped by a key that lies outside the database (`settings.key_file`). Destroying the wrapped key erases
everything that it sealed, in every copy. The associated data of a body is table, row id, version and column: a sealed
body moved to another row does not open.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, insert, select

from server.errors import Misconfigured, Unavailable
from server.ids import new_id, random_16
from server.store.schema import data_key
from server.store.unit import Tx

NONCE_BYTES: Final = 12
FORMAT: Final = b"\x01"
CACHED_KEYS: Final = 10_000

K = TypeVar("K")


class Realm(StrEnum):
    """The three worlds that never join on a screen."""

    COMMUNITY = "community"
    CARE = "care"
    IDENTITY = "identity"


class Retention(StrEnum):
    """How long what a key seals is kept; the periods are set with the retention policy."""

    COMMUNITY_POST = "community_post"
    CARE_RECORD = "care_record"
    GOVERNANCE = "governance"


@dataclass(frozen=True, slots=True)
class DataKey:
    """An unwrapped key, ready to use."""

    id: str
    cipher: AESGCM

    def seal(self, place: str, text: str) -> bytes:
        """Seal `text` for `place` ("table:row:version:column")."""
        nonce = random_16()[:NONCE_BYTES]
        return FORMAT + nonce + self.cipher.encrypt(nonce, text.encode(), place.encode())

    def open(self, place: str, sealed: bytes) -> str | None:
        """The text, or None if it can not be opened: damaged, moved, or sealed under another key."""
        if sealed[:1] != FORMAT:
            return None
        try:
            return self.cipher.decrypt(sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :], place.encode()).decode()
        except (InvalidTag, UnicodeDecodeError, ValueError):
            return None


def message_place(message: str, version: int) -> str:
    """Where a message's body lies."""
    return f"message:{message}:{version}:body"


class _Recent(Generic[K]):
    """The CACHED_KEYS keys that were used last; used from the loop and from the store's threads at once."""

    def __init__(self) -> None:
        self._keys: OrderedDict[K, DataKey] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: K) -> DataKey | None:
        with self._lock:
            key = self._keys.get(name)
            if key is not None:
                self._keys.move_to_end(name)
            return key

    def put(self, name: K, key: DataKey) -> None:
        with self._lock:
            self._keys[name] = key
            self._keys.move_to_end(name)
            if len(self._keys) > CACHED_KEYS:
                self._keys.popitem(last=False)

    def drop(self, key_id: str) -> None:
        with self._lock:
            for name in [name for name, key in self._keys.items() if key.id == key_id]:
                del self._keys[name]


class Keyring:
    """Unwraps data keys and remembers the CACHED_KEYS that were used last; safe to use from several threads."""

    def __init__(self, wrapping_key: bytes) -> None:
        if len(wrapping_key) != 32:
            raise Misconfigured(
                "The key file must hold 32 random bytes; make one with `evenkeel init`.", field="key_file"
            )
        self._wrapping = AESGCM(wrapping_key)
        self._by_id: _Recent[str] = _Recent()
        self._by_subject: _Recent[tuple[str, str, str]] = _Recent()

    def create(self, tx: Tx, subject: str, realm: Realm, retention: Retention) -> DataKey:
        """Make the key of (subject, realm, retention) inside a unit, or return the one that is there."""
        found = self._find(tx.conn, subject, realm, retention)
        if found is not None:
            return found
        key_id, plain = new_id(), AESGCM.generate_key(256)
        nonce = os.urandom(NONCE_BYTES)
        wrapped = FORMAT + nonce + self._wrapping.encrypt(nonce, plain, key_id.encode())
        tx.conn.execute(
            insert(data_key).values(
                id=key_id, subject=subject, realm=realm, retention=retention, wrapped=wrapped, created_at=tx.now
            )
        )
        return DataKey(key_id, AESGCM(plain))  # not remembered: the unit may still be undone

    def of(self, subject: str, realm: Realm, retention: Retention) -> DataKey | None:
        """The remembered key of a subject, without asking the database."""
        return self._by_subject.get((subject, realm, retention))

    def load(self, subject: str, realm: Realm, retention: Retention) -> Callable[[Connection], DataKey]:
        """A read that returns the key of a subject and remembers it. Raises Unavailable if there is none."""

        def read(conn: Connection) -> DataKey:
            key = self._find(conn, subject, realm, retention)
            if key is None:
                raise Unavailable("This record can not be opened any more.", code="erased", retry="never")
            self._by_subject.put((subject, str(realm), str(retention)), key)
            return key

        return read

    def by_id(self, conn: Connection, key_id: str) -> DataKey | None:
        """The key of that id; None if it was destroyed: what it sealed is gone."""
        key = self._by_id.get(key_id)
        if key is not None:
            return key
        wrapped = conn.execute(select(data_key.c.wrapped).where(data_key.c.id == key_id)).scalar_one_or_none()
        return None if wrapped is None else self._unwrap(key_id, wrapped)

    def forget(self, key_id: str) -> None:
        """Drop a destroyed key from memory."""
        self._by_id.drop(key_id)
        self._by_subject.drop(key_id)

    def _find(self, conn: Connection, subject: str, realm: str, retention: str) -> DataKey | None:
        row = conn.execute(
            select(data_key.c.id, data_key.c.wrapped).where(
                data_key.c.subject == subject, data_key.c.realm == realm, data_key.c.retention == retention
            )
        ).one_or_none()
        return None if row is None or row.wrapped is None else self._unwrap(row.id, row.wrapped)

    def _unwrap(self, key_id: str, wrapped: bytes) -> DataKey:
        try:
            plain = self._wrapping.decrypt(wrapped[1 : 1 + NONCE_BYTES], wrapped[1 + NONCE_BYTES :], key_id.encode())
        except InvalidTag:
            raise Misconfigured(
                "The key file does not belong to this database. Put the right one back.", field="key_file"
            ) from None
        key = DataKey(key_id, AESGCM(plain))
        self._by_id.put(key_id, key)
        return key
