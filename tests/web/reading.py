"""Reading a page as a browser would: its text, its forms, its tags."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class Form:
    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.forms: list[Form] = []
        self.by_class: dict[str, list[str]] = {}
        self._open: list[tuple[str, list[str]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append((tag, given))
        if tag == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "get")))
        elif tag in ("input", "textarea", "select") and any(name == "form" for name, _ in self._open):
            unticked = given.get("type") in ("radio", "checkbox") and "checked" not in given
            if "name" in given and not unticked:
                self.forms[-1].fields[given["name"]] = given.get("value", "")
        if tag not in ("input", "link", "meta", "br", "img"):
            classes = given.get("class", "").split()
            for name in classes:
                self.by_class.setdefault(name, []).append("")
            self._open.append((tag, classes))

    def handle_endtag(self, tag: str) -> None:
        while self._open:
            if self._open.pop()[0] == tag:
                return

    def handle_data(self, data: str) -> None:
        self.text += data
        for _, classes in self._open:
            for name in classes:
                self.by_class[name][-1] += data


def read(html: str) -> _Reader:
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader


def form_to(html: str, action: str) -> Form:
    """The form of the page that posts to `action`."""
    return next(form for form in read(html).forms if form.action == action)
