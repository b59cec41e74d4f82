"""The small part of YAML that the deployment files keep to; whatever else is written there is an error.

Maps and lists in blocks of two spaces, one scalar a line: plain, or in single or double quotes without escapes; `{}`.
"""

from __future__ import annotations

import re
from typing import Any

Line = tuple[int, str]


def read_yaml(text: str) -> Any:
    """The document as maps, lists and strings. Raises ValueError for what is not in the small part."""
    lines = []
    for number, raw in enumerate(text.splitlines(), start=1):
        if raw.strip() and not raw.lstrip().startswith("#"):
            indent = len(raw) - len(raw.lstrip(" "))
            if "\t" in raw or raw != raw.rstrip() or indent % 2:
                raise ValueError(f"line {number}: {raw!r}")
            lines.append((indent, raw.strip()))
    document, rest = _block(lines, 0)
    if rest:
        raise ValueError(f"left over: {rest[0][1]!r}")
    return document


def _block(lines: list[Line], indent: int) -> tuple[Any, list[Line]]:
    """The block at `indent`, and the lines behind it."""
    if lines[0][1].startswith("- "):
        return _list(lines, indent)
    found: dict[str, Any] = {}
    while lines and lines[0][0] == indent and not lines[0][1].startswith("- "):
        key, value = _pair(lines[0][1])
        if key in found:
            raise ValueError(f"{key} twice")
        lines = lines[1:]
        if value is None:
            deeper = lines[0][0] if lines else -1
            if deeper != indent + 2:
                raise ValueError(f"nothing under {key}")
            found[key], lines = _block(lines, indent + 2)
        else:
            found[key] = _scalar(value)
    if lines and lines[0][0] > indent:
        raise ValueError(f"too deep: {lines[0][1]!r}")
    return found, lines


def _list(lines: list[Line], indent: int) -> tuple[list[Any], list[Line]]:
    found: list[Any] = []
    while lines and lines[0][0] == indent and lines[0][1].startswith("- "):
        inner = lines[0][1][2:]
        if _is_pair(inner):
            value, lines = _block([(indent + 2, inner), *lines[1:]], indent + 2)
            found.append(value)
        else:
            found.append(_scalar(inner))
            lines = lines[1:]
    return found, lines


def _is_pair(text: str) -> bool:
    return re.match(r"^[A-Za-z_][\w.-]*:(?: |$)", text) is not None


def _pair(text: str) -> tuple[str, str | None]:
    if not _is_pair(text):
        raise ValueError(f"no key: {text!r}")
    key, _, value = text.partition(":")
    return key, value.strip() or None


def _scalar(text: str) -> Any:
    if text == "{}":
        return {}
    if text[0] in "'\"":
        if len(text) < 2 or text[-1] != text[0] or text[0] in text[1:-1] or "\\" in text:
            raise ValueError(f"quotes: {text!r}")
        return text[1:-1]
    if text[0] in "[]{}&*!|>%@`,?" or ": " in text or " #" in text:
        raise ValueError(f"has to be quoted: {text!r}")
    return text
