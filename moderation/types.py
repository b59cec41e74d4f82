"""The words that the filter, the server and the screens share about one screened text.

Decided here: the names and the shape of a verdict. Not decided here: what is found (watchwords), what follows from it
(policy) and whom it reaches (ladders).
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

SCHEMA = 1
# The entry id of the finding that a text is in a language which no list reads.
UNREADABLE = "unreadable"


class Level(IntEnum):
    """How soon a person must look at one message. It describes the message, never its author."""

    NONE = 0
    GREY = 1
    HIGH_NEED = 2
    URGENT = 3


class Category(StrEnum):
    """What a message may be about. The letters are those of the lists and of the labelling guide."""

    SUICIDE = "S"
    SELF_HARM = "H"
    OVERDOSE = "O"
    VIOLENCE = "V"
    ABUSE = "A"
    EATING = "E"
    CRISIS = "C"
    GROOMING = "G"
    CONTACT = "P"
    HARASSMENT = "X"


class RoomKind(StrEnum):
    """Where a text was written. SUPPORT is the private room of one member and the moderation team."""

    COMMUNITY = "community"
    GROUP = "group"
    THERAPY = "therapy"
    SUPPORT = "support"


class TextKind(StrEnum):
    """Which free-text field of the service a text came from."""

    MESSAGE = "message"
    NICKNAME = "nickname"
    REPORT = "report"
    HELP = "help"
    STAFF_NOTE = "staff_note"
    JOURNAL = "journal"
    PLAN = "plan"
    ANSWER = "answer"


class Role(StrEnum):
    """What an account may be in the service."""

    MEMBER = "member"
    MODERATOR = "moderator"
    MODERATOR_LEAD = "moderator_lead"
    THERAPIST = "therapist"
    FACILITATOR = "facilitator"
    CLINICIAN = "clinician"
    CLINICAL_LEAD = "clinical_lead"
    ADMIN = "admin"


class Disposition(StrEnum):
    """What happens to a text, from the mildest to the strictest."""

    PUBLISH = "publish"
    FLAG = "flag"
    MASK = "mask"
    HOLD = "hold"
    REFUSE = "refuse"

    @property
    def strictness(self) -> int:
        """The place in the order above: where several findings disagree, the highest wins."""
        return _STRICTNESS[self]


_STRICTNESS = {disposition: place for place, disposition in enumerate(Disposition)}


@dataclass(frozen=True, slots=True)
class Submission:
    """A text on its way into the service. `room_kind` is None for texts that belong to no room (a nickname, a
    journal).
    """

    text: str
    text_kind: TextKind
    room_kind: RoomKind | None
    author_role: Role

    def __repr__(self) -> str:
        """Say where the text came from, and never what it says: a repr ends up in logs."""
        return f"Submission(text=<{len(self.text)} characters>, {self.text_kind}, {self.room_kind}, {self.author_role})"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that one check noticed; it never carries the text.

    `start` and `end` are half-open offsets into the original text, in code points; both are 0 where the finding is
    about the text as a whole. `category` is None for a finding about the screening itself (a failed check, a language
    that it can not read). `reason` is plain words for moderators, or the code of a failed check.
    """

    check: str
    category: Category | None
    level: Level
    entry_id: str
    start: int
    end: int
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """All that screening has to say of one text. `complete` is False if any check did not run to its end.

    `categories` are those of the findings, the most serious first, each once. For MASK, `mask_spans` says what
    members must not see. `score` orders texts within and across levels, kept to hundredths and never rounded up: its
    whole part is the level of what the lists and their model found.
    """

    level: Level
    categories: tuple[Category, ...]
    findings: tuple[Finding, ...]
    disposition: Disposition
    list_version: str
    policy_version: str
    complete: bool
    score: float = 0.0
    schema: int = SCHEMA

    @property
    def is_unreadable(self) -> bool:
        """Whether a person must read it: it is in a language that nothing here reads, or was not read to its end."""
        return any(finding.entry_id == UNREADABLE for finding in self.findings)

    @property
    def mask_spans(self) -> tuple[tuple[int, int], ...]:
        """Half-open, ordered, disjoint spans of the contact details; empty unless the disposition is MASK."""
        if self.disposition is not Disposition.MASK:
            return ()
        merged: list[tuple[int, int]] = []
        for start, end in sorted((f.start, f.end) for f in self.findings if f.category is Category.CONTACT):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], end))
            elif end > start:
                merged.append((start, end))
        return tuple(merged)

    def to_json(self) -> str:
        """The compact form that is stored with the message; `from_json` gives an equal verdict back."""
        return _to_json(self)

    @classmethod
    def from_json(cls, stored: str) -> "Verdict":
        """The verdict that `to_json` wrote.

        Raises:
            ValueError: the text is not a stored verdict, or was written by a newer schema than this program knows.
        """
        try:
            data: Mapping[str, Any] = json.loads(stored)
            if data["v"] != SCHEMA:
                raise ValueError(f"verdict schema {data['v']} is not {SCHEMA}: upgrade this program before reading it")
            return cls(
                level=Level(data["l"]),
                categories=tuple(Category(letter) for letter in data["c"]),
                findings=tuple(
                    Finding(check, Category(letter) if letter else None, Level(level), entry_id, start, end, reason)
                    for check, letter, level, entry_id, start, end, reason in data["f"]
                ),
                disposition=Disposition(data["d"]),
                list_version=data["lv"],
                policy_version=data["pv"],
                complete=data["ok"],
                score=float(data.get("s", 0.0)),
            )
        except (KeyError, TypeError) as error:
            raise ValueError("not a stored verdict: a field is missing or has the wrong shape") from error


@functools.lru_cache(1024)
def _to_json(verdict: Verdict) -> str:
    """Remembered, because nearly every message has one of a few verdicts: nothing found, and how nearly."""
    return json.dumps(
        {
            "v": verdict.schema,
            "l": int(verdict.level),
            "c": "".join(verdict.categories),
            "f": [
                [f.check, f.category or "", int(f.level), f.entry_id, f.start, f.end, f.reason]
                for f in verdict.findings
            ],
            "d": verdict.disposition,
            "lv": verdict.list_version,
            "pv": verdict.policy_version,
            "ok": verdict.complete,
            "s": verdict.score,
        },
        separators=(",", ":"),
        ensure_ascii=False,
    )
