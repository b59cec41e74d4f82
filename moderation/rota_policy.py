"""The numbers of the rota, from `policies/rota.toml`: how many are needed, when gaps are told, how a shift begins."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from moderation.files import Header, PolicyFile
from moderation.types import Role

ROTA = Path(__file__).parent / "policies" / "rota.toml"
# Who can be on duty: those whom a ladder calls by the rota.
ON_ROTA = (Role.MODERATOR, Role.MODERATOR_LEAD, Role.CLINICIAN, Role.CLINICAL_LEAD)


@dataclass(frozen=True, slots=True)
class RotaPolicy:
    """Who answers for the rota, and its numbers.

    Attributes:
        need: how many of a role must be on duty at every moment.
        ahead: how far ahead gaps are looked for.
        warn: how long before a gap each warning comes, the longest first.
        ask_before: how long before a shift its person is asked whether they can be reached.
        ask_again: how long an unanswered question waits before it is asked again.
        tell_before: how long before the shift somebody else is told that there is no answer; less than `ask_before`.
        offer_before: how long before a shift ends what its person holds is offered to others.
    """

    header: Header
    need: Mapping[Role, int]
    ahead: timedelta
    warn: tuple[timedelta, ...]
    ask_before: timedelta
    ask_again: timedelta
    tell_before: timedelta
    offer_before: timedelta

    @classmethod
    def load(cls, path: Path = ROTA) -> "RotaPolicy":
        """The policy in `path`.

        Raises:
            PolicyError: with file and line: a number is missing or impossible, or a role is none of the rota's.
        """
        file = PolicyFile(path)
        need = file.data.get("need", {})
        if not need or not set(need) <= set(ON_ROTA) or not all(type(n) is int and n >= 1 for n in need.values()):
            raise file.fault("need", 0, f"give whole numbers from 1 to some of {', '.join(ON_ROTA)}; correct it")
        warn = file.data.get("forecast", {}).get("warn_h")
        if not isinstance(warn, list) or not warn or not all(type(hours) is int and hours > 0 for hours in warn):
            raise file.fault("forecast", 0, "warn_h must be a list of whole hours, such as [72, 24, 2]; correct it")
        ask, again, tell = (_whole(file, "reach", name) for name in ("ask_min", "again_min", "tell_min"))
        if tell >= ask:
            raise file.fault(
                "reach", 0, "tell_min must be less than ask_min: nobody has been asked by then; correct it"
            )
        return cls(
            file.header(),
            {Role(role): count for role, count in need.items()},
            timedelta(days=_whole(file, "forecast", "days")),
            tuple(timedelta(hours=hours) for hours in sorted(set(warn), reverse=True)),
            timedelta(minutes=ask),
            timedelta(minutes=again),
            timedelta(minutes=tell),
            timedelta(minutes=_whole(file, "handover", "offer_min")),
        )


def _whole(file: PolicyFile, table: str, name: str) -> int:
    value = file.data.get(table, {}).get(name)
    if type(value) is not int or not 1 <= value <= 10_000:
        raise file.fault(table, 0, f"[{table}] needs {name}, a whole number from 1 to 10000; correct it")
    return value
