"""The file of a backup: pieces in order, each sealed, so that damage, a cut, a swap or the wrong key is always noticed.

    magic, length and JSON of the head, its SHA-256, then pieces: length, AES-256-GCM of compressed msgpack

A piece is sealed under a key derived from the wrapping key for this one file, with its number and whether it is the
last one as nonce, and the head's hash as associated data. The last piece says how many rows of each table there are.
The wrapping key itself is never in the file; without it the file tells nothing but what its head says. Nothing here
knows tables: a row is a list of plain values.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO, Any, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from server.errors import BadRequest, Misconfigured

MAGIC: Final = b"evenkeel backup 1\n"
ROWS_A_PIECE: Final = 500
_LENGTH: Final = struct.Struct(">I")
_LONGEST_HEAD: Final = 1 << 20
_LONGEST_PIECE: Final = 1 << 28
_DIGEST: Final = 32


class Head(msgspec.Struct, frozen=True):
    """What can be read of a backup without the key.

    Attributes:
        id: names this backup.
        revision: of the schema.
        kind: production, demo or test.
        taken_us: when it began, by the database's clock without any mapping; microseconds since 1970.
        tables: columns by table, in the order in which they can be loaded.
        erasures: lines that the erasure ledger had when the backup began.
    """

    id: str
    revision: str
    kind: str
    taken_us: int
    tables: dict[str, list[str]]
    erasures: int
    salt: str
    key_check: str


def _derived(wrapping_key: bytes, purpose: bytes, salt: str) -> bytes:
    return hmac.new(wrapping_key, b"backup " + purpose + b" " + salt.encode(), hashlib.sha256).digest()


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\x01" if last else b"\x00")


def _damaged(what: str) -> BadRequest:
    return BadRequest(f"This backup is damaged ({what}); nothing was restored. Use another one.", code="damaged")


class ArchiveWriter:
    """Writes one backup to `file`; it is whole only after `close`."""

    def __init__(
        self,
        file: IO[bytes],
        wrapping_key: bytes,
        *,
        backup: str,
        revision: str,
        kind: str,
        taken_us: int,
        tables: dict[str, list[str]],
        erasures: int,
    ) -> None:
        salt = os.urandom(16).hex()
        self.head = Head(
            id=backup,
            revision=revision,
            kind=kind,
            taken_us=taken_us,
            tables=tables,
            erasures=erasures,
            salt=salt,
            key_check=_derived(wrapping_key, b"check", salt).hex(),
        )
        self.rows: Counter[str] = Counter()
        self._file = file
        self._cipher = AESGCM(_derived(wrapping_key, b"pieces", salt))
        self._number = 0
        written = msgspec.json.encode(self.head)
        self._digest = hashlib.sha256(written).digest()
        file.write(MAGIC + _LENGTH.pack(len(written)) + written + self._digest)

    def add(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        """Append rows of a table, as many as memory holds comfortably (`ROWS_A_PIECE`)."""
        self._piece([table, [list(row) for row in rows]], last=False)
        self.rows[table] += len(rows)

    def close(self) -> None:
        """Say how many rows there were: without this piece the file is damaged."""
        self._piece(dict(self.rows), last=True)

    def _piece(self, content: object, *, last: bool) -> None:
        packed = zlib.compress(msgspec.msgpack.encode(content), 1)
        sealed = self._cipher.encrypt(_nonce(self._number, last=last), packed, self._digest)
        self._file.write(_LENGTH.pack(len(sealed)) + sealed)
        self._number += 1


class ArchiveReader:
    """Reads a backup from its beginning; may be asked for its pieces more than once.

    Raises:
        BadRequest: it is no backup, of another version, or damaged.
        Misconfigured: it was made under another wrapping key.
    """

    def __init__(self, file: IO[bytes], wrapping_key: bytes) -> None:
        self._file = file
        file.seek(0)
        magic = file.read(len(MAGIC))
        if magic != MAGIC:
            raise BadRequest("This is no backup that this version of Evenkeel can read.", code="not_a_backup")
        written = self._exactly(self._length(_LONGEST_HEAD), "head")
        self._digest = hashlib.sha256(written).digest()
        if self._exactly(_DIGEST, "head") != self._digest:
            raise _damaged("head")
        try:
            self.head = msgspec.json.decode(written, type=Head)
        except msgspec.MsgspecError:
            raise _damaged("head") from None
        if not hmac.compare_digest(self.head.key_check, _derived(wrapping_key, b"check", self.head.salt).hex()):
            raise Misconfigured(
                "The key file is not the one that this backup was made with. Put the right one in place.",
                code="wrong_key",
                field="key_file",
            )
        self._cipher = AESGCM(_derived(wrapping_key, b"pieces", self.head.salt))
        self._begin = file.tell()

    def pieces(self) -> Iterator[tuple[str, list[list[Any]]]]:
        """(table, rows) of each piece, in the order of writing; raises at the end if rows are missing."""
        self._file.seek(self._begin)
        seen: Counter[str] = Counter()
        number = 0
        length = self._length(_LONGEST_PIECE)
        while True:
            sealed = self._exactly(length, f"piece {number}")
            following = self._file.read(_LENGTH.size)
            try:
                packed = self._cipher.decrypt(_nonce(number, last=not following), sealed, self._digest)
            except InvalidTag:
                raise _damaged(f"piece {number}") from None
            content: Any = msgspec.msgpack.decode(zlib.decompress(packed))
            if not following:
                if content != dict(seen):
                    raise _damaged("rows are missing")
                return
            table, rows = content
            seen[table] += len(rows)
            yield table, rows
            length = self._length(_LONGEST_PIECE, following)
            number += 1

    def verify(self) -> Counter[str]:
        """Read everything without keeping it; returns the number of rows of each table."""
        found: Counter[str] = Counter()
        for table, rows in self.pieces():
            if table not in self.head.tables:
                raise _damaged("a table that the head does not name")
            found[table] += len(rows)
        return found

    def _length(self, most: int, given: bytes | None = None) -> int:
        packed = self._exactly(_LENGTH.size, "length") if given is None else given
        length = int(_LENGTH.unpack(packed)[0]) if len(packed) == _LENGTH.size else most + 1
        if length > most:
            raise _damaged("length")
        return length

    def _exactly(self, size: int, what: str) -> bytes:
        read = self._file.read(size)
        if len(read) != size:
            raise _damaged(f"{what} is cut off")
        return read
