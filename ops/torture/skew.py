"""A machine whose wall clock is set while the service runs: one process asks for the date and is told another.

Only the wall clock: what counts seconds (`time.monotonic`, the event loop) goes on, as it does on a real machine.
"""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path
from typing import Final

# Names the folder in which each server of a campaign has a file, by its name.
SKEWS: Final = "TORTURE_SKEWS"
_SIZE: Final = 8


class Skew:
    """By how much the clock of a process is wrong; the file at `place` is shared by who sets it and who follows."""

    def __init__(self, place: Path) -> None:
        handle = os.open(place, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(handle, _SIZE)
            self._page = mmap.mmap(handle, _SIZE)
        finally:
            os.close(handle)

    @property
    def microseconds(self) -> int:
        return int.from_bytes(self._page[:_SIZE], "little", signed=True)

    @microseconds.setter
    def microseconds(self, value: int) -> None:
        self._page[:_SIZE] = value.to_bytes(_SIZE, "little", signed=True)

    def follow(self) -> None:
        """From now on the clock of this process is wrong by what the file says."""
        true_ns = time.time_ns

        def wrong_ns() -> int:
            return true_ns() + self.microseconds * 1000

        time.time_ns = wrong_ns
        time.time = lambda: wrong_ns() / 1e9
