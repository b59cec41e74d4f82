"""What a machine is told by `.ci/run`: the last line and the status are those of the tests, or say that none ran."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("said", "status", "line", "ends_with"),
    [
        ("12 passed in 3.41s", 0, "12 passed in 3.41s", 0),
        ("1 failed, 12 passed in 3.41s (0:00:03)", 2, "1 failed, 12 passed in 3.41s (0:00:03)", 2),
        ("no browser: the tests that need one will fail", 2, "ci: pytest did not run to its end", 2),
        ("nothing to be done", 0, "ci: pytest did not run to its end", 1),
    ],
)
def test_the_run_ends_as_the_tests_do(tmp_path: Path, said: str, status: int, line: str, ends_with: int) -> None:
    """Red tests are red, and a run in which pytest did not come to its end is never green."""
    make = tmp_path / "make"
    make.write_text(f"#!/bin/sh\necho '{said}'\nexit {status}\n")
    make.chmod(0o755)
    done = subprocess.run(
        [ROOT / ".ci" / "run"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.stdout.splitlines()[-1] == line
    assert done.returncode == ends_with
