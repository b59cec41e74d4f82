"""What may be done to a case, by whom, and what it becomes.

Pure rules: the server asks them before it writes, and the console draws its buttons from the same answer. A case is
closed only by a named person with an outcome; nothing here closes one because time has passed.
"""

from enum import StrEnum
from types import MappingProxyType

from moderation.types import Level, Role


class CaseState(StrEnum):
    """Where a case stands. ACTED: somebody did something for the member, and nobody has closed the case yet."""

    OPEN = "open"
    CLAIMED = "claimed"
    ACTED = "acted"
    CLOSED = "closed"


class Act(StrEnum):
    """What staff can do to a case. RELEASE_MESSAGE publishes a held message, RELEASE_CLAIM gives the case back."""

    CLAIM = "claim"
    RELEASE_CLAIM = "release_claim"
    REPLY = "reply"
    RELEASE_MESSAGE = "release_message"
    REMOVE_MESSAGE = "remove_message"
    HOLD_MESSAGE = "hold_message"
    ACKNOWLEDGE = "acknowledge"
    ESCALATE = "escalate"
    CLOSE = "close"
    REOPEN = "reopen"


class Outcome(StrEnum):
    """What a closed case came to; a person chooses it."""

    SUPPORTED = "supported"
    NO_CONCERN = "no_concern"
    REMOVED = "removed"
    PASSED_TO_CLINICIAN = "passed_to_clinician"
    EMERGENCY_SERVICES = "emergency_services"
    OTHER = "other"


_MESSAGE_ACTS = (Act.REPLY, Act.RELEASE_MESSAGE, Act.REMOVE_MESSAGE, Act.HOLD_MESSAGE)

# A case in nobody's hands may be claimed, acknowledged (which takes it) or escalated; everything that touches the
# member or the message needs an owner first, so that two people never answer the same cry at once.
_AFTER = MappingProxyType(
    {
        (CaseState.OPEN, Act.CLAIM): CaseState.CLAIMED,
        (CaseState.OPEN, Act.ACKNOWLEDGE): CaseState.CLAIMED,
        (CaseState.OPEN, Act.ESCALATE): CaseState.OPEN,
        (CaseState.CLAIMED, Act.ACKNOWLEDGE): CaseState.CLAIMED,
        (CaseState.CLAIMED, Act.CLAIM): CaseState.CLAIMED,
        (CaseState.CLAIMED, Act.RELEASE_CLAIM): CaseState.OPEN,
        (CaseState.CLAIMED, Act.ESCALATE): CaseState.CLAIMED,
        (CaseState.CLAIMED, Act.CLOSE): CaseState.CLOSED,
        (CaseState.ACTED, Act.ACKNOWLEDGE): CaseState.ACTED,
        (CaseState.ACTED, Act.CLAIM): CaseState.ACTED,
        (CaseState.ACTED, Act.RELEASE_CLAIM): CaseState.OPEN,
        (CaseState.ACTED, Act.ESCALATE): CaseState.ACTED,
        (CaseState.ACTED, Act.CLOSE): CaseState.CLOSED,
        (CaseState.CLOSED, Act.REOPEN): CaseState.OPEN,
        **{(CaseState.CLAIMED, act): CaseState.ACTED for act in _MESSAGE_ACTS},
        **{(CaseState.ACTED, act): CaseState.ACTED for act in _MESSAGE_ACTS},
    }
)

_EVERYTHING = frozenset(Act)
# A facilitator and a therapist answer for their own group or member: they may do all but remove what was said, which
# is a moderator's decision, and but reopen, which a moderator, clinician or lead does.
_OWN_SIDE = _EVERYTHING - {Act.REMOVE_MESSAGE, Act.REOPEN}
_MAY = MappingProxyType(
    {
        Role.MODERATOR: _EVERYTHING,
        Role.MODERATOR_LEAD: _EVERYTHING,
        Role.CLINICIAN: _EVERYTHING,
        Role.CLINICAL_LEAD: _EVERYTHING,
        Role.FACILITATOR: _OWN_SIDE,
        Role.THERAPIST: _OWN_SIDE,
        Role.MEMBER: frozenset[Act](),
        Role.ADMIN: frozenset[Act](),
    }
)
# What may be done to a case that somebody else holds: take it over, or ask for more help. Acknowledging takes
# ownership.
_WITHOUT_CLAIM = frozenset({Act.CLAIM, Act.ACKNOWLEDGE, Act.ESCALATE, Act.REOPEN})


def after(state: CaseState, act: Act) -> CaseState | None:
    """The state that `act` leads to, or None if the act is refused in this state."""
    return _AFTER.get((state, act))


def allowed_acts(state: CaseState, role: Role, claimed_by_me: bool) -> tuple[Act, ...]:
    """The acts that this person may do now, in the order of `Act`; the screen shows these and no others.

    `claimed_by_me` says whether the person asking holds the case. Holding one, there is nothing left to claim.
    """
    may = _MAY[role] if claimed_by_me else _MAY[role] & _WITHOUT_CLAIM
    return tuple(
        act for act in Act if act in may and after(state, act) is not None and not (claimed_by_me and act is Act.CLAIM)
    )


def joined(level_now: Level, level_new: Level) -> Level:
    """The level of a case that another finding joins: it rises with the finding and never falls by itself."""
    return max(level_now, level_new)
