"""How room is taken away from a running process, and given back: a small disk to be filled, limits of the system."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_CLONE_NEWNS: Final = 0x00020000
_MS_REC_PRIVATE: Final = 0x4000 | (1 << 18)


@contextlib.contextmanager
def small_disk(place: Path, size: int) -> Iterator[bool]:
    """A file system of `size` bytes at `place`, seen by this thread and what it starts; False where it may not be.

    It is gone with this process, however that ends: the thread is given a name space of mounts of its own.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    mounted = (
        libc.unshare(_CLONE_NEWNS) == 0
        and libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None) == 0
        and libc.mount(b"evenkeel", os.fsencode(place), b"tmpfs", 0, f"size={size}".encode()) == 0
    )
    try:
        yield mounted
    finally:
        if mounted:
            libc.umount2(os.fsencode(place), 2)


def fill(filler: Path) -> None:
    """Write until there is no room for another byte."""
    with filler.open("wb", buffering=0) as file:
        for piece in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(piece)):
                    continue


@contextlib.contextmanager
def limited(pid: int, what: int, most: int) -> Iterator[None]:
    before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (most, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, what, before)
