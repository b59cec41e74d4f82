"""Whether an entry of the lists finds as much as it used to: its band, and when a day leaves it.

Pure, with the numbers in `policies/drift.toml`. The rate is of messages in which the entry found something, among all
messages screened.
"""

import math
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from moderation.files import Header, PolicyFile
from watchwords.quality import wilson

DRIFT = Path(__file__).parent / "policies" / "drift.toml"
# Beyond so many standard deviations nothing is left to add up.
_FAR = 12


@dataclass(frozen=True, slots=True)
class DriftPolicy:
    """From what a band is made, and who answers for it. `chance`: of a day outside of it, on either side."""

    header: Header
    base: timedelta
    least_days: int
    least_messages: int
    day_messages: int
    chance: float

    @classmethod
    def load(cls, path: Path = DRIFT) -> "DriftPolicy":
        """The policy in `path`.

        Raises:
            PolicyError: it can not be read, or a number is missing or out of range; it names file, line and cure.
        """
        file = PolicyFile(path)
        given = file.data.get("band", {})
        for name, most in (("days", 366), ("least_days", 366), ("least_messages", 1e9), ("day_messages", 1e9)):
            if type(given.get(name)) is not int or not 1 <= given[name] <= most:
                raise file.fault("band", 0, f"[band] needs {name}, a whole number from 1; correct it")
        if type(given.get("chance")) is not float or not 0 < given["chance"] < 0.5:
            raise file.fault("band", 0, "[band] needs chance, a number above 0 and below 0.5; correct it")
        return cls(
            file.header(),
            timedelta(days=given["days"]),
            given["least_days"],
            given["least_messages"],
            given["day_messages"],
            given["chance"],
        )


@dataclass(frozen=True, slots=True)
class Base:
    """What an entry found in its earlier days: `hits` of `messages` in `days` whole days."""

    days: int
    hits: int
    messages: int


def band(policy: DriftPolicy, base: Base, messages: int) -> tuple[int, int] | None:
    """How many of `messages` an entry may be found in, the least and the most; None if too little is known to say."""
    if base.days < policy.least_days or base.messages < policy.least_messages or messages < policy.day_messages:
        return None
    low, high = wilson(base.hits, base.messages)
    return quantile(low * messages, policy.chance), quantile(high * messages, 1 - policy.chance)


def quantile(mean: float, share: float) -> int:
    """The smallest count that a Poisson variable of that mean does not exceed with a chance of at least `share`."""
    if mean <= 0:
        return 0
    count = max(0, math.floor(mean - _FAR * math.sqrt(mean) - _FAR))
    most = math.ceil(mean + _FAR * math.sqrt(mean) + _FAR)
    total = 0.0
    while count < most:
        total += math.exp(count * math.log(mean) - mean - math.lgamma(count + 1))
        if total >= share:
            break
        count += 1
    return count
