"""A service as its people and programs reach it by HTTP; every answer that refuses is looked into as it comes."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import urllib.parse
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ops.torture.canaries.cage import Cage
from ops.trial import Trial
from server.settings import Settings

ANSWER_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        with contextlib.suppress(ValueError):
            found = json.loads(self.body)
            if isinstance(found, dict):
                return found
        return {}


@dataclass(frozen=True)
class House:
    """The service as its people reach it."""

    url: str
    trial: Trial
    cage: Cage
    settings: Settings
    folder: Path

    async def http(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request. Whatever refuses is kept, head and all, and must hold no canary."""
        answer = await asyncio.to_thread(_ask, self.url, method, path, body, dict(headers or {}))
        self.cage.count(f"{answer.status // 100}xx")
        if answer.status >= 400:
            given = dict(headers or {})
            own_name = self.cage.names.get(given.get("cookie", ""), "")
            posted = urllib.parse.unquote_to_bytes((body or b"").replace(b"+", b" "))
            sent = f"{path} {given} {own_name} ".encode() + posted
            self.cage.refused("errors", sent, answer.body + str(dict(answer.headers)).encode())
        return answer

    async def post(self, path: str, given: Mapping[str, str] | bytes, token: str = "", **headers: str) -> Answer:
        """A program's POST of JSON."""
        own = {"content-type": "application/json", **({"authorization": f"Bearer {token}"} if token else {})}
        body = given if isinstance(given, bytes) else json.dumps(given).encode()
        return await self.http("POST", path, body, {**own, **headers})

    async def command(self, token: str, **fields: Any) -> Answer:
        return await self.post("/api/commands", {"client_id": str(uuid.uuid4()), **fields}, token)


def _ask(url: str, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
    there = http.client.HTTPConnection(url.partition("://")[2], timeout=ANSWER_S)
    try:
        there.request(method, path, body, headers)
        answer = there.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    except (OSError, http.client.HTTPException):
        return Answer(0, {}, b"")
    finally:
        there.close()
