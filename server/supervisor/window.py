"""The window between a worker and its supervisor: which text is being screened just now, by digest, never by its words.

A page of memory that both map. The worker lays a digest there before each screening and clears it afterwards; whatever
ends the worker in between, the supervisor still reads it. The counts of earlier stalls travel back the same way.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Mapping
from typing import Final

DIGEST_BYTES: Final = 16
_ENTRY: Final = DIGEST_BYTES + 1
_SIZE: Final = 4096
_KEPT: Final = (_SIZE - DIGEST_BYTES) // _ENTRY
_NOTHING: Final = bytes(DIGEST_BYTES)


class Window:
    """The page, over the file of `fd`. Both sides may open it; the worker is the only one that marks."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._page = mmap.mmap(fd, _SIZE)

    @classmethod
    def make(cls) -> Window:
        """A new page that has no name on any disk; `fd` may be inherited."""
        if hasattr(os, "memfd_create"):  # needs no folder: a full or read-only disk must not keep workers from starting
            fd = os.memfd_create("evenkeel-window")
        else:
            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        os.truncate(fd, _SIZE)
        os.set_inheritable(fd, True)
        return cls(fd)

    def mark(self, digest: bytes | None) -> None:
        """Name the text that is about to be screened; None: none is."""
        self._page[:DIGEST_BYTES] = digest or _NOTHING

    def marked(self) -> bytes | None:
        """The digest that lies there, if any."""
        found = self._page[:DIGEST_BYTES]
        return None if found == _NOTHING else found

    def put_stalls(self, stalls: Mapping[bytes, int]) -> None:
        """Lay down how often which text stalled a worker; of more than the page holds, the latest."""
        rows = [digest + bytes((min(count, 255),)) for digest, count in stalls.items()][-_KEPT:]
        table = b"".join(rows)
        self._page[DIGEST_BYTES : DIGEST_BYTES + _KEPT * _ENTRY] = table.ljust(_KEPT * _ENTRY, b"\0")

    def stalled(self, digest: bytes) -> int:
        """How often the text of `digest` stalled a worker, by what was laid down last, also since this one started."""
        if not self._page[DIGEST_BYTES + _ENTRY - 1]:
            return 0
        return self.stalls().get(digest, 0)

    def stalls(self) -> dict[bytes, int]:
        """What `put_stalls` laid down."""
        found: dict[bytes, int] = {}
        for at in range(DIGEST_BYTES, DIGEST_BYTES + _KEPT * _ENTRY, _ENTRY):
            row = self._page[at : at + _ENTRY]
            if row[-1]:
                found[row[:DIGEST_BYTES]] = row[-1]
        return found
