"""When a day shift and a night shift are: the one place that says so, with the hours in `policies/shifts.toml`.

Wall clock, because people's shifts are. Who is on duty is the rota's to say.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from moderation.files import Header, PolicyFile
from moderation.wall import day_of, instant_of

SHIFTS = Path(__file__).parent / "policies" / "shifts.toml"


@dataclass(frozen=True, slots=True)
class ShiftHours:
    """The hours of one shift, whoever serves it, half-open [starts_at, ends_at), aware UTC."""

    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class ShiftPolicy:
    """The hours of a night shift, `begins_at` until just before `ends_at`, full hours of the wall clock in `zone`."""

    header: Header
    begins_at: int
    ends_at: int
    zone: ZoneInfo

    @classmethod
    def load(cls, path: Path = SHIFTS) -> "ShiftPolicy":
        """The policy in `path`.

        Raises:
            PolicyError: an hour or the zone is missing or none, or a night would have no hours.
        """
        file = PolicyFile(path)
        night = file.data.get("night", {})
        hours = [night.get(name) for name in ("begins_at", "ends_at")]
        if not all(type(hour) is int and 0 <= hour <= 23 for hour in hours) or hours[0] == hours[1]:
            raise file.fault("night", 0, "begins_at and ends_at are two different full hours, 0 to 23; correct them")
        try:
            zone = ZoneInfo(str(night.get("zone", "")))
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise file.fault("night", 0, "zone must be a time zone such as Europe/London; correct it") from error
        return cls(file.header(), hours[0], hours[1], zone)

    @property
    def night_hours(self) -> int:
        """How long a night shift is, when no clock changes."""
        return (self.ends_at - self.begins_at) % 24

    def night_of(self, moment: datetime) -> date | None:
        """The night shift in which an aware moment lies, by the date on which it began; None by day."""
        local = moment.astimezone(self.zone)
        if (local.hour - self.begins_at) % 24 >= self.night_hours:
            return None
        return local.date() if local.hour >= self.begins_at else local.date() - timedelta(days=1)

    def night_from(self, day: date) -> ShiftHours:
        """The night shift that begins on `day`."""
        end = day if self.begins_at < self.ends_at else day + timedelta(days=1)
        return ShiftHours(
            instant_of(day, time(self.begins_at), self.zone), instant_of(end, time(self.ends_at), self.zone)
        )

    def over(self, now: datetime, within: timedelta) -> tuple[ShiftHours, ...]:
        """The shifts, by day and by night, that ended within the time before `now`, the oldest first."""
        day = day_of(now - within, self.zone) - timedelta(days=1)
        edges: list[datetime] = []
        while day <= day_of(now, self.zone):
            edges += [instant_of(day, time(hour), self.zone) for hour in sorted((self.begins_at, self.ends_at))]
            day += timedelta(days=1)
        return tuple(ShiftHours(start, end) for start, end in pairwise(edges) if now - within <= end <= now)
