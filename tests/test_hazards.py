"""The hazard log tells the truth: what it names is there, and nothing counts as controlled without a test."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from tests.security.support import ROOT, is_a_test

LOG: dict[str, Any] = tomllib.loads((ROOT / "ops" / "hazards.toml").read_text(encoding="utf-8"))
HAZARDS: dict[str, dict[str, Any]] = {hazard["id"]: hazard for hazard in LOG["hazard"]}
FIELDS = {"id", "hazard", "cause", "severity_suggested", "residual_risk", "status", "missing"}
SEVERITIES = {"minor", "significant", "considerable", "major", "catastrophic"}


def faults(hazard: dict[str, Any]) -> list[str]:
    """What is wrong with an entry; empty for a sound one."""
    controls = hazard.get("controls", [])
    found = [f"nothing in {name}" for name in ("hazard", "cause", "residual_risk") if not hazard[name].strip()]
    for control in controls:
        if control.keys() != {"what", "tests"} or not control["what"].strip():
            found.append("a control that does not say what it is")
        elif not control["tests"]:
            found.append(f"no test shows this control: {control['what']}")
        else:
            found += [f"no such test: {test_id}" for test_id in control["tests"] if not is_a_test(test_id)]
    if hazard["status"] not in ("controlled", "partly", "open"):
        found.append("unknown status")
    if hazard["status"] == "controlled" and (not controls or hazard["missing"]):
        found.append("controlled without a control, or with something missing")
    if hazard["status"] != "controlled" and not hazard["missing"]:
        found.append("does not say what is missing")
    if (hazard["status"] == "open") == bool(controls):
        found.append("open with a control, or partly controlled without one")
    return found


@pytest.mark.parametrize("name", [f"H{n}" for n in range(1, 29)])
def test_every_hazard_is_written_down_and_true(name: str) -> None:
    """Each of the 28 has its fields, controls that tests show, and a status that they bear out."""
    hazard = HAZARDS[name]
    assert hazard.keys() - {"controls"} == FIELDS
    assert hazard["severity_suggested"] in SEVERITIES
    assert faults(hazard) == []


def test_the_log_has_an_owner_and_a_date_for_its_review() -> None:
    """Somebody answers for it, and it does not grow old unseen."""
    assert LOG["owner"]
    assert LOG["review_due"] > LOG["reviewed"]
    assert len(LOG["hazard"]) == len(HAZARDS) == 28


def test_a_false_entry_is_found() -> None:
    """A test that does not exist, a control that nothing shows, and a residual risk left out are noticed."""
    sound = HAZARDS["H20"]
    (control,) = sound["controls"]
    assert faults(sound) == []
    assert faults({**sound, "controls": [{**control, "tests": ["tests/test_hazards.py::test_that_nobody_wrote"]}]})
    assert faults({**sound, "controls": [control, {"what": "A promise.", "tests": []}]})
    assert faults({**sound, "controls": [{**control, "what": ""}]})
    assert faults({**sound, "controls": []})
    assert faults({**sound, "status": "open", "missing": "Everything."})
    assert faults({**sound, "status": "partly"})
    assert faults({**sound, "missing": "Something."})
    assert faults({**sound, "residual_risk": " "})
