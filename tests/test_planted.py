"""The planted bugs: each names a test that exists, and the runner tells a caught bug from every other end."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ops.setup.planted import Outcome, PlantedError, plant_all, planted_in

ROOT = Path(__file__).resolve().parents[1]
PATCH = """One is turned into {value}.

Test: tests/test_one.py::{test}

diff --git a/one.py b/one.py
--- a/one.py
+++ b/one.py
@@ -1 +1 @@
-ONE = {before}
+ONE = {value}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small project of its own, under git, with two tests and no patch yet."""
    root = tmp_path / "project"
    (root / "tests" / "planted").mkdir(parents=True)
    (root / "one.py").write_text("ONE = 1\n", encoding="utf-8")
    (root / "tests" / "test_one.py").write_text(
        "from one import ONE\n\n\ndef test_one():\n    assert ONE == 1\n\n\ndef test_number():\n    assert ONE < 9\n",
        encoding="utf-8",
    )
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    return root


def plant(root: Path, name: str, *, before: str = "1", value: str = "2", test: str = "test_one") -> None:
    patch = root / "tests" / "planted" / f"{name}.patch"
    patch.write_text(PATCH.format(before=before, value=value, test=test), encoding="utf-8")


def test_only_a_failing_test_counts_as_caught(tree: Path) -> None:
    """A guard that stays green, can not be collected or has lost its patch is told apart from one that goes red."""
    plant(tree, "1-red")
    plant(tree, "2-green", test="test_number")
    plant(tree, "3-broken", value="one =")
    plant(tree, "4-stale", before="0")
    results = plant_all(tree, planted_in(tree / "tests" / "planted"))
    assert [result.outcome for result in results] == [Outcome.CAUGHT, Outcome.MISSED, Outcome.BROKE, Outcome.STALE]
    assert (tree / "one.py").read_text(encoding="utf-8") == "ONE = 1\n"


def test_a_guard_that_is_red_already_proves_nothing(tree: Path) -> None:
    """A test that fails without the bug stops the run."""
    (tree / "one.py").write_text("ONE = 3\n", encoding="utf-8")
    plant(tree, "1-red")
    with pytest.raises(PlantedError, match="not green"):
        plant_all(tree, planted_in(tree / "tests" / "planted"))


def test_a_patch_without_a_test_is_refused(tree: Path) -> None:
    """A planted bug that names no guard stops the run."""
    patch = tree / "tests" / "planted" / "none.patch"
    patch.write_text(PATCH.replace("Test: ", "").format(before=1, value=2, test="test_one"), encoding="utf-8")
    with pytest.raises(PlantedError, match=r"none\.patch has no line"):
        planted_in(patch.parent)


def test_every_planted_bug_names_a_test_that_exists() -> None:
    """Each patch of ours names a test function in a file that is there."""
    for bug in planted_in(ROOT / "tests" / "planted"):
        path, _, name = bug.test.partition("::")
        function = name.split("::")[-1].split("[")[0]
        assert f"def {function}(" in (ROOT / path).read_text(encoding="utf-8"), bug.patch.name
