"""Which messages of a shift are read blind: a stratified random draw, flagged messages and others alike.

Pure: given what was said in a shift and a generator of random numbers, the draw is always the same. A stratum is a kind
of room, a part of the day and a band, which is what the filter said and how nearly it said more. From each, a number of
messages that the policy names is drawn without replacement, all alike; a drawn message stands for as many as the
stratum holds for each one drawn (the inverse of its chance to be drawn; Horvitz and Thompson, 1952).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from random import Random

from moderation.files import Header, PolicyFile
from moderation.shifts import ShiftHours, ShiftPolicy
from moderation.types import Level, RoomKind, Verdict
from moderation.wall import LONDON

REVIEW = Path(__file__).parent / "policies" / "review.toml"


class Band(StrEnum):
    """What the filter said of a message, as far as a draw is concerned."""

    PLAIN = "plain"
    NEAR = "near"
    GREY = "grey"
    FLAGGED = "flagged"


@dataclass(frozen=True, slots=True, order=True)
class Stratum:
    """Messages that have the same chance to be drawn."""

    room_kind: RoomKind
    part: str
    band: Band


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version of a message that may be drawn."""

    message: str
    version: int
    stratum: Stratum


@dataclass(frozen=True, slots=True)
class Drawn:
    """A message to be read. `weight`: for how many messages it stands. `readers`: 1, or 2 who agree or do not."""

    candidate: Candidate
    weight: float
    readers: int


@dataclass(frozen=True, slots=True)
class Draw:
    """A whole draw. `sizes` are (messages, drawn) of every stratum; `drawn` is in an order that tells nothing."""

    sizes: Mapping[Stratum, tuple[int, int]]
    drawn: tuple[Drawn, ...]


@dataclass(frozen=True, slots=True)
class ReviewPolicy:
    """When, from what and how much is drawn, and who answers for it.

    `parts` are (hour, name), ascending, hours of the day in Europe/London. `near` is a score.
    """

    header: Header
    shifts: ShiftPolicy
    late: timedelta
    open_for: timedelta
    parts: tuple[tuple[int, str], ...]
    near: float
    sizes: Mapping[Band, int]
    kinds: frozenset[RoomKind]
    second: float

    @classmethod
    def load(cls, path: Path = REVIEW) -> "ReviewPolicy":
        """The policy in `path`.

        Raises:
            PolicyError: it can not be read, or a value is missing or out of range; it names file, line and cure.
        """
        file = PolicyFile(path)
        parts = file.data.get("parts", {})
        if not parts or not all(_is_hour(hour) for hour in parts.values()):
            raise file.fault("parts", 0, "each part of the day needs the hour at which it begins; correct it")
        sizes = file.data.get("sizes", {})
        if set(sizes) != set(Band) or not all(type(size) is int and size > 0 for size in sizes.values()):
            raise file.fault("sizes", 0, f"a whole number above 0 is needed for each of {', '.join(Band)}; correct it")
        try:
            kinds = frozenset(RoomKind(kind) for kind in file.data.get("rooms", {}).get("kinds", ()))
        except ValueError as error:
            raise file.fault("rooms", 0, f"{error}; use {', '.join(RoomKind)}") from error
        return cls(
            file.header(),
            ShiftPolicy.load(),
            timedelta(hours=_number(file, "shifts", "late_h", 1, 24 * 366)),
            timedelta(days=_number(file, "shifts", "open_days", 1, 366)),
            tuple(sorted((hour, name) for name, hour in parts.items())),
            _number(file, "line", "near", 0.01, 2),
            {band: sizes[band] for band in Band},
            kinds,
            _number(file, "second", "share", 0, 1),
        )

    def part_of(self, at: datetime) -> str:
        """The part of the day of a moment, in Europe/London."""
        hour = at.astimezone(LONDON).hour
        return next((name for begins, name in reversed(self.parts) if begins <= hour), self.parts[-1][1])

    def shifts_over(self, now: datetime) -> tuple[ShiftHours, ...]:
        """The shifts that are over at `now` and may still be drawn, the oldest first."""
        return self.shifts.over(now, self.late)

    def band_of(self, verdict: Verdict, *, is_flagged: bool) -> Band:
        """The band of a message. `is_flagged`: its own words brought it to somebody, whatever else was found."""
        if verdict.level >= Level.HIGH_NEED or not verdict.complete:
            return Band.FLAGGED
        if verdict.level is Level.GREY or is_flagged:
            return Band.GREY
        return Band.NEAR if verdict.score >= self.near else Band.PLAIN


def _is_hour(value: object) -> bool:
    return type(value) is int and 0 <= value <= 23


def _number(file: PolicyFile, table: str, name: str, least: float, most: float) -> float:
    value = file.data.get(table, {}).get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise file.fault(table, 0, f"[{table}] needs {name}, a number from {least} to {most}; correct it")
    return float(value)


def draw(policy: ReviewPolicy, candidates: Iterable[Candidate], random: Random) -> Draw:
    """The messages of one shift that are to be read.

    Args:
        candidates: every message of the shift, in one order whoever asks: the same order and the same seed are the same
            draw.
        random: seeded so that nobody can foresee it, and nobody who draws again gets another.
    """
    strata: defaultdict[Stratum, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        strata[candidate.stratum].append(candidate)
    drawn: list[Drawn] = []
    sizes: dict[Stratum, tuple[int, int]] = {}
    for stratum, among in sorted(strata.items()):
        chosen = random.sample(among, min(policy.sizes[stratum.band], len(among)))
        sizes[stratum] = len(among), len(chosen)
        weight = len(among) / len(chosen)
        drawn += [Drawn(each, weight, 1 + (random.random() < policy.second)) for each in chosen]
    random.shuffle(drawn)
    return Draw(sizes, tuple(drawn))
