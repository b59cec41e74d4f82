"""What happens to a text, given what was found in it: a table in a file, not code.

Decided here: how the table is read, checked and asked. The decisions themselves are in `policies/disposition.toml`,
each with its reason. At load the table is worked out for every combination, so a hole is found then and an answer is
one look-up.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from moderation.files import Header, PolicyFile
from moderation.types import Category, Disposition, Finding, Level, Role, RoomKind, Submission, TextKind

DISPOSITION = Path(__file__).parent / "policies" / "disposition.toml"

# A person in danger who is turned away may not come back; these are never refused in anything that a person has to say.
_DISCLOSURES = frozenset(Category) - {Category.CONTACT, Category.HARASSMENT}
_FIELDS = {
    "id",
    "reason",
    "disposition",
    "categories",
    "min_level",
    "room_kinds",
    "text_kinds",
    "author_roles",
    "complete",
    "entry_prefix",
}

_Key = tuple[Category | None, Level, RoomKind | None, TextKind, Role, bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table. An empty set means "any"; `complete` None means either.

    `entry_prefix` narrows the row to findings of list entries whose id begins so (methods, for instance).
    """

    id: str
    disposition: Disposition
    reason: str
    categories: frozenset[Category]
    min_level: Level
    room_kinds: frozenset[RoomKind | None]
    text_kinds: frozenset[TextKind]
    author_roles: frozenset[Role]
    complete: bool | None
    entry_prefix: str

    def holds_for(self, key: _Key, entry_id: str = "") -> bool:
        """True if this row answers for the combination; `entry_id` is the list entry's, or empty."""
        category, level, room_kind, text_kind, role, complete = key
        return (
            (not self.categories or category in self.categories)
            and level >= self.min_level
            and (not self.room_kinds or room_kind in self.room_kinds)
            and (not self.text_kinds or text_kind in self.text_kinds)
            and (not self.author_roles or role in self.author_roles)
            and self.complete in (None, complete)
            and entry_id.startswith(self.entry_prefix)
        )


class DispositionPolicy:
    """The table of dispositions, loaded and checked to answer every combination."""

    def __init__(self, header: Header, rules: tuple[Rule, ...], table: dict[_Key, Rule]) -> None:
        self.version = header.label
        self.header = header
        self.rules = rules
        self._table = table
        self._special = tuple(rule for rule in rules if rule.entry_prefix)

    @classmethod
    def load(cls, path: Path = DISPOSITION) -> "DispositionPolicy":
        """The policy in the file at `path`.

        Raises:
            PolicyError: with file and line: an unknown field or value, a combination without an answer, a row that
                can never answer, or a row that would refuse a disclosure.
        """
        file = PolicyFile(path)
        header = file.header()
        tables = file.data.get("rule", [])
        rules = tuple(_rule(file, index, table) for index, table in enumerate(tables))
        general = [rule for rule in rules if not rule.entry_prefix]
        table: dict[_Key, Rule] = {}
        for key in _combinations():
            rule = next((rule for rule in general if rule.holds_for(key)), None)
            if rule is None:
                words = ", ".join(str(part) for part in key)
                raise file.fault(
                    "policy", 0, f"no rule answers for ({words}); add one, or a last rule without conditions"
                )
            table[key] = rule
        answering = {rule.id for rule in table.values()}
        for index, rule in enumerate(rules):
            if not rule.entry_prefix and rule.id not in answering:
                raise file.fault(
                    "rule", index, f"{rule.id}: earlier rules answer all it asks for; move it up or remove it"
                )
            if rule.disposition is Disposition.REFUSE and any(
                key[0] in _DISCLOSURES and key[3] is not TextKind.NICKNAME
                for key in (table if not rule.entry_prefix else _combinations())
                if (rule.holds_for(key, rule.entry_prefix) if rule.entry_prefix else table[key] is rule)
            ):
                raise file.fault(
                    "rule", index, f"{rule.id}: a disclosure is never refused; narrow its categories or kinds"
                )
        return cls(header, rules, table)

    def disposition(self, submission: Submission, findings: Iterable[Finding], complete: bool) -> Disposition:
        """The strictest disposition that any finding calls for; without findings, that of a clean text."""
        room, kind, role = submission.room_kind, submission.text_kind, submission.author_role
        answer = self._table[None, Level.NONE, room, kind, role, complete].disposition
        for finding in findings:
            if finding.level is Level.NONE:
                continue
            found = self.rule_for((finding.category, finding.level, room, kind, role, complete), finding.entry_id)
            if found.disposition.strictness > answer.strictness:
                answer = found.disposition
        return answer

    def rule_for(self, key: _Key, entry_id: str = "") -> Rule:
        """The first row that answers: key is (category, level, room kind, text kind, author role, complete)."""
        general = self._table[key]
        for rule in self._special:
            if self.rules.index(rule) < self.rules.index(general) and rule.holds_for(key, entry_id):
                return rule
        return general


def _combinations() -> Iterable[_Key]:
    """Every question that the table can be asked: no finding at all, one about the screening itself, or one of a
    category at a level."""
    found: list[tuple[Category | None, Level]] = [(None, Level.NONE), (None, Level.HIGH_NEED)]
    found += product(Category, (Level.GREY, Level.HIGH_NEED, Level.URGENT))
    for (category, level), room, kind, role, complete in product(
        found, (*RoomKind, None), TextKind, Role, (True, False)
    ):
        yield category, level, room, kind, role, complete


def _rule(file: PolicyFile, index: int, table: dict[str, Any]) -> Rule:
    """One checked row; raises PolicyError with its line."""
    name = table.get("id")
    if not isinstance(name, str) or not name or not isinstance(table.get("reason"), str):
        raise file.fault("rule", index, "a rule needs an id and a reason in plain words; add them")
    if unknown := set(table) - _FIELDS:
        raise file.fault("rule", index, f"{name}: unknown field {', '.join(sorted(unknown))}; correct or remove it")
    try:
        rule = Rule(
            id=name,
            disposition=Disposition(table.get("disposition", "")),
            reason=table["reason"],
            categories=frozenset(Category(letter) for letter in table.get("categories", ())),
            min_level=Level(table.get("min_level", 0)),
            room_kinds=frozenset(None if kind == "none" else RoomKind(kind) for kind in table.get("room_kinds", ())),
            text_kinds=frozenset(TextKind(kind) for kind in table.get("text_kinds", ())),
            author_roles=frozenset(Role(role) for role in table.get("author_roles", ())),
            complete=table.get("complete"),
            entry_prefix=table.get("entry_prefix", ""),
        )
    except ValueError as error:
        raise file.fault("rule", index, f"{name}: {error}; use one of the known names") from error
    if rule.complete not in (None, True, False):
        raise file.fault("rule", index, f"{name}: complete must be true or false; correct it")
    return rule
