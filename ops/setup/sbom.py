"""`make sbom`: what a running service is made of, as CycloneDX 1.6 JSON, from the pins alone.

Packages and their hashes are those of `ops/pins/server.txt`, and of `clients/web/package-lock.json` without what only
development needs. The licence is added where the package is installed and says one. The same pins give the same
document, but for the time. Standard library only.
"""

from __future__ import annotations

import argparse
import base64
import importlib.metadata
import json
import re
import sys
import time
import tomllib
import uuid
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
_PIN: Final = re.compile(r"^([a-z0-9][a-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;]+)(?: ; ([^\\]*))?")
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")

Component = dict[str, Any]


def python_components(pins: str) -> list[Component]:
    """One for each pin of a lock file, with the hashes of all its files."""
    found: list[Component] = []
    for line in pins.splitlines():
        if pin := _PIN.match(line):
            name, version = pin[1], pin[2]
            purl = f"pkg:pypi/{name}@{version}"
            component: Component = {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}
            component["hashes"] = []
            if licence := _licence(name, version):
                component["licenses"] = [{"license": {"name": licence}}]
            if pin[3]:
                component["properties"] = [{"name": "evenkeel:only-if", "value": pin[3].strip()}]
            found.append(component)
        elif digest := _HASH.search(line):
            found[-1]["hashes"].append({"alg": "SHA-256", "content": digest[1]})
    return found


def _licence(name: str, version: str) -> str:
    """What the installed package says of its licence; "" where another version is installed, or none."""
    try:
        about = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
    said = next((about[field].strip() for field in ("License-Expression", "License") if field in about), "")
    return said if about["Version"] == version and 0 < len(said) < 80 else ""


def browser_components(lock: dict[str, Any]) -> list[Component]:
    """One for each npm package that browsers are served something of."""
    found: list[Component] = []
    for path, package in lock["packages"].items():
        if not path or package.get("dev") or package.get("link"):
            continue
        name = path.rpartition("node_modules/")[2]
        purl = f"pkg:npm/{name.replace('@', '%40')}@{package['version']}"
        algorithm, _, digest = package["integrity"].partition("-")
        component: Component = {
            "type": "library",
            "name": name,
            "version": package["version"],
            "purl": purl,
            "bom-ref": purl,
            "hashes": [
                {"alg": algorithm.upper().replace("SHA", "SHA-"), "content": base64.b64decode(digest).hex()},
            ],
        }
        if "license" in package:
            component["licenses"] = [{"license": {"name": package["license"]}}]
        found.append(component)
    return found


def bill(root: Path, at: str) -> dict[str, Any]:
    """The whole document for the project at `root`, made `at` (ISO 8601, UTC)."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = (root / "ops" / "pins" / "server.txt").read_text(encoding="utf-8")
    lock = json.loads((root / "clients" / "web" / "package-lock.json").read_text(encoding="utf-8"))
    components = [*python_components(pins), *browser_components(lock)]
    itself = f"pkg:pypi/{project['name']}@{project['version']}"
    refs = [component["bom-ref"] for component in components]
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([itself, *refs]))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "timestamp": at,
            "component": {
                "type": "application",
                "name": project["name"],
                "version": project["version"],
                "purl": itself,
                "bom-ref": itself,
                "licenses": [{"license": {"id": project["license"]}}],
            },
        },
        "components": components,
        "dependencies": [{"ref": itself, "dependsOn": refs}, *({"ref": ref} for ref in refs)],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the software bill of materials of this project.")
    parser.add_argument("file", type=Path, help="where to write it")
    given = parser.parse_args()
    document = bill(ROOT, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    given.file.parent.mkdir(parents=True, exist_ok=True)
    given.file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"{given.file}: {len(document['components'])} components")
    return 0


if __name__ == "__main__":
    sys.exit(main())
