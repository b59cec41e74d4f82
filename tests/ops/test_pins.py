"""What is installed is what is used: a package that nothing imports is only something more to trust."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
SERVER = PROJECT["dependencies"] + EXTRAS["server"] + EXTRAS["otel"]


# Used by another package at our word.
BY_NAME = {"httptools": "uvicorn.protocols.http.httptools_impl", "nhsuk-frontend-jinja": "nhsuk_frontend_jinja"}


@functools.cache
def imported() -> set[str]:
    """Every module that a program of ours imports, by its first name and its whole one; `BY_NAME`'s where named."""
    names: set[str] = set()
    for package in ("server", "moderation", "watchwords", "clients", "ops"):
        for path in (ROOT / package).rglob("*.py"):
            if "node_modules" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    names.update(alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom):
                    names |= {(node.module or "").partition(".")[0], node.module or ""}
                elif isinstance(node, ast.Constant) and node.value in BY_NAME.values():
                    names.add(str(node.value))
    return names


@pytest.mark.parametrize("requirement", SERVER)
def test_every_package_of_the_service_is_imported(requirement: str) -> None:
    """Each package that the service asks for is imported by it, or named where another one loads it."""
    name = re.split(r"[\[<>=;]", requirement)[0].lower()
    gives = (
        {BY_NAME[name]}
        if name in BY_NAME
        else {
            module
            for module, packages in importlib.metadata.packages_distributions().items()
            if name.replace("_", "-") in {package.lower().replace("_", "-") for package in packages}
        }
    )
    assert gives & imported(), f"nothing imports {name}"
