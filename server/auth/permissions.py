"""Which role may do what: one entry for every frame and every page, and a refusal for everything else.

Pure. Decided here: the role. Not decided here: the object. That somebody may `send` says nothing about a room; the one
gate to a room is `actions.rooms`, to a case `actions.cases`. An operation without an entry is refused, and a test fails
for a frame that has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from moderation.types import Role, RoomKind
from server.auth.requester import Requester
from server.errors import NotSignedIn, Refused

EVERYBODY: Final = frozenset(Role)
MEMBERS: Final = frozenset({Role.MEMBER})
MODERATION: Final = frozenset({Role.MODERATOR, Role.MODERATOR_LEAD, Role.CLINICIAN, Role.CLINICAL_LEAD})
# Who works on cases at all; on which side of the wall is said by `actions.case_page`. Administrators run accounts only.
CASE_STAFF: Final = MODERATION | {Role.FACILITATOR, Role.THERAPIST}
CLINICAL: Final = frozenset({Role.CLINICIAN, Role.CLINICAL_LEAD})
# Whose signatures a change of the watchword lists needs, one of each (`actions.wordlists.proposals`).
LEADS: Final = frozenset({Role.MODERATOR_LEAD, Role.CLINICAL_LEAD})
ADMINS: Final = frozenset({Role.ADMIN})
# Who writes the rota, and who sees it: those who write it, and those who serve by it.
ROTA_KEEPERS: Final = LEADS | ADMINS
_POSTING: Final = EVERYBODY - ADMINS


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may ask for an operation, and what it needs besides.

    Attributes:
        roles: the roles that may; None: nobody needs to be signed in.
        csrf: a change by HTTP needs the form token of the session (a frame needs the ticket and the Origin instead).
    """

    roles: frozenset[Role] | None
    csrf: bool = False


class FeedKind(StrEnum):
    """What kinds of feed there are, as far as roles are concerned."""

    COMMUNITY = "community"
    GROUP = "group"
    THERAPY = "therapy"
    SUPPORT = "support"
    INBOX = "inbox"
    STAFF_MODERATION = "staff:moderation"
    STAFF_CLINICAL = "staff:clinical"
    STAFF_LEAD = "staff:lead"

    @classmethod
    def of_room(cls, kind: RoomKind) -> FeedKind:
        return cls(kind.value)


_FRAMES: Final = {
    "frame.hello": Rule(EVERYBODY),
    "frame.join": Rule(EVERYBODY),
    "frame.leave": Rule(EVERYBODY),
    "frame.send": Rule(_POSTING),
    "frame.edit": Rule(_POSTING),
    "frame.remove": Rule(_POSTING),
    "frame.history": Rule(EVERYBODY),
    "frame.read": Rule(EVERYBODY),
    "frame.report": Rule(_POSTING),
    "frame.help": Rule(EVERYBODY),
    "frame.act": Rule(CASE_STAFF),
    "frame.open_case": Rule(CASE_STAFF),
    "frame.beat": Rule(EVERYBODY),
}
_ROUTES: Final = {
    "route.home": Rule(None),
    "route.help_now": Rule(None),
    "route.rules": Rule(None),
    "route.asset": Rule(None),
    "route.health": Rule(None),
    "route.metrics": Rule(None),
    "route.watch": Rule(None),
    # There is no session yet that a form token could belong to; these rest on the exact Origin alone.
    "route.sign_up": Rule(None),
    "route.sign_in": Rule(None),
    "route.recover": Rule(None),
    "route.demo": Rule(None),
    "route.demo_enter": Rule(None),
    "route.sign_out": Rule(EVERYBODY, csrf=True),
    "route.sign_out_everywhere": Rule(EVERYBODY, csrf=True),
    "route.ticket": Rule(EVERYBODY, csrf=True),
    "route.commands": Rule(EVERYBODY, csrf=True),
    "route.help": Rule(EVERYBODY, csrf=True),
    "route.rooms": Rule(_POSTING),
    "route.room": Rule(_POSTING),
    "route.message": Rule(_POSTING),
    "route.send": Rule(_POSTING, csrf=True),
    "route.edit": Rule(_POSTING, csrf=True),
    "route.remove": Rule(_POSTING, csrf=True),
    "route.report": Rule(_POSTING, csrf=True),
    "route.staff": Rule(EVERYBODY - MEMBERS),
    "route.console": Rule(CASE_STAFF),
    "route.on_call": Rule(CASE_STAFF),
    "route.case": Rule(CASE_STAFF),
    "route.act": Rule(CASE_STAFF, csrf=True),
    "route.replay": Rule(LEADS),
    "route.review": Rule(MODERATION),
    "route.review_judge": Rule(MODERATION, csrf=True),
    "route.quality": Rule(LEADS),
    "route.rota": Rule(MODERATION | ADMINS),
    "route.rota_change": Rule(ROTA_KEEPERS, csrf=True),
    "route.rota_own": Rule(MODERATION, csrf=True),
    "route.words": Rule(MODERATION),
    "route.words_text": Rule(LEADS),
    "route.words_try": Rule(MODERATION, csrf=True),
    "route.words_propose": Rule(MODERATION, csrf=True),
    "route.words_decide": Rule(LEADS, csrf=True),
}
_ADMIN: Final = {
    "admin.set_role": Rule(ADMINS, csrf=True),
    "admin.disable_account": Rule(ADMINS, csrf=True),
}

POLICY: Final[Mapping[str, Rule]] = MappingProxyType({**_FRAMES, **_ROUTES, **_ADMIN})

# Community staff never read therapy, and therapists never read what the community tells its moderators.
_FOLLOW: Final[Mapping[FeedKind, frozenset[Role]]] = MappingProxyType(
    {
        FeedKind.COMMUNITY: MODERATION | MEMBERS,
        FeedKind.GROUP: MODERATION | MEMBERS | {Role.FACILITATOR},
        FeedKind.THERAPY: MEMBERS | {Role.THERAPIST},
        FeedKind.SUPPORT: MODERATION | MEMBERS,
        FeedKind.INBOX: EVERYBODY,
        FeedKind.STAFF_MODERATION: frozenset({Role.MODERATOR, Role.MODERATOR_LEAD, Role.CLINICAL_LEAD}),
        FeedKind.STAFF_CLINICAL: CLINICAL,
        FeedKind.STAFF_LEAD: frozenset({Role.CLINICAL_LEAD}),
    }
)


def require(requester: Requester | None, operation: str) -> Rule:
    """Let the operation through for this person's role, or refuse.

    Raises:
        NotSignedIn: it needs a session.
        Refused: the role may not, or the operation has no entry.
    """
    rule = POLICY.get(operation)
    if rule is None:
        raise Refused("This can not be done here.")
    if rule.roles is None:
        return rule
    if requester is None:
        raise NotSignedIn("Please sign in.")
    if requester.role not in rule.roles:
        raise Refused("Your account may not do that.")
    return rule


def may_follow(role: Role, kind: FeedKind) -> bool:
    """Whether somebody of that role can follow such a feed at all; membership of the room is asked besides."""
    return role in _FOLLOW[kind]
