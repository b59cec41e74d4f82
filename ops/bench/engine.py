"""The load generator in C (`engine.c`), built where it is used and driven from here.

For the bench of the hub alone: where one message becomes two thousand deliveries, a generator in Python would be the
slower half. It needs a C compiler on the machine, which the service itself does not.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ops.bench.load import ID_BYTES
from server.errors import Misconfigured

SOURCE: Final = Path(__file__).with_name("engine.c")
_DIGITS: Final = 10


class _Counts(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("sent", "delivered", "acknowledged", "refused", "lost"))


@dataclass(frozen=True, slots=True)
class Counts:
    """Since the engine was made. `lost`: connections that ended or did not take a frame."""

    sent: int
    delivered: int
    acknowledged: int
    refused: int
    lost: int


def build_engine(folder: Path) -> ctypes.CDLL:
    """The engine, compiled into `folder`.

    Raises:
        Misconfigured: there is no C compiler here.
    """
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise Misconfigured("The load of this bench is a small C program, and there is no C compiler here (cc).")
    built = folder / "engine.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(built), str(SOURCE)], check=True)  # noqa: S603
    library = ctypes.CDLL(str(built))
    library.engine_new.restype = ctypes.c_void_p
    for function, takes in (
        (library.engine_free, []),
        (library.engine_seat, [ctypes.c_int]),
        (library.engine_sender, [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t]),
        (library.engine_counts, [ctypes.POINTER(_Counts)]),
        (library.engine_run, [ctypes.c_int, ctypes.c_int, ctypes.c_double]),
        (library.engine_drain, [ctypes.c_int, ctypes.c_double]),
    ):
        function.argtypes = [ctypes.c_void_p, *takes]
    return library


class Engine(AbstractContextManager["Engine"]):
    """A crowd in rooms of `members`, and those of them who write. The sockets stay their owner's."""

    def __init__(
        self,
        library: ctypes.CDLL,
        sockets: Sequence[socket.socket],
        senders: Sequence[tuple[socket.socket, tuple[bytearray, int]]],
        members: int,
    ) -> None:
        self._library, self._members = library, members
        self._engine = library.engine_new(len(sockets), len(senders))
        for sock in sockets:
            library.engine_seat(self._engine, sock.fileno())
        # Nothing of one run has the id of anything of another; what is unique within this one are the last digits.
        prefix = os.urandom(ID_BYTES).hex()[: ID_BYTES - _DIGITS].encode()
        for sock, (frame, id_at) in senders:
            digits_at = id_at + ID_BYTES - _DIGITS
            frame[id_at:digits_at] = prefix
            library.engine_sender(self._engine, sock.fileno(), bytes(frame), len(frame), digits_at)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._library.engine_free(self._engine)

    def run(self, window: int, seconds: float) -> None:
        """Keep `window` messages under way for some time; the next call goes on where this one stops."""
        self._library.engine_run(self._engine, window, self._members, seconds)

    def drain(self, seconds: float) -> None:
        """Wait until everything sent was delivered to everybody, at most `seconds`."""
        self._library.engine_drain(self._engine, self._members, seconds)

    def counts(self) -> Counts:
        """What was counted until now."""
        counts = _Counts()
        self._library.engine_counts(self._engine, ctypes.byref(counts))
        return Counts(counts.sent, counts.delivered, counts.acknowledged, counts.refused, counts.lost)
