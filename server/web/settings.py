"""What the web edge has to be told: where it is reached, its secret, its files, its name."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from server.actions.services import Services
from server.auth.requester import Role


@dataclass(frozen=True, slots=True)
class DemoDoor:
    """One invented person whom a demonstration lets a visitor be.

    Attributes:
        origin: "http://host:port" to enter by, so that each person has a cookie of their own; "" for this one.
        start: the page on which they begin; "" for that of their role.
    """

    role: Role
    label: str
    hint: str
    pseudonym: str
    password: str = field(repr=False)
    origin: str = ""
    start: str = ""

    @property
    def key(self) -> str:
        return self.role.value


@dataclass(frozen=True, slots=True)
class WebSettings:
    """Settings of the web edge.

    Attributes:
        hosts: exact values of the Host header that are answered, with port ("chat.example.org", "localhost:8000").
        origins: exact values of the Origin header that may change anything.
        tls: browsers reach this service by https; then the cookie is Secure and named `__Host-evenkeel`.
        secret: at least 32 bytes; signs the tokens in forms.
        web: the folder of templates, texts and built assets.
        rules_version: version of the house rules that joining accepts.
        quick_exit_url: the neutral page that the way out leads to.
        trusted_proxies: peers whose X-Forwarded-For is believed.
        doors: who may be entered without a password; empty outside a demonstration.
    """

    hosts: frozenset[str]
    origins: frozenset[str]
    tls: bool
    secret: bytes = field(repr=False)
    web: Path
    rules_version: str
    service_name: str = "Evenkeel"
    quick_exit_url: str = "https://www.bbc.co.uk/weather"
    trusted_proxies: tuple[str, ...] = ()
    doors: tuple[DemoDoor, ...] = ()

    @classmethod
    def of(cls, services: Services, web: Path, doors: tuple[DemoDoor, ...] = ()) -> WebSettings:
        """The settings of a running service; `web` is the folder of templates, texts and built assets."""
        settings = services.settings
        door_origins = {door.origin for door in doors if door.origin}
        return cls(
            hosts=settings.allowed_hosts | {origin.partition("://")[2] for origin in door_origins},
            origins=settings.allowed_origins | door_origins,
            tls=settings.tls,
            secret=services.secret,
            web=web,
            rules_version=settings.rules_version,
            service_name=settings.service_name,
            trusted_proxies=settings.trusted_proxies,
            doors=doors,
        )

    @property
    def demo(self) -> bool:
        return bool(self.doors)

    @property
    def cookie(self) -> str:
        return "__Host-evenkeel" if self.tls else "evenkeel"
