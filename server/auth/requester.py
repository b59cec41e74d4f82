"""Who is asking: the one value that every action takes to decide what it may do."""

from __future__ import annotations

from dataclasses import dataclass

from moderation.types import Role


@dataclass(frozen=True, slots=True)
class Requester:
    """An authenticated person, with the session that proves it.

    Attributes:
        account: account id.
        name: pseudonym of a member, display name of staff.
        session: id (not the token) of the session; revoking it closes every socket opened with it.
    """

    account: str
    name: str
    role: Role
    session: str

    @property
    def is_staff(self) -> bool:
        return self.role is not Role.MEMBER


__all__ = ["Requester", "Role"]
