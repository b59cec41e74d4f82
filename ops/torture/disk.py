"""A disk that keeps only what it was told to keep: below SQLite, and cut off from power when a campaign says so.

What a program has written is with the operating system at once and survives the program. It survives a power loss only
once the program has asked for it (`fsync`, in SQLite's words `xSync`) and was answered. Killing a process can not show
the difference; this can: beside the real files it keeps what each of them would be after a power loss.

What was written and not yet kept may be on the disk or not, in part, and out of order: at a cut, each sector of 512
bytes is chosen by dice, or none is, or all are. A sector is written whole or not at all and does not harm its
neighbours, which is what SQLite takes for granted of today's disks (its "powersafe overwrite").
"""

from __future__ import annotations

import random
import shutil
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final

import apsw

SECTOR: Final = 512


class Unkept(Enum):
    """What becomes of what was written and not kept."""

    NOTHING = "nothing of it"
    SOME = "some sectors of it"
    ALL = "all of it"


@dataclass
class _Image:
    """One file: its bytes as of the last sync, and every write and truncation since, in order."""

    kept: bytearray
    since: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        for at, data in self.since:
            _apply(self.kept, at, data)
        self.since.clear()

    def after_cut(self, unkept: Unkept, rng: random.Random) -> bytes:
        content = bytearray(self.kept)
        if unkept is not Unkept.NOTHING:
            for at, data in self.since:
                if unkept is Unkept.ALL:
                    _apply(content, at, data)
                elif data is None:
                    if rng.random() < 0.5:
                        _apply(content, at, None)
                else:
                    for start in range(0, len(data), SECTOR):
                        if rng.random() < 0.5:
                            _apply(content, at + start, data[start : start + SECTOR])
        return bytes(content)


def _apply(content: bytearray, at: int, data: bytes | None) -> None:
    """Write `data` at `at`; None: cut off whatever is beyond."""
    if data is None:
        del content[at:]
        return
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data


class Disk(apsw.VFS):
    """The disk below one SQLite database, by the name `self.name`.

    Attributes:
        dark: the power was cut. The program goes on as a ghost: what it writes, and says, no longer counts.
        syncs: how often it was asked to keep each file, by name; the database itself is kept by a checkpoint.
        torn: names of the files that had something written and not kept when the power was cut.
        failed: how many operations were answered with an error.
        kept: names of the files that were kept since the last error.
    """

    def __init__(self) -> None:
        self.name = f"disk-{uuid.uuid4().hex}"
        super().__init__(self.name, "")
        self.dark = False
        self.syncs: Counter[str] = Counter()
        self.torn: set[str] = set()
        self._lock = threading.Lock()
        self._images: dict[str, _Image] = {}
        self._left = 0
        self._only = ""
        self._good, self._bad, self._thread = 0, 0, ""
        self._error: type[apsw.Error] = apsw.IOError
        self.failed = 0
        self.kept: set[str] = set()
        self._cut: Callable[[], None] | None = None

    def cut_after(self, operations: int, target: Path, unkept: Unkept, rng: random.Random, *, only: str = "") -> None:
        """Cut the power before the n-th write, truncation or sync from now; `target` is given what is left then.

        Those to other files than `only` do not count, if it is given.
        """

        def cut() -> None:
            self.torn = {Path(name).name for name, image in self._images.items() if image.since}
            for name, image in self._images.items():
                (target / Path(name).name).write_bytes(image.after_cut(unkept, rng))

        with self._lock:
            self._left, self._cut, self._only = operations, cut, only

    def cut_now(self) -> None:
        """Cut the power, if it has not been cut yet. Raises RuntimeError if nobody said where to (`cut_after`)."""
        with self._lock:
            if not self.dark:
                self._left = 0
                self._count(self._only)

    def fail_after(self, operations: int, count: int, error: type[apsw.Error], *, thread: str) -> None:
        """From the n-th write, truncation or sync of the thread of that name on, answer `count` with an error."""
        with self._lock:
            self._good, self._bad, self._error, self._thread = operations, count, error, thread

    @property
    def is_failing(self) -> bool:
        """Whether errors are still to come."""
        return self._bad > 0

    def check(self) -> None:
        """Raise the error that is due, if one is."""
        with self._lock:
            if self._bad == 0 or threading.current_thread().name != self._thread:
                return
            if self._good > 0:
                self._good -= 1
                return
            self._bad -= 1
            self.failed += 1
            self.kept.clear()
        raise self._error("the disk failed on purpose")

    def remove(self) -> None:
        """Take the disk away, once nothing is open on it, and forget what was on it."""
        self.unregister()
        self._images.clear()
        self._cut = None

    def xOpen(self, name: Any, flags: list[int]) -> _File:  # noqa: N802 - SQLite's own name
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - SQLite's own name
        with self._lock:
            if not self.dark:
                self._images.pop(filename, None)
        super().xDelete(filename, syncdir)

    def opened(self, name: str) -> None:
        with self._lock:
            if name not in self._images:
                path = Path(name)
                self._images[name] = _Image(bytearray(path.read_bytes() if path.exists() else b""))

    def changed(self, name: str, at: int, data: bytes | None) -> None:
        with self._lock:
            self._count(name)
            if not self.dark:
                self._images[name].since.append((at, data))

    def synced(self, name: str) -> None:
        with self._lock:
            self._count(name)
            if not self.dark:
                self.syncs[Path(name).name] += 1
                self.kept.add(Path(name).name)
                self._images[name].sync()

    def _count(self, name: str) -> None:
        if self.dark or self._cut is None or (self._only and Path(name).name != self._only):
            return
        self._left -= 1
        if self._left <= 0:
            # First the flag: whoever sees it unset after a commit knows that the commit came before the cut.
            self.dark = True
            self._cut()


class _File(apsw.VFSFile):
    """A file of the disk. Temporary ones (without a name) are nobody's memory."""

    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        self._name = "" if name is None else str(name.filename() if isinstance(name, apsw.URIFilename) else name)
        if self._name:
            disk.opened(self._name)
        super().__init__("", name, flags)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802 - SQLite's own name
        self._disk.check()
        if self._name:
            self._disk.changed(self._name, offset, bytes(data))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's own name
        self._disk.check()
        if self._name:
            self._disk.changed(self._name, newsize, None)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's own name
        self._disk.check()
        super().xSync(flags)
        if self._name:
            self._disk.synced(self._name)


def copy_database(source: Path, target: Path) -> None:
    """Copy a database file that nobody has open, with what has not been checkpointed yet."""
    for name in (source.name, f"{source.name}-wal"):
        if (source.parent / name).exists():
            shutil.copyfile(source.parent / name, target / name)
