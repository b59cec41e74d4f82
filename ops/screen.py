"""`evenkeel watchwords screen`: one text through the filter as it is configured, for whoever looks after the lists."""

from __future__ import annotations

from typing import Any

from moderation.types import Role, RoomKind, TextKind
from server.errors import BadRequest
from server.main import build_screening
from server.settings import load_settings


def screen_text(text: str, room: str, role: str) -> dict[str, Any]:
    """The verdict on `text` as plain values. Raises BadRequest for a room or role that does not exist."""
    try:
        where, who = RoomKind(room), Role(role)
    except ValueError:
        raise BadRequest("Choose a room kind and a role that exist; --help lists them.") from None
    verdict = build_screening(load_settings()).screen(text, TextKind.MESSAGE, where, who)
    return {
        "level": int(verdict.level),
        "disposition": verdict.disposition.value,
        "complete": verdict.complete,
        "lists": verdict.list_version,
        "findings": [
            {
                "check": found.check,
                "category": found.category.value if found.category else None,
                "level": int(found.level),
                "entry": found.entry_id,
                "start": found.start,
                "end": found.end,
                "reason": found.reason,
            }
            for found in verdict.findings
        ],
    }
