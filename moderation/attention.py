"""What a message means beside those before it: one person's last hour, and several people in one room.

Pure rules over what was found earlier, with the numbers in `policies/attention.toml`. They can only raise a grey
message to a high need, never lower anything: one message hides what a run of them says, and distress spreads in a room.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from moderation.files import Header, PolicyFile
from moderation.types import Category, Level, Verdict

ATTENTION = Path(__file__).parent / "policies" / "attention.toml"


@dataclass(frozen=True, slots=True)
class PersonRule:
    """How one person's earlier messages count. Times are durations; `rises_at` is in messages of now."""

    window: timedelta
    half_life: timedelta
    rises_at: float
    baseline: timedelta


@dataclass(frozen=True, slots=True)
class RoomRule:
    """When several people in one room are more than each of them. `messages` bounds how far back is looked."""

    window: timedelta
    messages: int
    people: int
    entries: tuple[str, ...]
    categories: frozenset[Category]

    def themes_of(self, found: Iterable[tuple[str, str, int]]) -> frozenset[str]:
        """What findings, as (entry id, category, level), speak of that may spread: entry ids, and category letters."""
        named, spoken = set(), set()
        for entry, category, level in found:
            if entry.startswith(self.entries):
                named.add(entry)
            if category in self.categories and level >= Level.HIGH_NEED:
                spoken.add(str(category))
        return frozenset(named | spoken)


@dataclass(frozen=True, slots=True)
class AttentionPolicy:
    """Both rules, and who answers for them."""

    header: Header
    person: PersonRule
    room: RoomRule

    @classmethod
    def load(cls, path: Path = ATTENTION) -> "AttentionPolicy":
        """The policy in `path`.

        Raises:
            PolicyError: it can not be read, a number is missing or out of range, or a category is unknown; the message
                names file, line and cure.
        """
        file = PolicyFile(path)
        person = _numbers(file, "person", ("window_s", "half_life_s", "rises_at", "baseline_days"))
        room = _numbers(file, "room", ("window_s", "messages", "people"))
        if room["people"] < 2:
            raise file.fault("room", 0, "people must be 2 or more: one person is no spread; correct it")
        names = file.data["room"].get("entries")
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            raise file.fault("room", 0, 'entries must be a list of beginnings of entry ids, such as ["method-"]')
        try:
            categories = frozenset(Category(letter) for letter in file.data["room"].get("categories", ()))
        except ValueError as error:
            raise file.fault("room", 0, f"{error}; use the letters of the lists") from error
        return cls(
            file.header(),
            PersonRule(
                timedelta(seconds=person["window_s"]),
                timedelta(seconds=person["half_life_s"]),
                person["rises_at"],
                timedelta(days=person["baseline_days"]),
            ),
            RoomRule(
                timedelta(seconds=room["window_s"]),
                int(room["messages"]),
                int(room["people"]),
                tuple(names),
                categories,
            ),
        )


def _numbers(file: PolicyFile, table: str, names: Iterable[str]) -> dict[str, float]:
    given = file.data.get(table, {})
    for name in names:
        value = given.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise file.fault(table, 0, f"[{table}] needs {name}, a number above 0; add it")
    return {name: float(given[name]) for name in names}


def is_run(rule: PersonRule, earlier: Sequence[datetime], now: datetime) -> bool:
    """Whether a worrying message of now is more than a single one, by the moments of this person's earlier ones.

    Args:
        earlier: when each earlier message of level 1 or above was written (aware UTC), as far back as `rule.baseline`.
        now: when this one is written.
    """
    recent: float = sum(
        math.pow(0.5, (now - at) / rule.half_life) for at in earlier if timedelta() <= now - at <= rule.window
    )
    before = sum(1 for at in earlier if rule.window < now - at <= rule.baseline)
    return recent - before * (rule.window / rule.baseline) >= rule.rises_at


def themes(rule: RoomRule, verdict: Verdict) -> frozenset[str]:
    """What a message speaks of that may spread."""
    return rule.themes_of((f.entry_id, f.category or "", int(f.level)) for f in verdict.findings)


def is_spreading(rule: RoomRule, mine: frozenset[str], others: Mapping[str, frozenset[str]]) -> bool:
    """Whether enough people in a room speak of one theme of this message; `others` are the themes of each of them."""
    return any(1 + sum(theme in theirs for theirs in others.values()) >= rule.people for theme in mine)
