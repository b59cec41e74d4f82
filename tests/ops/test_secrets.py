"""Secrets come from the environment or from files: never from a command line, never out again in a repr or a log."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.errors import Misconfigured
from server.settings import load_settings
from tests.serve.support import evenkeel

URL = "postgresql+asyncpg://evenkeel:open-sesame-4711@127.0.0.1:9/evenkeel"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "EVENKEEL_DATABASE_URL", "EVENKEEL_SECRETS_DIR"):
        monkeypatch.delenv(name, raising=False)


def test_no_secret_is_in_a_repr() -> None:
    """Settings may be printed: addresses, which may hold passwords, are left out."""
    settings = load_settings(database_url=URL, redis_url="redis://:open-sesame-4711@127.0.0.1")
    assert "open-sesame" not in repr(settings) + str(settings)


def test_settings_come_from_files_where_the_environment_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file of EVENKEEL_SECRETS_DIR is one setting, without its last line's end; a variable goes before it."""
    (tmp_path / "DATABASE_URL").write_text(URL + "\n")
    (tmp_path / "REDIS_URL").write_text("redis://127.0.0.1:1\n")
    monkeypatch.setenv("EVENKEEL_SECRETS_DIR", str(tmp_path))
    assert (load_settings().database_url, load_settings().redis_url) == (URL, "redis://127.0.0.1:1")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:2")
    assert load_settings().redis_url == "redis://127.0.0.1:2"
    monkeypatch.setenv("EVENKEEL_SECRETS_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(Misconfigured, match="EVENKEEL_SECRETS_DIR"):
        load_settings()


def test_a_password_on_the_command_line_is_refused(tmp_path: Path) -> None:
    """The process list shows command lines to everybody; what is refused is not said again."""
    done = evenkeel(tmp_path, "doctor", "--database-url", URL)
    assert done.returncode == 2
    assert "DATABASE_URL" in done.stderr
    assert "open-sesame" not in done.stdout + done.stderr


def test_a_wrong_address_is_refused_without_its_words(tmp_path: Path) -> None:
    """Neither a traceback nor a message repeats what was in the environment."""
    for url in (URL, URL.replace("+asyncpg", "+nothing"), "open-sesame-4711"):
        done = evenkeel(tmp_path, "doctor", url=url)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        assert "open-sesame" not in done.stdout + done.stderr
