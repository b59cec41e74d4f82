"""Who lives in the demonstration, and where they talk. Nobody here is real."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from moderation.types import Role


@dataclass(frozen=True, slots=True)
class InventedRoom:
    """A community room. `key` names it in `talk.txt` and `stories.toml`; `night`: people talk there by night."""

    key: str
    name: str
    purpose: str
    night: bool = False


@dataclass(frozen=True, slots=True)
class Door:
    """Somebody whom the visitor can be.

    Attributes:
        host: the name by which their window reaches this machine; each has another, so that one browser keeps their
            cookies apart. Browsers take every name under `localhost` for this machine.
        start: the page on which they begin.
    """

    name: str
    role: Role
    label: str
    hint: str
    host: str
    start: str

    def origin(self, port: int) -> str:
        return f"http://{self.host}:{port}"


ROOMS: Final = (
    InventedRoom("kitchen", "The kitchen table", "Everyday talk, and the kettle is always on."),
    InventedRoom("night", "Night owls", "For when sleep will not come.", night=True),
    InventedRoom("work", "Work and study", "Jobs, courses, going back, getting by."),
    InventedRoom("heavy", "When it feels heavy", "A gentle room for the harder days."),
    InventedRoom("out", "Gardens, dogs and fresh air", "What is growing, and who rolled in what."),
)

DOORS: Final = (
    Door(
        "Bluebell", Role.MEMBER, "Bluebell, a member", "Rooms, help, and what a member is told.", "127.0.0.1", "/rooms"
    ),
    Door("Sam", Role.MODERATOR, "Sam, a moderator", "The queue of cases.", "localhost", "/staff/console"),
    Door(
        "Dr Hughes",
        Role.CLINICIAN,
        "Dr Hughes, on-call clinician",
        "Rings when a moderator has not answered.",
        "clinician.localhost",
        "/staff/on-call",
    ),
    Door(
        "Jo",
        Role.MODERATOR_LEAD,
        "Jo, who leads the moderators",
        "Tries and signs changes of the watchword lists.",
        "lead.localhost",
        "/staff/watchwords",
    ),
    Door(
        "Dr Adeyemi",
        Role.CLINICAL_LEAD,
        "Dr Adeyemi, clinical lead",
        "Signs them too: no change without both.",
        "clinical-lead.localhost",
        "/staff/watchwords",
    ),
)

VISITOR: Final = "Bluebell"
# They talk all day long.
CHATTERS: Final = ("Marmalade", "Teapot", "Otter", "Biscuit", "Lark", "Fern", "Pebble", "Juniper")
# They have a hard day in turn; none of them also talks about biscuits meanwhile.
TROUBLED: Final = ("Robin Redbreast", "Quiet Harbour", "Wren", "Hazel", "Moth")
# They have been here before, and are not at home now.
OTHERS: Final = (
    *("Puffin", "Willow", "Barnacle", "Clover", "Thimble", "Heron", "Saffron", "Rowan", "Bramble", "Skylark", "Toffee"),
    *("Mossy Wall", "Red Kite", "Soup Spoon", "Plum", "Sparrow", "Driftwood", "Honeycomb", "Lantern", "Old Oak"),
    *("Cardigan", "Tangerine", "Windmill", "Periwinkle", "Dandelion", "Foxglove"),
)
MEMBERS: Final = (VISITOR, *CHATTERS, *TROUBLED, *OTHERS)

# The moderator who is a program, and steps in when the visitor does not.
STAND_IN: Final = "Alex"
STAFF: Final = (
    ("Sam", Role.MODERATOR),
    (STAND_IN, Role.MODERATOR),
    ("Priya", Role.MODERATOR),
    ("Dr Hughes", Role.CLINICIAN),
    ("Jo", Role.MODERATOR_LEAD),
    ("Dr Adeyemi", Role.CLINICAL_LEAD),
    ("Morgan", Role.THERAPIST),
)
PROGRAMS: Final = (*CHATTERS, *TROUBLED, STAND_IN)
# On duty as long as the demonstration runs, so that the visitor's windows always ring.
ALWAYS_ON_DUTY: Final = ("Sam", STAND_IN, "Dr Hughes", "Dr Adeyemi")
