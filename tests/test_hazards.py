"""The hazard log tells the truth: what it names is there, and nothing counts as controlled without a test."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from tests.security.support import ROOT, is_a_test

LOG: dict[str, Any] = tomllib.loads((ROOT / "ops" / "hazards.toml").read_text(encoding="utf-8"))
HAZARDS: dict[str, dict[str, Any]] = {hazard["id"]: hazard for hazard in LOG["hazard"]}
FIELDS = {"id", "hazard", "cause", "severity_suggested", "controls", "tests", "status", "missing"}
SEVERITIES = {"minor", "significant", "considerable", "major", "catastrophic"}


def faults(hazard: dict[str, Any]) -> list[str]:
    """What is wrong with an entry; empty for a sound one."""
    found = [f"no such test: {test_id}" for test_id in hazard["tests"] if not is_a_test(test_id)]
    if hazard["status"] not in ("controlled", "partly", "open"):
        found.append("unknown status")
    if hazard["status"] == "controlled" and (not hazard["tests"] or not hazard["controls"] or hazard["missing"]):
        found.append("controlled without a test, or with something missing")
    if hazard["status"] != "controlled" and not hazard["missing"]:
        found.append("does not say what is missing")
    if hazard["status"] == "partly" and not hazard["tests"]:
        found.append("partly controlled without a test")
    return found


@pytest.mark.parametrize("name", [f"H{n}" for n in range(1, 29)])
def test_every_hazard_is_written_down_and_true(name: str) -> None:
    """Each of the 28 has its fields, tests that exist, and a status that they bear out."""
    hazard = HAZARDS[name]
    assert hazard.keys() == FIELDS
    assert hazard["severity_suggested"] in SEVERITIES
    assert faults(hazard) == []


def test_the_log_has_an_owner_and_a_date_for_its_review() -> None:
    """Somebody answers for it, and it does not grow old unseen."""
    assert LOG["owner"]
    assert LOG["review_due"] > LOG["reviewed"]
    assert len(LOG["hazard"]) == len(HAZARDS) == 28


def test_a_false_entry_is_found() -> None:
    """A test that does not exist, and a control that nothing shows, are noticed."""
    sound = HAZARDS["H20"]
    assert faults(sound) == []
    assert faults({**sound, "tests": ["tests/test_hazards.py::test_that_nobody_wrote"]})
    assert faults({**sound, "tests": []})
    assert faults({**sound, "status": "partly"})
    assert faults({**sound, "missing": "Something."})
