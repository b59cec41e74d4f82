"""How well a filter does on labelled messages: sensitivity, predictive value, order and alarms, with intervals.

Decided here: what the figures mean, so that two runs compare. Grey (level 1) is neither right nor wrong to flag: PPV is
given without it and, "strictly", with it as wrong. Figures are of messages; nothing here holds a text.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from watchwords.lexicon import CATEGORIES
from watchwords.screening import Screened

_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Judged:
    """One message: how it was labelled, and what the filter said of it."""

    level: int
    cats: tuple[str, ...]
    said_level: int
    said_score: float
    said_cats: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Share:
    """`count` of `total`, with the 95 % interval of Wilson (1927); `value` and bounds are None of nothing."""

    count: int
    total: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Quality:
    """The figures of one filter on one set.

    `sensitivity`: of level 2 and 3, said to be 2 or more. `urgent_flagged`, `urgent_at_3`: of level 3, said to be 2 or
    more, and 3. `ppv`, `ppv_strict`: of what was said to be 2 or more, what is; without and with grey. `alarms`: of
    level 0, said to be 2 or more (times 1,000: alerts in a thousand). `auc`: how often a message of level 2 or 3 has a
    higher score than one of level 0, and `auc_strict` than one of level 0 or 1. `by_category`: sensitivity by main
    category. `category_right`: of what was rightly flagged, where the main category is the one labelled.
    """

    messages: int
    sensitivity: Share
    urgent_flagged: Share
    urgent_at_3: Share
    ppv: Share
    ppv_strict: Share
    alarms: Share
    auc: float | None
    auc_strict: float | None
    by_category: dict[str, Share]
    category_right: Share

    def as_facts(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return asdict(self)


def judge(
    messages: Iterable[tuple[str, int, tuple[str, ...]]], screen: Callable[[str], Screened]
) -> tuple[Judged, ...]:
    """What `screen` says of labelled messages, given as (text, level, categories with the main one first)."""
    out = []
    for text, level, cats in messages:
        said = screen(text)
        out.append(Judged(level, cats, said.level, said.score, said.cats))
    return tuple(out)


def quality(judged: Sequence[Judged]) -> Quality:
    """The figures of judged messages."""
    high = [one for one in judged if one.level >= 2]
    urgent = [one for one in judged if one.level == 3]
    none = [one for one in judged if one.level == 0]
    flagged = [one for one in judged if one.said_level >= 2]
    scores = [one.said_score for one in high]
    return Quality(
        messages=len(judged),
        sensitivity=_share(high, _is_flagged),
        urgent_flagged=_share(urgent, _is_flagged),
        urgent_at_3=_share(urgent, lambda one: one.said_level == 3),
        ppv=_share([one for one in flagged if one.level != 1], lambda one: one.level >= 2),
        ppv_strict=_share(flagged, lambda one: one.level >= 2),
        alarms=_share(none, _is_flagged),
        auc=area(scores, [one.said_score for one in none]),
        auc_strict=area(scores, [one.said_score for one in judged if one.level < 2]),
        by_category={c: _share([one for one in high if one.cats[:1] == (c,)], _is_flagged) for c in CATEGORIES},
        category_right=_share(
            [one for one in high if one.said_level >= 2], lambda one: one.said_cats[:1] == one.cats[:1]
        ),
    )


def wilson(count: float, total: float) -> tuple[float, float]:
    """The 95 % score interval of `count` of `total` (Wilson 1927); (0, 1) of nothing.

    Of a weighted sample they are effective counts, which are no whole numbers.
    """
    if not total:
        return 0.0, 1.0
    share = count / total
    middle = share + _Z**2 / (2 * total)
    half = _Z * math.sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2))
    scale = 1 + _Z**2 / total
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def area(above: Sequence[float], below: Sequence[float]) -> float | None:
    """How often one of `above` is greater than one of `below`, equals counting half; None if either is empty."""
    if not above or not below:
        return None
    ordered = sorted(below)
    wins = sum(bisect_left(ordered, score) + bisect_right(ordered, score) for score in above)
    return wins / (2 * len(above) * len(below))


def lines_of(figures: Quality) -> list[str]:
    """The figures for a person to read, one to a line."""
    named = {
        "sensitivity (2 and 3 found)": figures.sensitivity,
        "urgent found": figures.urgent_flagged,
        "urgent found at 3": figures.urgent_at_3,
        "PPV without grey": figures.ppv,
        "PPV, grey as wrong": figures.ppv_strict,
        "alarms at level 0": figures.alarms,
        "main category right": figures.category_right,
        **{f"sensitivity {category}": share for category, share in figures.by_category.items()},
    }
    lines = [f"{figures.messages} messages"]
    lines += [
        f"{name:28} {share.value:.3f}  ({share.low:.3f}-{share.high:.3f})  {share.count} of {share.total}"
        for name, share in named.items()
        if share.value is not None
    ]
    for name, value in (("AUC against level 0", figures.auc), ("AUC against 0 and 1", figures.auc_strict)):
        if value is not None:
            lines.append(f"{name:28} {value:.3f}")
    return lines


def _is_flagged(one: Judged) -> bool:
    return one.said_level >= 2


def _share(among: Sequence[Judged], which: Callable[[Judged], bool]) -> Share:
    return share_of(sum(which(one) for one in among), len(among))


def share_of(count: int, total: int) -> Share:
    """`count` of `total` with its interval."""
    if not total:
        return Share(0, 0, None, None, None)
    low, high = wilson(count, total)
    return Share(count, total, round(count / total, 4), round(low, 4), round(high, 4))
