"""What an operator sets, read once from the environment (EVENKEEL_...) and checked before anything starts.

Clinical policy (lists, ladders, dispositions) is not here: it lies in reviewed files with an owner and a date.
"""

from __future__ import annotations

import os
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AliasChoices, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from server.errors import Misconfigured

Role = Literal["hub", "jobs", "all"]
SHORTEST_WATCH_TOKEN = 20
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Settings(BaseSettings):
    """Every setting with its default. Durations are in seconds, sizes in bytes unless the name says otherwise."""

    model_config = SettingsConfigDict(env_prefix="EVENKEEL_", frozen=True, extra="forbid", populate_by_name=True)

    # Addresses may hold a password: never in a repr.
    database_url: str = Field(
        default="sqlite:///var/evenkeel.db",
        validation_alias=AliasChoices("DATABASE_URL", "EVENKEEL_DATABASE_URL"),
        repr=False,
    )
    redis_url: str = Field(default="", validation_alias=AliasChoices("REDIS_URL", "EVENKEEL_REDIS_URL"), repr=False)
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    role: Role = "all"
    key_file: Path = Path("var/evenkeel.key")
    # None: beside the key file. It belongs into no backup of the database (`store.erasures`).
    erasure_ledger: Path | None = None
    # Where signed heads of the audit are published, to be copied elsewhere; None: beside the key file.
    audit_heads: Path | None = None
    # None: see `server.admin.place`.
    admin_socket: Path | None = None
    # What `evenkeel watch` shows to be told what is overdue; "": nobody is.
    watch_token: str = Field(default="", repr=False)
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    origins: Annotated[tuple[str, ...], NoDecode] = ()
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    kind: Literal["production", "demo", "test"] = "production"
    service_name: str = "Evenkeel"
    rules_version: str = "2026-11"
    fallback_people: Annotated[tuple[str, ...], NoDecode] = ()
    session_idle_s: Annotated[int, Field(ge=300)] = 12 * 3600
    session_absolute_s: Annotated[int, Field(ge=300)] = 14 * 24 * 3600
    argon2_memory_kib: Annotated[int, Field(ge=8)] = 19_456
    argon2_passes: Annotated[int, Field(ge=1)] = 2
    screening_deadline_ms: Annotated[int, Field(ge=1, le=1_000)] = 5
    # A slower reading of every message after its acknowledgement, which may raise a level; needs the extra `second`.
    second_stage: bool = False
    ladder_poll_s: Annotated[float, Field(gt=0, le=5)] = 1.0

    @field_validator("database_url")
    @classmethod
    def _database_scheme(cls, value: str) -> str:
        if not value.startswith(("sqlite:///", "postgresql+asyncpg://")):
            raise ValueError("DATABASE_URL begins with sqlite:/// or postgresql+asyncpg://")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis_scheme(cls, value: str) -> str:
        if value and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("REDIS_URL begins with redis://, rediss:// or unix://")
        return value

    @field_validator("watch_token")
    @classmethod
    def _long_enough(cls, value: str) -> str:
        if value and (len(value) < SHORTEST_WATCH_TOKEN or not value.isascii() or not value.isprintable()):
            raise ValueError(f"a watch token has at least {SHORTEST_WATCH_TOKEN} ASCII characters")
        return value

    @model_validator(mode="after")
    def _several_processes(self) -> Self:
        """Several processes need a database that several may write to, and a way to tell each other."""
        if self.workers == 1 and self.role == "all":
            return self
        wanted = f"--workers {self.workers}" if self.workers > 1 else f"--role {self.role}"
        if self.database_url.startswith("sqlite"):
            raise ValueError(
                f"{wanted} needs PostgreSQL: only one process can write to a SQLite file. Set "
                "DATABASE_URL=postgresql+asyncpg://... and run `evenkeel init`, or serve with one worker"
            )
        if not self.redis_url:
            raise ValueError(
                f"{wanted} needs Redis, by which processes tell each other that something moved on. Set "
                "REDIS_URL=redis://..., or serve with one worker"
            )
        return self

    @field_validator("origins", "trusted_proxies", "fallback_people", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("origins")
    @classmethod
    def _exact_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            scheme, _, rest = origin.partition("://")
            if scheme not in ("http", "https") or not rest or "/" in rest or "*" in rest:
                raise ValueError("an origin is written as https://host or https://host:port, with nothing behind it")
        return value

    @field_validator("host")
    @classmethod
    def _loopback_only(cls, value: str) -> str:
        if value not in LOOPBACK:
            raise ValueError(
                "only a loopback address is served until staff sign in with a second factor; use 127.0.0.1 and put a "
                "proxy with TLS in front for trials"
            )
        return value

    @property
    def ledger(self) -> Path:
        """Where it stands which data keys were destroyed."""
        return self.erasure_ledger or self.key_file.with_suffix(".erasures")

    @property
    def heads_folder(self) -> Path:
        """Where signed heads of the audit are published."""
        return self.audit_heads or self.key_file.with_suffix(".heads")

    @property
    def has_bus(self) -> bool:
        """Whether other processes may be there, to be told by way of Redis. A SQLite file has only one."""
        return bool(self.redis_url) and not self.database_url.startswith("sqlite")

    @property
    def tls(self) -> bool:
        """Whether browsers reach the service by https (then cookies are `__Host-` and Secure)."""
        return any(origin.startswith("https://") for origin in self.origins)

    @property
    def allowed_origins(self) -> frozenset[str]:
        """Exact origins from which a browser may open a socket or change anything."""
        if self.origins:
            return frozenset(self.origins)
        return frozenset({f"http://127.0.0.1:{self.port}", f"http://localhost:{self.port}"})

    @property
    def allowed_hosts(self) -> frozenset[str]:
        """Host headers that are answered."""
        return frozenset(origin.partition("://")[2] for origin in self.allowed_origins)

    @property
    def session_idle(self) -> timedelta:
        return timedelta(seconds=self.session_idle_s)

    @property
    def session_absolute(self) -> timedelta:
        return timedelta(seconds=self.session_absolute_s)


def load_settings(**given: object) -> Settings:
    """Settings from the environment, overridden by `given`.

    What the environment does not hold is looked for in the folder EVENKEEL_SECRETS_DIR: one file for each setting,
    named as its variable, as container secrets are passed.

    Raises:
        Misconfigured: names each setting at fault and what to do.
    """
    folder = os.environ.get("EVENKEEL_SECRETS_DIR") or None
    if folder is not None and not Path(folder).is_dir():
        raise Misconfigured("EVENKEEL_SECRETS_DIR is no folder. Put the files of secrets there, or unset it.")
    try:
        return Settings(**{"_secrets_dir": folder, **given})  # type: ignore[arg-type]
    except ValidationError as error:
        faults = "; ".join(
            f"{'EVENKEEL_' + str(fault['loc'][0]).upper() if fault['loc'] else 'settings'}: {fault['msg']}"
            for fault in error.errors()
        )
        raise Misconfigured(f"Check these settings: {faults}") from None


def read_key(path: Path) -> bytes:
    """The 32 bytes that wrap every data key. Raises Misconfigured if the file is missing, open to others or wrong."""
    try:
        mode = path.stat().st_mode & 0o077
        key = path.read_bytes()
    except OSError:
        raise Misconfigured(
            f"The key file {path.name} can not be read. Run `evenkeel init`.", field="key_file"
        ) from None
    if mode:
        raise Misconfigured(f"The key file {path.name} can be read by others. Run `chmod 600` on it.", field="key_file")
    if len(key) != 32:
        raise Misconfigured(f"The key file {path.name} must hold exactly 32 bytes.", field="key_file")
    return key


def make_key(path: Path) -> bytes:
    """Write a new key file with mode 0600. Raises Misconfigured if there is one already: it is never overwritten."""
    path.parent.mkdir(parents=True, exist_ok=True)
    key = secrets.token_bytes(32)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Misconfigured(
            f"There is a key file {path.name} already; it is not overwritten.", field="key_file"
        ) from None
    with os.fdopen(handle, "wb") as file:
        file.write(key)
    return key
