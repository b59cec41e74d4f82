"""How a person on duty is called: a port, and what a call may answer.

When and whom to call is decided by `moderation.ladders`; this module only carries it out. A notice never holds a
member's words or name: a level, where to look, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import structlog

log = structlog.get_logger()


class Delivery(StrEnum):
    """What became of one attempt. Only a person's acknowledgement ends a ladder; none of these does."""

    SENT = "sent"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Notice:
    """One call to one person: about a case, or, where `case` is "", the question whether they can be reached.

    Attributes:
        obligation: what is called for; of a question, its own id.
        attempt: 1 for the first; the same notice may arrive twice after a crash, never not at all.
        late: it fell due long before it could be sent.
    """

    id: str
    case: str
    obligation: str
    recipient: str
    level: int
    rung: str
    due_at: datetime
    attempt: int
    late: bool


class Notifier(Protocol):
    """One channel. Implementations: the person's own page (`actions.escalation`), the operator's terminal."""

    async def send(self, notice: Notice) -> Delivery:
        """Try once, within the caller's time limit; say what is known of it. Never raises for a failed delivery."""


class TerminalNotifier:
    """Writes one line to the operator's log for each call, ids only: a second channel where nothing else is set up."""

    async def send(self, notice: Notice) -> Delivery:
        written = log.warning(
            "person_called",
            notice=notice.id,
            case=notice.case,
            recipient=notice.recipient,
            level=notice.level,
            rung=notice.rung,
            late=notice.late,
        )
        # The worker's log says whether the line was written (`server.worker.Lines`); no other log does.
        return Delivery.FAILED if written is False else Delivery.SENT
