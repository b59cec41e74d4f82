"""What is in the repository, and what must not be: addresses, this or that machine's folders, unpinned packages."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PINS = ROOT / "ops" / "pins"
WEB = ROOT / "clients" / "web"

TOP_LEVEL = {
    *("server", "moderation", "watchwords", "clients", "ops", "tests", ".ci"),
    *("pyproject.toml", "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "Makefile"),
    *(".gitignore",),
}
DOWNLOAD = re.compile(
    r"://[\w.-]*(?:pypi|pythonhosted|npmjs|npmmirror|yarnpkg|jsdelivr|unpkg|cdnjs|anaconda)"
    r"|://\S+\.(?:whl|tgz|tar\.gz|zip|deb)\b"
    r"|file:/{2,}\w",
    re.IGNORECASE,
)
MACHINE_PATH = re.compile(r"(?<![\w.:/<-])/(?:(?:work|root|tmp)/\w|(?:home|Users)/\w+/\w)")
REQUIREMENT = re.compile(r"^([a-z0-9][a-z0-9-]*)(?:\[[^\]]*\])?==([^\s;]+)((?: ; [^\\]*)?)\s*\\?$")


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def offending_lines(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in tracked():
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    return found


def pinned(name: str) -> dict[tuple[str, str], str]:
    """The versions of a lock file by (package, marker); refuses a line that is neither an exact pin nor a hash."""
    pins: dict[tuple[str, str], str] = {}
    hashes = 1
    for line in (PINS / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("    --hash=sha256:"):
            hashes += 1
            continue
        found = REQUIREMENT.match(line)
        assert found is not None, line
        assert hashes > 0, f"the package before {line} has no hash"
        pins[found[1], found[3].strip()] = found[2]
        hashes = 0
    assert hashes > 0
    return pins


def normal(requirement: str) -> str:
    return re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def test_top_level_has_its_known_entries_only() -> None:
    """Whoever opens the repository finds the same few folders and files for good."""
    assert {path.relative_to(ROOT).parts[0] for path in tracked()} <= TOP_LEVEL


def test_no_file_names_a_download_address() -> None:
    """Packages come from whatever registry a machine is set up for; no file names one."""
    assert offending_lines(DOWNLOAD) == []


def test_no_file_names_a_folder_of_one_machine() -> None:
    """No file knows where it was written."""
    assert offending_lines(MACHINE_PATH) == []


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (DOWNLOAD, "https:" + "//files." + "pythonhosted.example/packages/a"),
        (DOWNLOAD, '"resol' + 'ved": "https:' + "//registry." + 'npmjs.example/a-1.0.0"'),
        (DOWNLOAD, "a @ https" + "://example.org/a-1.0-py3-none-any" + ".whl"),
        (MACHINE_PATH, "cd /" + "root/project"),
        (MACHINE_PATH, "path = '/" + "home/sam/project'"),
    ],
)
def test_addresses_and_folders_are_found(pattern: re.Pattern[str], line: str) -> None:
    """What the two searches look for, they find."""
    assert pattern.search(line)


def test_no_large_file_is_kept() -> None:
    """No file is over 1.2 MB, which the model comes near to: what can be built or fetched is not kept."""
    assert [path for path in tracked() if path.stat().st_size > 1_200_000] == []


@pytest.mark.parametrize("name", ["server.txt", "otel.txt", "dev.txt", "node.txt"])
def test_every_package_is_pinned_by_hash(name: str) -> None:
    """Each line of a lock file is an exact version with at least one SHA-256."""
    assert pinned(name)


def test_lock_files_hold_what_the_project_asks_for() -> None:
    """Each direct dependency, and the build backend, is in the lock file that installs it, in one version only."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    run = [*project["project"]["dependencies"], *extras["server"], *project["build-system"]["requires"]]
    server, traced, dev = pinned("server.txt"), pinned("otel.txt"), pinned("dev.txt")
    assert {normal(requirement) for requirement in run} <= {package for package, _ in server}
    assert {normal(requirement) for requirement in [*run, *extras["otel"]]} <= {package for package, _ in traced}
    assert {normal(requirement) for requirement in [*run, *extras["test"]]} <= {package for package, _ in dev}
    assert server.items() <= traced.items() <= dev.items()
    assert not any(package.startswith("opentelemetry") for package, _ in server)


def test_browser_packages_are_exact_and_sealed() -> None:
    """The npm lock gives every package an integrity hash and none an address; package.json asks for exact versions."""
    package = json.loads((WEB / "package.json").read_text(encoding="utf-8"))
    asked = {**package["dependencies"], **package["devDependencies"]}
    locked = json.loads((WEB / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    for name, version in asked.items():
        assert locked[f"node_modules/{name}"]["version"] == version
    for place, entry in locked.items():
        assert "resolved" not in entry, place
        assert not place or entry["integrity"].startswith("sha512-"), place
