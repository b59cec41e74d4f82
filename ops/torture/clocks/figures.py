"""What the campaign "clock" did and what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ops.torture.history import Violation, outcome


@dataclass
class ClockCampaign:
    """What was done and what came of it.

    Attributes:
        backwards: stored moments of one case that stand before those that they follow, as a clock set back leaves them.
        night_late_s: by how much the latest rung of each night was late, in seconds of that night.
    """

    seed: int
    jumps: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    acknowledged: int = 0
    rungs: int = 0
    calls: Counter[int] = field(default_factory=Counter)
    backwards: int = 0
    numbers: int = 0
    nights: dict[str, int] = field(default_factory=dict)
    night_late_s: dict[str, float] = field(default_factory=dict)
    times_shown: int = 0
    duration_s: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """The campaign as plain values."""
        return {
            "campaign": "clock",
            "seed": self.seed,
            "faults": dict(self.jumps),
            "sent": self.sent,
            "acknowledged": self.acknowledged,
            "calls_planned": self.rungs,
            "calls": sum(self.calls.values()),
            "calls_made_again": sum(count for times, count in self.calls.items() if times > 1),
            "numbers_of_seconds_read": self.numbers,
            "moments_before_those_they_follow": self.backwards,
            "calls_in_the_night": self.nights,
            "latest_call_in_the_night_s": {name: round(late, 1) for name, late in self.night_late_s.items()},
            "times_shown": self.times_shown,
            "duration_s": round(self.duration_s, 1),
            **outcome(self.violations),
        }
