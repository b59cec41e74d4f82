"""The bill of materials names everything that a service is made of, and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ops.setup.sbom import bill

ROOT = Path(__file__).resolve().parents[2]
NOW = "2026-11-23T09:00:00Z"


def test_every_pin_is_in_the_bill_with_its_hashes() -> None:
    """Each line of the server's lock file and each package that browsers get; none of the tools for development."""
    document = bill(ROOT, NOW)
    components: list[dict[str, Any]] = document["components"]
    pins = (ROOT / "ops" / "pins" / "server.txt").read_text()
    pinned = re.findall(r"^([a-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s;]+)", pins, re.MULTILINE)
    lock = json.loads((ROOT / "clients" / "web" / "package-lock.json").read_text())
    served = [
        (path.rpartition("node_modules/")[2], package["version"])
        for path, package in lock["packages"].items()
        if path and not package.get("dev")
    ]
    assert [(component["name"], component["version"]) for component in components] == [*pinned, *served]
    assert sum(len(component["hashes"]) for component in components) == pins.count("--hash=sha256:") + len(served)
    assert {"starlette", "websockets", "nhsuk-frontend"} <= {component["name"] for component in components}
    assert not {"pytest", "mypy", "typescript"} & {component["name"] for component in components}


def test_the_bill_has_the_form_that_readers_expect() -> None:
    """CycloneDX 1.6: unique references, hashes of the length of their kind, every component a dependency."""
    document = bill(ROOT, NOW)
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", document["serialNumber"])
    assert document["metadata"]["timestamp"] == NOW
    refs = [component["bom-ref"] for component in document["components"]]
    assert len(set(refs)) == len(refs)
    assert document["dependencies"][0]["dependsOn"] == refs
    lengths = {"SHA-256": 64, "SHA-512": 128}
    for component in document["components"]:
        assert component["purl"].startswith(("pkg:pypi/", "pkg:npm/"))
        assert component["hashes"]
        assert all(len(found["content"]) == lengths[found["alg"]] for found in component["hashes"])


def test_the_same_pins_give_the_same_bill() -> None:
    """A bill can be compared with the last one."""
    assert bill(ROOT, NOW) == bill(ROOT, NOW)
