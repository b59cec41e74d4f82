"""What set-up worked out of the patterns is what every process would, and is passed over where it may not be."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server.main import load_lists
from watchwords import prepared
from watchwords.keys import alternatives_of, keys_of
from watchwords.prepared import PREPARED, Part, is_proven, parts_of, prepare

PATTERN = r"\b(?:flat|round) earth\b"
WORKED_OUT = (Part(PATTERN, keys_of(PATTERN)),)


def test_what_is_prepared_is_what_would_be_worked_out() -> None:
    """Of every pattern of the lists, part by part: a start with the file finds exactly what one without it finds."""
    assert PREPARED.exists(), "run `make setup`"
    for entry in load_lists().lexicon.entries:
        if entry.pattern:
            assert is_proven(entry.pattern), "run `make setup`"
            assert parts_of(entry.pattern) == tuple(Part(p, keys_of(p)) for p in alternatives_of(entry.pattern))


def test_an_unknown_pattern_is_worked_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the file does not name a pattern, or there is none, nothing is missing and nothing counts as proven."""
    assert (parts_of(PATTERN), is_proven(PATTERN)) == (WORKED_OUT, False)
    monkeypatch.setattr(prepared, "PREPARED", tmp_path / "none.z")
    assert (parts_of(PATTERN), is_proven(PATTERN)) == (WORKED_OUT, False)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: b"",
        lambda content: zlib.compress(json.dumps(content).encode())[:-9],
        lambda content: zlib.compress(json.dumps(content | {"made_by": "another program"}).encode()),
        lambda content: zlib.compress(b"[]"),
    ],
    ids=["empty", "cut off", "made by other code", "another form"],
)
def test_a_file_that_may_not_count_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spoil: Callable[[dict[str, Any]], bytes]
) -> None:
    """Keys from a damaged file, or from code that read patterns otherwise, could hide a pattern: none is used."""
    path = tmp_path / "patterns.z"
    prepare([PATTERN], path)
    content = json.loads(zlib.decompress(path.read_bytes()))
    content["patterns"][PATTERN] = [["lies", ["lies"], []]]
    told, spoilt = tmp_path / "told.z", tmp_path / "spoilt.z"
    told.write_bytes(zlib.compress(json.dumps(content).encode()))
    spoilt.write_bytes(spoil(content))
    monkeypatch.setattr(prepared, "PREPARED", told)
    assert parts_of(PATTERN) != WORKED_OUT, "the file is read at all"
    monkeypatch.setattr(prepared, "PREPARED", spoilt)
    assert (parts_of(PATTERN), is_proven(PATTERN)) == (WORKED_OUT, False)
