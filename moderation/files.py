"""Reading a versioned policy file, so that every complaint names the file, the line and the cure."""

import tomllib
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any


class PolicyError(ValueError):
    """A policy file that can not be used: `file:line: what is wrong; what to do`."""


@dataclass(frozen=True, slots=True)
class Header:
    """Who answers for a policy file, and until when."""

    name: str
    version: int
    owner: str
    review_date: date

    @property
    def label(self) -> str:
        """The version as it is stored with each verdict or obligation."""
        return f"{self.name}-{self.version}"


class PolicyFile:
    """One parsed TOML file that remembers on which line each of its tables begins."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            source = path.read_text(encoding="utf-8")
        except OSError as error:
            raise PolicyError(
                f"{path}: can not be read ({error.strerror}); restore the file or correct its path"
            ) from error
        self._lines = source.splitlines()
        try:
            self.data: dict[str, Any] = tomllib.loads(source)
        except tomllib.TOMLDecodeError as error:
            raise PolicyError(f"{path}: not valid TOML: {error}; correct that line") from error

    def line_of(self, table: str, index: int = 0) -> int:
        """The 1-based line on which the `index`-th `[table]` or `[[table]]` begins; 1 if there is none."""
        heads = [
            n for n, line in enumerate(self._lines, 1) if line.strip().strip("[]").strip() == table and "[" in line
        ]
        return heads[index] if index < len(heads) else 1

    def fault(self, table: str, index: int, what: str) -> PolicyError:
        """The error to raise for one table; `what` says what is wrong and what to do."""
        return PolicyError(f"{self.path}:{self.line_of(table, index)}: {what}")

    def header(self) -> Header:
        """The `[policy]` table, checked."""
        head = self.data.get("policy", {})
        match head:
            case {"name": str(name), "version": int(version), "owner": str(owner), "review_date": date() as review}:
                if name and owner and version > 0:
                    return Header(name, version, owner, review)
        raise self.fault("policy", 0, "[policy] needs name, version (1 or more), owner and review_date; add them")
