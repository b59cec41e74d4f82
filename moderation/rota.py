"""Who is on duty at a moment, and who stands for each audience of a ladder."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from moderation.ladders import Audience
from moderation.types import Role


@dataclass(frozen=True, slots=True)
class Shift:
    """One person on duty in one role, from `starts_at` until just before `ends_at` (aware UTC)."""

    account: str
    role: Role
    starts_at: datetime
    ends_at: datetime

    def __post_init__(self) -> None:
        if self.ends_at <= self.starts_at:
            raise ValueError("a shift must end after it starts: correct its times in the rota")


_BY_ROLE = {
    Audience.MODERATORS_ON_SHIFT: Role.MODERATOR,
    Audience.DUTY_CLINICIAN: Role.CLINICIAN,
    Audience.CLINICAL_LEAD: Role.CLINICAL_LEAD,
}
# A moderator lead on shift is one of the moderators on shift.
_ALSO = {Role.MODERATOR: Role.MODERATOR_LEAD}


def on_duty(shifts: Iterable[Shift], role: Role, now: datetime) -> tuple[str, ...]:
    """The accounts on duty in `role` at `now`, each once: whoever has the longest left to serve comes first.

    A person about to go home is the last to be handed something new. Equal ends are ordered by account.
    """
    left: dict[str, datetime] = {}
    for shift in shifts:
        if shift.role in (role, _ALSO.get(role)) and shift.starts_at <= now < shift.ends_at:
            left[shift.account] = max(shift.ends_at, left.get(shift.account, shift.ends_at))
    return tuple(account for account, _ in sorted(left.items(), key=lambda item: (-item[1].timestamp(), item[0])))


def people_for(
    audience: Audience,
    shifts: Iterable[Shift],
    fallback: tuple[str, ...],
    now: datetime,
    assigned: Mapping[Audience, tuple[str, ...]] | None = None,
) -> tuple[str, ...]:
    """The accounts that `audience` means now; empty if nobody is there.

    Args:
        audience: whom a rung calls.
        shifts: the rota, at least the part around `now`.
        fallback: the standing list that is called when all else fails; it is not on the rota.
        now: aware UTC.
        assigned: the people who belong to the case itself (treating therapist, facilitator); absent means none.
    """
    if audience is Audience.FALLBACK:
        return fallback
    if audience is Audience.ON_CALL_MODERATOR:
        return on_duty(shifts, Role.MODERATOR, now)[:1]
    role = _BY_ROLE.get(audience)
    if role is not None:
        return on_duty(shifts, role, now)
    return (assigned or {}).get(audience, ())
