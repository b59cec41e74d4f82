"""The index of the security checks tells the truth."""

from __future__ import annotations

import re

import pytest

from tests.security.support import ROOT, is_a_test

INDEX = (ROOT / "tests" / "security" / "README.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| (\w+) \| [^|]* \| ([^|]*) \|$", INDEX, re.MULTILINE))
REQUIRED = [str(n) for n in (*range(1, 18), *range(19, 24), *range(27, 32), 33)] + ["T23", "H17"]
OPEN = {"9"}


@pytest.mark.parametrize("item", REQUIRED)
def test_every_item_names_tests_that_exist(item: str) -> None:
    """Each check has at least one test by name, and each test named is there; what is open says so."""
    named = re.findall(r"`([^`]+)`", ROWS[item])
    assert bool(named) is (item not in OPEN)
    for test_id in named:
        assert is_a_test(test_id), test_id


def test_a_test_that_does_not_exist_is_found() -> None:
    """The check itself can fail: another name, another file."""
    here = "tests/security/test_index.py::test_every_item_names_tests_that_exist"
    assert is_a_test(here)
    assert not is_a_test(here + "_not")
    assert not is_a_test("tests/security/test_nowhere.py::test_every_item_names_tests_that_exist")
