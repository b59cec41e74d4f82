"""The catalogue of texts, keyed by code: read once, then looked up.

Decided here: what an unknown code looks like (its own words, never an error). The words themselves are in
`clients/web/texts.toml`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from server.errors import Misconfigured


class Texts:
    """Every text by "section.code"."""

    def __init__(self, sections: Mapping[str, Mapping[str, str]]) -> None:
        self._sections = {name: dict(texts) for name, texts in sections.items()}

    @classmethod
    def load(cls, path: Path) -> Texts:
        """Read the catalogue.

        Raises:
            Misconfigured: the file is missing, is not TOML, or holds something other than sections of texts.
        """
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise Misconfigured("The catalogue of texts can not be read.") from error
        for section in raw.values():
            if not isinstance(section, dict) or not all(isinstance(text, str) for text in section.values()):
                raise Misconfigured("The catalogue of texts may hold sections of texts only.")
        return cls(raw)

    def __call__(self, code: str, **values: object) -> str:
        """The text for `code` with {names} filled in; for an unknown code, its own words."""
        text = self.maybe(code)
        if text is None:
            text = code.partition(".")[2].replace("_", " ")
        for name, value in values.items():
            text = text.replace("{" + name + "}", str(value))
        return text

    def maybe(self, code: str) -> str | None:
        section, _, name = code.partition(".")
        return self._sections.get(section, {}).get(name)

    def section(self, name: str) -> Mapping[str, str]:
        return self._sections.get(name, {})

    def sections(self, *names: str) -> dict[str, Mapping[str, str]]:
        """The part of the catalogue that a page hands to its modules."""
        return {name: self.section(name) for name in names}
