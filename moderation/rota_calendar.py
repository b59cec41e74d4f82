"""Somebody's shifts as a calendar that other programs read (iCalendar, RFC 5545).

Written here, without a library: a feed of events in UTC without repeats, zones or alarms is six kinds of line, one rule
for escaping and one for folding; a library for it would bring three more to be pinned and watched.
"""

from collections.abc import Iterable
from datetime import datetime

from moderation.rota import Shift

_STAMP = "%Y%m%dT%H%M%SZ"
# RFC 5545, 3.1: a line has at most 75 octets, its end not counted.
_LINE_BYTES = 75


def calendar(shifts: Iterable[Shift], name: str, now: datetime) -> str:
    """These shifts as a calendar called `name`, with line ends CRLF; times in UTC, which no change of clocks moves.

    An event's UID holds for as long as its person, role and beginning do, so that a program that reads the feed again
    moves its end and doubles nothing. It says the role and nothing of any case.
    """
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Evenkeel//rota//EN", "CALSCALE:GREGORIAN"]
    lines.append(f"X-WR-CALNAME:{_text(name)}")
    for shift in shifts:
        lines += [
            "BEGIN:VEVENT",
            f"UID:{shift.account}-{shift.role}-{shift.starts_at:{_STAMP}}@evenkeel",
            f"DTSTAMP:{now:{_STAMP}}",
            f"DTSTART:{shift.starts_at:{_STAMP}}",
            f"DTEND:{shift.ends_at:{_STAMP}}",
            f"SUMMARY:{_text('On duty: ' + shift.role.replace('_', ' '))}",
            "END:VEVENT",
        ]
    lines.append("END:VCALENDAR")
    return "".join(f"{folded}\r\n" for line in lines for folded in _folded(line))


def _text(value: str) -> str:
    """A value of type TEXT (RFC 5545, 3.3.11)."""
    escaped = value.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    return escaped.replace("\r\n", "\\n").replace("\n", "\\n").replace("\r", "\\n")


def _folded(line: str) -> list[str]:
    """The line in pieces that are short enough, each but the first behind a space; no character is cut in two."""
    pieces, piece = [], ""
    for character in line:
        if len((piece + character).encode()) > _LINE_BYTES:
            pieces.append(piece)
            piece = " "
        piece += character
    return [*pieces, piece]
