"""The deployment examples name only what is there: settings, commands, numbers, runbooks, files."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ops.commands import app
from server.live.hub import Timings
from server.main import DRAIN_S
from server.settings import Settings, load_settings
from server.worker import UNREAD_BEATS
from tests import harness
from tests.ops.plain_yaml import read_yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "ops" / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
ALERTS: list[dict[str, Any]] = [
    rule for group in read_yaml((DEPLOY / "monitoring" / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "monitoring" / "dashboard.json").read_text())
METRIC = re.compile(r"\bevenkeel_[a-z_]+\b")


def expressions() -> list[str]:
    return [rule["expr"] for rule in ALERTS] + [
        target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]
    ]


async def test_rules_and_dashboard_name_numbers_that_are_exported(edge: harness.Edge) -> None:
    """Every number in them is one that a running service gives, under that very name, with those labels."""
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        text = (await client.get("/metrics")).text
    exported = set()
    for family in text_string_to_metric_families(text):
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        exported |= {family.name + ending for ending in endings}
    named = {name for expression in expressions() for name in METRIC.findall(expression)}
    assert len(named) > 10
    assert named <= exported


def test_each_alarm_has_its_page_and_each_page_its_alarm() -> None:
    """Whoever is woken is told what it means for a member, what to do first, and when it is over."""
    pages = {path.stem for path in (DEPLOY / "runbooks").glob("*.md")}
    assert {rule["annotations"]["runbook_url"].rpartition("/")[2] for rule in ALERTS} == {
        f"{page}.md" for page in pages
    }
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS)
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]
        assert re.fullmatch(r"\d+[smh]", rule["for"])
    for page in pages:
        text = (DEPLOY / "runbooks" / f"{page}.md").read_text()
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
            "What it means for a member in crisis",
            "First",
            "It is over when",
        ]
        for name in METRIC.findall(text):
            assert any(name in expression for expression in expressions()), f"{page}: {name}"


def test_the_alarm_of_a_silent_supervisor_rings_when_a_worker_says_it() -> None:
    """The rule and the line in the log mean the same number of beats that nobody read."""
    (expression,) = [rule["expr"] for rule in ALERTS if rule["alert"] == "EvenkeelSupervisorSilent"]
    assert int(expression.rpartition("> ")[2]) == UNREAD_BEATS


def test_only_settings_that_exist_are_named() -> None:
    """A misspelt variable is ignored in silence, so every one in these files is checked."""
    known = {f"EVENKEEL_{name.upper()}" for name in Settings.model_fields} | {"EVENKEEL_SECRETS_DIR", "EVENKEEL_ALARM"}
    for source in (ROOT / "server" / "supervisor").glob("*.py"):
        known |= set(re.findall(r'"(EVENKEEL_[A-Z_]+)"', source.read_text()))
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            named = set(re.findall(r"\bEVENKEEL_[A-Z_]+\b", path.read_text()))
            assert named <= known, f"{path.name}: {named - known}"


def test_the_environment_file_is_a_service_with_tls_behind_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lines are settings as they stand, and they fit the proxies beside it."""
    for line in (DEPLOY / "evenkeel.env").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.tls
    assert settings.trusted_proxies == ("127.0.0.1",)
    (origin,) = settings.allowed_origins
    for proxy in ("nginx.conf", "Caddyfile"):
        text = (DEPLOY / "proxies" / proxy).read_text()
        assert origin.partition("://")[2] in text
        assert f"127.0.0.1:{settings.port}" in text


def unit(name: str) -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None, strict=False, delimiters=("=",), comment_prefixes=("#",))
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string((DEPLOY / "systemd" / name).read_text())
    return found


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_start_commands_that_exist_and_little_else_is_allowed_to_them(path: Path) -> None:
    """Each service runs as a user of its own, without privileges, and names a command of the program."""
    parsed = unit(path.name)
    if path.suffix == ".timer":
        assert (DEPLOY / "systemd" / f"{path.stem}.service") in UNITS
        assert parsed["Timer"]["Persistent"] == "true"
        return
    service = parsed["Service"]
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    for line in (service["ExecStart"], service.get("ExecStartPre", "")):
        for named in re.findall(r"bin/evenkeel (\w+)", line):
            assert named in commands
    assert service["User"] == "evenkeel"
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert not {"DATABASE_URL", "REDIS_URL"} & set(re.findall(r"[A-Z_]+", service["ExecStart"]))


def test_the_service_is_watched_and_has_time_to_drain() -> None:
    """The manager hears the main process, kills what is silent, starts it again for ever, and waits for a drain."""
    parsed = unit("evenkeel.service")
    service = parsed["Service"]
    assert (service["Type"], service["NotifyAccess"], service["Restart"]) == ("notify", "main", "always")
    assert int(service["WatchdogSec"]) >= 15
    assert int(service["TimeoutStopSec"]) > 2 * DRAIN_S
    assert int(service["LimitNOFILE"]) > 20_000
    assert parsed["Unit"]["StartLimitIntervalSec"] == "0"
    assert parsed["Install"]["WantedBy"] == "multi-user.target"


def test_the_container_is_built_from_what_is_there() -> None:
    """Each copied path exists, packages come by hash, and nothing runs as root."""
    text = (DEPLOY / "containers" / "Containerfile").read_text().replace("\\\n", " ")
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    words = {
        "FROM",
        "WORKDIR",
        "COPY",
        "RUN",
        "ENV",
        "USER",
        "VOLUME",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    }
    assert {line[0] for line in lines} <= words
    for instruction, rest in lines:
        if instruction == "COPY" and not rest.startswith("--from="):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
        if "pip install" in rest:
            assert "--require-hashes" in rest or "--no-deps --no-build-isolation" in rest
    copied = " ".join(rest for instruction, rest in lines if instruction == "COPY")
    assert {"server", "moderation", "watchwords", "clients", "ops"} <= set(copied.split())
    assert [rest for instruction, rest in lines if instruction == "USER"] == ["10001:10001"]
    assert [json.loads(rest) for word, rest in lines if word in ("ENTRYPOINT", "CMD")] == [["evenkeel"], ["serve"]]


def test_the_composition_holds_together() -> None:
    """Secrets are files, what is used is declared, and only the proxy's ports lead outside."""
    composed = read_yaml((DEPLOY / "containers" / "compose.yaml").read_text())
    services = composed["services"]
    for name, service in services.items():
        assert service["restart"] == "always", name
        assert set(service.get("secrets", [])) <= composed["secrets"].keys()
        assert set(service.get("depends_on", [])) <= services.keys()
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            inside = (DEPLOY / "containers" / source).resolve()
            assert source in composed["volumes"] or inside.is_file(), volume
        assert not any("PASSWORD" in key and not key.endswith("_FILE") for key in service.get("environment", {}))
    assert [name for name, service in services.items() if "ports" in service] == ["evenkeel"]
    assert services["proxy"]["network_mode"] == "service:evenkeel"
    assert (DEPLOY / "containers" / services["evenkeel"]["build"]["context"]).resolve() == ROOT
    assert (ROOT / services["evenkeel"]["build"]["dockerfile"]).is_file()


@pytest.mark.parametrize("name", ["nginx.conf", "Caddyfile"])
def test_a_proxy_passes_on_what_the_service_relies_on(name: str) -> None:
    """Blocks are closed; the client's own X-Forwarded-For is replaced; numbers stay inside; quiet sockets stay open."""
    text = (DEPLOY / "proxies" / name).read_text()
    code = re.sub(r"(?m)#.*$", "", text)
    assert code.count("{") == code.count("}")
    assert "X-Forwarded-For" in code
    assert "$proxy_add_x_forwarded_for" not in code
    assert "/metrics" in code
    assert all(int(seconds) > Timings().dead_s for seconds in re.findall(r"read_timeout (\d+)s", code))
    assert "read_timeout" in code
    if name == "nginx.conf":
        for line in (line.strip() for line in code.splitlines()):
            assert not line or line[-1] in "{};", line
        for header in ("Host $http_host", "Upgrade $http_upgrade", "Connection $evenkeel_connection"):
            assert f"proxy_set_header {header};" in code


@pytest.mark.parametrize(
    "text", ["a: b: c", "a:\n   b: c", "a:", "a: [1]", "a: 'it''s'", "- a\nb: c", "a: 1\na: 2", "a: b\n  c: d"]
)
def test_what_the_small_reader_does_not_know_is_an_error(text: str) -> None:
    """The reader of these tests guesses nothing."""
    with pytest.raises(ValueError):
        read_yaml(text)
