"""Puts each planted bug back into a copy of the tree and sees that the test which guards against it goes red.

Decided here: what counts as red. A patch in `tests/planted/*.patch` begins with a header of plain text; one line of it,
`Test: tests/...py::name`, names the guard. All guards must first be green on the untouched copy; then, patch by patch,
the guard must *fail* (not break in collection, not be missing, not run on to its limit). A patch that no longer applies
fails the run: the code moved, so the bug must be planted anew.
"""

from __future__ import annotations

import argparse
import enum
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEST_TIMEOUT_S = 300.0

_HEADER = re.compile(r"^Test: (\S+\.py::\S.*)$", re.MULTILINE)
_SET_UP = (".venv", "clients/web/node_modules", "clients/web/built", "watchwords/built")
_GREEN, _RED = 0, 1


class PlantedError(Exception):
    """The run can not mean anything: a patch names no test, or a guard is red without its bug."""


class Outcome(enum.Enum):
    """What came of one planted bug. Only CAUGHT is good."""

    CAUGHT = "caught"
    MISSED = "MISSED: the test stays green"
    BROKE = "BROKE: the test did not run to a verdict"
    STALE = "STALE: the patch does not apply"


@dataclass(frozen=True)
class Planted:
    """One bug: the patch that brings it back and the test (a pytest node id) that must notice."""

    patch: Path
    test: str


@dataclass(frozen=True)
class Result:
    """What came of one bug, and how long its test took."""

    planted: Planted
    outcome: Outcome
    duration_s: float


def planted_in(folder: Path) -> list[Planted]:
    """The planted bugs of a folder, by file name.

    Raises:
        PlantedError: a patch names no test.
    """
    found = []
    for patch in sorted(folder.glob("*.patch")):
        header = patch.read_text(encoding="utf-8").split("\ndiff --git ", maxsplit=1)[0]
        named = _HEADER.search(header)
        if named is None:
            raise PlantedError(f"{patch.name} has no line `Test: tests/...py::name` above its first diff.")
        found.append(Planted(patch=patch, test=named[1].strip()))
    return found


def plant_all(root: Path, bugs: list[Planted]) -> list[Result]:
    """Try every bug in a scratch copy of the files that git knows or would know at `root`, changes included.

    Raises:
        PlantedError: a guard is not green on the copy as it stands.
    """
    with tempfile.TemporaryDirectory(prefix="planted-") as place:
        scratch = Path(place)
        _copy(root, scratch)
        guards = sorted({bug.test for bug in bugs})
        if guards:
            before = _run_tests(scratch, guards)
            if before.returncode != _GREEN:
                raise PlantedError(f"The guards are not green without any bug:\n{before.stdout}")
        return [_plant(scratch, bug) for bug in bugs]


def _plant(scratch: Path, bug: Planted) -> Result:
    start = time.monotonic()
    if not _apply(scratch, bug.patch):
        return Result(planted=bug, outcome=Outcome.STALE, duration_s=0.0)
    try:
        status = _run_tests(scratch, [bug.test]).returncode
    except subprocess.TimeoutExpired:
        status = None
    finally:
        if not _apply(scratch, bug.patch, "--reverse"):
            raise PlantedError(f"{bug.patch.name} could not be taken back out; a test changed the tree.")
    outcome = {_GREEN: Outcome.MISSED, _RED: Outcome.CAUGHT}.get(-1 if status is None else status, Outcome.BROKE)
    return Result(planted=bug, outcome=outcome, duration_s=time.monotonic() - start)


def _copy(root: Path, scratch: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (root / name).is_file():
            target = scratch / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target)
    for name in _SET_UP:
        if (root / name).exists() and (scratch / name).parent.is_dir():
            (scratch / name).symlink_to(root / name)


def _apply(scratch: Path, patch: Path, *options: str) -> bool:
    """Apply a patch as a whole or not at all; git must not look for a repository above the copy."""
    applied = subprocess.run(
        ["git", "apply", *options, str(patch)],
        cwd=scratch,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(scratch.parent)},
        capture_output=True,
        check=False,
    )
    return applied.returncode == 0


def _run_tests(scratch: Path, tests: list[str]) -> subprocess.CompletedProcess[str]:
    """Run tests on the copy. PYTHONPATH puts it before the installed project in every process that a test starts.

    No byte code is written: a patch and its reverse may leave a file with the same size and second.
    """
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *tests],
        cwd=scratch,
        env={**os.environ, "PYTHONPATH": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=TEST_TIMEOUT_S,
    )


def main() -> int:
    """Try every bug, print a table, and end with 0 only if each was caught."""
    parser = argparse.ArgumentParser(description="Put each planted bug back and see its test go red.")
    parser.add_argument("names", nargs="*", help="only patches whose name contains one of these")
    names: list[str] = parser.parse_args().names
    try:
        bugs = planted_in(ROOT / "tests" / "planted")
        chosen = [bug for bug in bugs if not names or any(name in bug.patch.name for name in names)]
        results = plant_all(ROOT, chosen)
    except PlantedError as error:
        print(f"planted: {error}", file=sys.stderr)
        return 1
    width = max((len(result.planted.patch.stem) for result in results), default=0)
    for result in results:
        line = f"{result.planted.patch.stem:<{width}}  {result.duration_s:6.1f} s  {result.outcome.value}"
        print(f"{line}  {result.planted.test}")
    caught = sum(result.outcome is Outcome.CAUGHT for result in results)
    print(f"planted: {caught} of {len(results)} caught")
    return 0 if caught == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
