"""The index of the contract tells the truth, and its tests stay outside of what they test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.security.support import ROOT, is_a_test

HERE = Path(__file__).parent
INDEX = (HERE / "README.md").read_text(encoding="utf-8")
ROWS = {
    item: (tests, missing)
    for item, tests, missing in re.findall(r"^\| (\w+) \| [^|]* \| ([^|]*) \| ([^|]*) \|$", INDEX, re.M)
}
REQUIRED = [*(f"D{n}" for n in range(1, 13)), *(f"T{n}" for n in range(1, 24))]
OPEN = {"T7", "T22"}
# What a client may know: the contract's frames by way of the SDK, or nothing of ours at all.
OUTSIDE = (
    "clients.",
    "tests.contracts.plain",
    "tests.contracts.conftest",
    "tests.independent_client",
    "ops.torture.proxy",
)
WORDS_JS = re.compile(r"\.message\s*(?:[!=]==?|\.(?:includes|match|startsWith|search))|switch\s*\([^)]*\.message\)")


@pytest.mark.parametrize("item", REQUIRED)
def test_every_item_names_tests_that_exist(item: str) -> None:
    """Each item has at least one test by name and each is there; one without a test says what is missing."""
    tests, missing = ROWS[item]
    named = re.findall(r"`([^`]+)`", tests)
    assert bool(named) is (item not in OPEN)
    assert named or missing.strip()
    for test_id in named:
        assert is_a_test(test_id), test_id


def test_every_promise_is_held_in_all_settings() -> None:
    """Each promise has a test among those that run in the three settings."""
    for item in REQUIRED[:12]:
        assert "tests/contracts/test_promises.py::" in ROWS[item][0], item


@pytest.mark.parametrize("name", ["plain.py", "test_promises.py", "test_peers_bugs.py"])
def test_the_contract_is_spoken_from_outside(name: str) -> None:
    """The tests of the contract import nothing of the server."""
    for node in ast.walk(ast.parse((HERE / name).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in (
            "server",
            "moderation",
            "ops",
            "tests",
            "clients",
        ):
            assert (node.module or "").startswith(OUTSIDE), node.module
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith(("server", "moderation")) for alias in node.names)


def words_looked_at(source: str) -> list[int]:
    """Lines in which Python compares or searches what an error says."""
    found = []
    for node in ast.walk(ast.parse(source)):
        parts = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        if any(isinstance(part, ast.Attribute) and part.attr == "message" for part in parts):
            found.append(node.lineno)
    return found


def test_no_client_looks_at_the_words_of_an_error() -> None:
    """The words are for people and may change: neither the SDK nor the pages compare them with anything."""
    for path in (ROOT / "clients" / "sdk").glob("*.py"):
        assert words_looked_at(path.read_text(encoding="utf-8")) == [], path.name
    for path in (ROOT / "clients" / "web" / "static").rglob("*.js"):
        found = WORDS_JS.search(path.read_text(encoding="utf-8"))
        assert found is None, (path.name, found)


def test_looking_at_words_is_found() -> None:
    """The check itself can fail, in both languages."""
    assert words_looked_at('if "busy" in error.message:\n    pass\n') == [1]
    assert WORDS_JS.search('if (error.message === "Please wait") return;')
    assert WORDS_JS.search('error.message.includes("wait")')
