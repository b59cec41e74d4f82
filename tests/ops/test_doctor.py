"""What `evenkeel doctor` finds on a machine that is not as it should be, and what it says to do."""

from __future__ import annotations

import resource
import shutil
import sqlite3
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops import doctor
from ops.doctor import Finding, examine
from server.clock import real_us
from server.settings import load_settings
from tests import harness
from tests.servers import PostgresServer


def found(name: str, **settings: object) -> Finding:
    (finding,) = [finding for finding in examine(load_settings(**settings)) if finding.name == name]
    return finding


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    harness.copy_sqlite_template(tmp_path / "e.db")
    return f"sqlite:///{tmp_path / 'e.db'}"


@pytest.fixture
def few_files() -> Iterator[None]:
    """A process that may have no more than a few hundred files open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_tls_without_a_trusted_proxy_is_found(sqlite_url: str) -> None:
    """Behind a proxy that is not named, limits would treat all people as one; a network or a name is no address."""
    https = {"database_url": sqlite_url, "origins": ("https://talk.example.org",)}
    assert found("proxy", database_url=sqlite_url).ok
    assert "EVENKEEL_TRUSTED_PROXIES" in found("proxy", **https).advice
    assert not found("proxy", **https).ok
    assert not found("proxy", **https, trusted_proxies=("10.0.0.0/8",)).ok
    assert found("proxy", **https, trusted_proxies=("127.0.0.1", "::1")).ok


@pytest.mark.usefixtures("few_files")
def test_too_few_open_files_are_found(sqlite_url: str) -> None:
    """Each connection is a file; the advice names the setting of the unit."""
    finding = found("open files", database_url=sqlite_url)
    assert not finding.ok
    assert "LimitNOFILE" in finding.advice


def test_a_disk_that_is_nearly_full_is_found(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first message is refused, not after."""
    usage = namedtuple("usage", "total used free")
    for free, well in ((10**10, True), (10**6, False)):
        monkeypatch.setattr(shutil, "disk_usage", lambda folder, free=free: usage(10**12, 10**12 - free, free))
        assert found("space", database_url=sqlite_url).ok is well


def test_a_database_on_another_time_is_found(postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two clocks a minute apart are said; the same clock is well."""
    url = postgres_server.create_database()
    try:
        assert found("clock", database_url=url).ok
        now_us = doctor.real_us
        monkeypatch.setattr(doctor, "real_us", lambda: now_us() + 60_000_000)
        finding = found("clock", database_url=url)
        assert not finding.ok
        assert "60.0" in finding.found
    finally:
        postgres_server.drop_database(url)


def test_an_audit_whose_heads_are_old_is_found(sqlite_url: str) -> None:
    """A night without a signed head is found the next day; a service that has not run yet has none."""
    assert found("audit", database_url=sqlite_url).ok
    for n, (hours, well) in enumerate(((50, False), (3, True)), 1):
        with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as raw:
            at = real_us() - hours * 3_600_000_000
            raw.execute("INSERT INTO audit_head VALUES (?, ?, '{}', x'00')", (n, at))
        raw.close()
        finding = found("audit", database_url=sqlite_url)
        assert finding.ok is well
        assert f"{hours} hours ago" in finding.found
