"""What the bots will say, and when: the same for the same seed. Pure; `simulator` carries it out.

Decided here: the rhythm. Somebody says something every few seconds; now and then a slip of the pen; and the story: at
15 s something worrying, at 25 s something urgent, and again with other people every few minutes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from ops.demo.people import CHATTERS, ROOMS, TROUBLED
from ops.demo.texts import Conversation, FlaggedStory, Stories, Story

FIRST_S: Final = 2.0
GAP_S: Final = (1.5, 3.0)
FLAGGED_AT_S: Final = 15.0
URGENT_AT_S: Final = 25.0
AGAIN_EVERY_S: Final = 240.0
# Of each room's conversations so many were not used for its past (`seed`): they are the first to be heard live.
KEPT_FOR_NOW: Final = 2
_REPLIES: Final = 0.2
_SLIPS: Final = 0.06
_PUT_RIGHT: Final = 0.4

Kind = Literal["talk", "flagged", "urgent"]


@dataclass(frozen=True, slots=True)
class Said:
    """One message.

    Attributes:
        n: 0, 1, ... in the order of time.
        at_s: seconds since the demonstration began.
        reply_to: `n` of the message that it answers.
    """

    n: int
    at_s: float
    room: str
    who: str
    text: str
    kind: Kind = "talk"
    reply_to: int | None = None


@dataclass(slots=True)
class _Chat:
    """One room: the conversation that is going on there and those to come."""

    conversations: list[Conversation]
    people: list[str]
    place: int = 0
    line: int = 0
    last: tuple[int, str] | None = None
    slip: str | None = None
    comfort: list[tuple[int, str]] = field(default_factory=list)


def split(conversations: tuple[Conversation, ...]) -> tuple[tuple[Conversation, ...], tuple[Conversation, ...]]:
    """The conversations of a room's past, and those kept to be heard first when a visitor comes."""
    return conversations[:-KEPT_FOR_NOW], conversations[-KEPT_FOR_NOW:]


def script(talk: Mapping[str, tuple[Conversation, ...]], stories: Stories, seed: int) -> Iterator[Said]:
    """Everything that will be said, in order, without end."""
    dice = random.Random(seed)  # noqa: S311 - a story, not a secret
    chats = {room.key: _chat(talk[room.key], dice) for room in ROOMS}
    chatting = _talk(chats, dice)
    worries = _worries(stories)
    n, at_s = 0, FIRST_S
    worry_at_s, kind, who, story = next(worries)
    while True:
        if worry_at_s <= at_s:
            yield Said(n, worry_at_s, story.room, who, story.text, kind)
            if isinstance(story, FlaggedStory):
                chats[story.room].comfort = [(n, text) for text in story.comfort]
            worry_at_s, kind, who, story = next(worries)
        else:
            room, speaker, text, reply_to = next(chatting)
            chats[room].last = (n, speaker)
            yield Said(n, at_s, room, speaker, text, reply_to=reply_to)
            at_s = round(at_s + dice.uniform(*GAP_S), 3)
        n += 1


def _worries(stories: Stories) -> Iterator[tuple[float, Kind, str, Story]]:
    """The story, again and again; a person comes back to it only after everybody else."""
    turn = 0
    while True:
        began_s = turn * AGAIN_EVERY_S
        flagged, urgent = (TROUBLED[(2 * turn + k) % len(TROUBLED)] for k in (0, 1))
        yield began_s + FLAGGED_AT_S, "flagged", flagged, stories.flagged[turn % len(stories.flagged)]
        yield began_s + URGENT_AT_S, "urgent", urgent, stories.urgent[turn % len(stories.urgent)]
        turn += 1


def _chat(conversations: tuple[Conversation, ...], dice: random.Random) -> _Chat:
    past, now = split(conversations)
    return _Chat([*dice.sample(now, len(now)), *dice.sample(past, len(past))], dice.sample(CHATTERS, 4))


def _talk(chats: dict[str, _Chat], dice: random.Random) -> Iterator[tuple[str, str, str, int | None]]:
    """Room, speaker, text and what it answers: now here, now there."""
    while True:
        # Whoever is not well is answered before anything else is said.
        room = next((key for key, chat in chats.items() if chat.comfort), None) or dice.choice(list(chats))
        chat = chats[room]
        if chat.comfort:
            answers, text = chat.comfort.pop(0)
            chat.slip = None
            yield room, chat.people[len(chat.comfort)], text, answers
            continue
        if chat.slip is not None and chat.last is not None:
            text, chat.slip = chat.slip, None
            yield room, chat.last[1], text, None
            continue
        conversation = chat.conversations[chat.place]
        line = conversation[chat.line]
        speaker = chat.people[line.part]
        reply_to = None
        if chat.line > 0 and chat.last is not None and chat.last[1] != speaker and dice.random() < _REPLIES:
            reply_to = chat.last[0]
        text, chat.slip = _slip(line.text, dice)
        chat.line += 1
        if chat.line == len(conversation):
            chat.line, chat.place = 0, (chat.place + 1) % len(chat.conversations)
            chat.people = dice.sample(CHATTERS, 4)
        yield room, speaker, text, reply_to


def _slip(text: str, dice: random.Random) -> tuple[str, str | None]:
    """Now and then two letters change places; sometimes it is noticed: the second value puts it right."""
    words = text.split(" ")
    long = [place for place, word in enumerate(words) if len(word) > 4 and word.isalpha() and word.islower()]
    if not long or dice.random() >= _SLIPS:
        return text, None
    place = dice.choice(long)
    word = words[place]
    at = dice.randrange(1, len(word) - 2)
    words[place] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if words[place] == word:
        return text, None
    return " ".join(words), f"*{word}" if dice.random() < _PUT_RIGHT else None
