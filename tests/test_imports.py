"""Which module may know which, and which module may ask the time: rules that a reader relies on."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("server", "moderation", "watchwords", "clients", "ops")
PURE = ("watchwords", "moderation", "server.auth", "server.care", "server.rooms", "server.protocol")
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"
TIME_KEEPERS = {"server/clock.py", "server/store/clock.py"}
SQL_TIME = re.compile(
    r"\bnow\s*\(\s*\)|\bcurrent_(timestamp|time|date)\b|\bclock_timestamp\b|\bstrftime\s*\(.*'now'", re.I
)


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache", "--no-logo"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def sources(*packages: str) -> Iterator[tuple[str, ast.Module]]:
    """Each Python file below the packages: its path from the root, and its tree."""
    for package in packages:
        place = ROOT / package.replace(".", "/")
        for path in sorted([*place.rglob("*.py"), *place.parent.glob(f"{place.name}.py")]):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> set[str]:
    """Every module that a file may import, `from a import b` counted as both a and a.b."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def test_import_rules_hold() -> None:
    """Every contract in pyproject.toml is kept."""
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("watchwords/spoilt.py", "import asyncio"),
        ("moderation/spoilt.py", "import sqlalchemy.ext.asyncio"),
        ("moderation/spoilt.py", "import server.auth"),
        ("server/live/spoilt.py", "import server.web"),
        ("server/store/spoilt.py", "import server.actions"),
        ("server/protocol/spoilt.py", "import server.auth"),
        ("server/unplaced.py", ""),
        ("clients/sdk/spoilt.py", "import server.auth"),
        ("clients/sdk/spoilt.py", "import moderation"),
    ],
)
def test_import_rules_notice(tmp_path: Path, path: str, line: str) -> None:
    """A forbidden import, or a server module that no layer names, turns the check red."""
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "web" if package == "clients" else "")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / path).write_text(f"{line}\n", encoding="utf-8")
    done = lint(tmp_path)
    assert done.returncode == 1
    assert "BROKEN" in done.stdout


def test_every_pure_package_is_under_the_pure_rule() -> None:
    """A pure package that exists is named in the contract that keeps it pure."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (named,) = (set(contract["source_modules"]) for contract in contracts if contract["id"] == "pure")
    assert named == {package for package in PURE if any(sources(package))}


def test_only_screening_reaches_the_filter() -> None:
    """No module but actions.screening calls the pipeline; main may build it, and the campaign that breaks it."""
    reaching = {
        path
        for path, tree in sources(*PACKAGES)
        if any(name == "moderation.pipeline" or name.startswith("moderation.pipeline.") for name in imported(tree))
    }
    assert reaching <= {"server/actions/screening.py", "server/main.py", "ops/torture/faulty_filter.py"}


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("server.protocol", {"msgspec", "msgpack", "server"}),
        ("clients.sdk", {"msgspec", "msgpack", "websockets", "server", "clients"}),
    ],
)
def test_the_small_install_is_enough(package: str, allowed: set[str]) -> None:
    """Protocol and SDK import only what `pip install evenkeel` brings."""
    for path, tree in sources(package):
        outside = {name.split(".")[0] for name in imported(tree)} - sys.stdlib_module_names
        assert outside <= allowed, path


def time_readings(tree: ast.Module) -> list[str]:
    """Each place that asks a clock other than ours: `datetime.now` and kin in Python, now() and kin in SQL."""
    documentation = {
        id(statement.value)
        for statement in ast.walk(tree)
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = ast.unparse(node.func.value)
            if (
                (node.func.attr in {"now", "utcnow", "today"} and owner.split(".")[-1] in {"datetime", "date"})
                or node.func.attr in {"utcnow", "utcfromtimestamp"}
                or (owner.split(".")[-1] == "func" and SQL_TIME.search(f"{node.func.attr}()"))
            ):
                found.append(f"line {node.lineno}: {ast.unparse(node.func)}()")
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in documentation
            and SQL_TIME.search(node.value)
        ):
            found.append(f"line {node.lineno}: SQL time")
    return found


def test_nobody_asks_the_time_but_the_clocks() -> None:
    """Python's and the database's own time are read in two modules only, so a demo or a test can set them."""
    asking = {path: found for path, tree in sources(*PACKAGES) if (found := time_readings(tree))}
    assert {path: found for path, found in asking.items() if path not in TIME_KEEPERS} == {}


@pytest.mark.parametrize(
    "code",
    [
        "datetime.now(UTC)",
        "datetime.datetime.now()",
        "dt.datetime.utcnow()",
        "date.today()",
        "func.now()",
        "sqlalchemy.func.current_timestamp()",
        "text('SELECT now()')",
        "Column('at', server_default=text('CURRENT_TIMESTAMP'))",
    ],
)
def test_time_readings_are_found(code: str) -> None:
    """Each way to ask the time behind the clock's back is noticed."""
    assert time_readings(ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "clock.now()",
        "services.clock.now()",
        "store.db_now(connection)",
        "'''Not now().'''",
        "label = 'Not now (later)'",
    ],
)
def test_our_own_clock_may_be_asked(code: str) -> None:
    """The injected clock, the database's mapped one and a sentence about time are not taken for readings."""
    assert time_readings(ast.parse(code)) == []
