"""The written material of the demonstration, read and checked: conversations, stories, replies.

The texts themselves lie in `talk.txt` and `stories.toml`, for people to read and correct.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from ops.demo.people import ROOMS

FOLDER: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a conversation: which of its people (0, 1, ...) says what."""

    part: int
    text: str


Conversation = tuple[Line, ...]


class Story(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text that the filter notices: `level` 1 to 3; `held`: members do not see it until somebody has looked."""

    room: str
    text: str
    level: int
    held: bool


class FlaggedStory(Story, frozen=True, forbid_unknown_fields=True):
    """A story that the room sees, and what others of the room answer."""

    comfort: tuple[str, ...]


class PastStory(Story, frozen=True, forbid_unknown_fields=True):
    """A story that was over before the demonstration began, with how it ended."""

    note: str
    outcome: str
    hours_ago: float
    reply: str = ""
    answer: str = ""


class _Lines(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    lines: tuple[str, ...]


class ByLevel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text for each level."""

    urgent: str
    high: str
    grey: str

    def of(self, level: int) -> str:
        return {3: self.urgent, 2: self.high}.get(level, self.grey)


class Stories(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of `stories.toml`."""

    flagged: tuple[FlaggedStory, ...]
    urgent: tuple[Story, ...]
    past: tuple[PastStory, ...]
    replies: ByLevel
    notes: ByLevel
    answers: _Lines
    greetings: _Lines


def load_talk(path: Path = FOLDER / "talk.txt") -> Mapping[str, tuple[Conversation, ...]]:
    """The conversations of each room by its key. Raises ValueError, with the line, for a file that can not be read."""
    talk: dict[str, list[Conversation]] = {room.key: [] for room in ROOMS}
    room = ""
    lines: list[Line] = []
    for number, raw in enumerate((*path.read_text(encoding="utf-8").splitlines(), ""), start=1):
        text = raw.strip()
        if text and not text.startswith(("=", "#")):
            part, _, said = text.partition(" ")
            if len(part) != 1 or not "A" <= part <= "D" or not said or not room:
                raise ValueError(f"{path.name}, line {number}: write 'A What they say', below a '= room'")
            lines.append(Line(ord(part) - ord("A"), said))
            continue
        if lines:
            talk[room].append(tuple(lines))
            lines = []
        if text.startswith("="):
            room = text[1:].strip()
            if room not in talk:
                raise ValueError(f"{path.name}, line {number}: there is no room {room!r}")
    return {key: tuple(conversations) for key, conversations in talk.items()}


def load_stories(path: Path = FOLDER / "stories.toml") -> Stories:
    """The stories. Raises ValueError for a file that is not as `Stories` says, or that names an unknown room."""
    raw: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    try:
        stories = msgspec.convert(raw, Stories)
    except msgspec.ValidationError as error:
        raise ValueError(f"{path.name}: {error}") from None
    unknown = {s.room for s in (*stories.flagged, *stories.urgent, *stories.past)} - {room.key for room in ROOMS}
    if unknown:
        raise ValueError(f"{path.name}: no such rooms: {', '.join(sorted(unknown))}")
    return stories
