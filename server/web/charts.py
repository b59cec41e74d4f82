"""Drawings that the server makes: where the parts of a chart lie. A template writes them as SVG, beside a table.

A chart of intervals has a row for each name: a line from the lower to the upper bound and a mark at the value, on a
scale from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

LEFT: Final = 300
WIDTH: Final = 760
ROW: Final = 28
_SCALE: Final = WIDTH - LEFT - 24
_TICKS: Final = (0, 25, 50, 75, 100)


@dataclass(frozen=True, slots=True)
class Interval:
    """One row: its words, the height of its middle, and three places on the scale."""

    name: str
    y: int
    low: int
    value: int
    high: int


@dataclass(frozen=True, slots=True)
class Chart:
    """All rows, in units of the drawing; `ticks` are (place, per cent)."""

    width: int
    height: int
    left: int
    rows: tuple[Interval, ...]
    ticks: tuple[tuple[int, int], ...]


def intervals(rows: Iterable[tuple[str, float | None, float | None, float | None]]) -> Chart:
    """The chart of (name, value, low, high); what has no value has no row."""
    drawn: list[Interval] = []
    for name, value, low, high in rows:
        if value is not None and low is not None and high is not None:
            middle = ROW * len(drawn) + ROW // 2
            drawn.append(Interval(name, middle, _place(low), _place(value), _place(high)))
    return Chart(WIDTH, ROW * (len(drawn) + 1), LEFT, tuple(drawn), tuple((_place(t / 100), t) for t in _TICKS))


def _place(share: float) -> int:
    return LEFT + round(_SCALE * share)
