"""`evenkeel watch`: looks at a service from another machine, and raises by a channel of its own what it can not answer.

Decided here: what counts as well, how long something may last before it is raised, and how it grows louder. The
service's own supervisor sees more and sooner; this is for what takes the supervisor too: the machine, the network,
the proxy, the power. Nothing here waits for anything without an end: each look has a thread and a deadline, and a
thread that hangs is left behind.
"""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

from server.errors import BadRequest
from server.supervisor.alarm import Alarm

LOOK_S: Final = 5.0
_MOST_BYTES: Final = 4096
# After being raised once; the last one for as long as it lasts.
AGAIN_S: Final = (60.0, 30.0, 15.0)
# A service of which every second answer fails is not well in between.
WELL_AFTER: Final = 3


class State(StrEnum):
    """What a look found, as the alarm names it."""

    WELL = "service_well"
    SILENT = "service_silent"
    UNREADY = "service_unready"
    UNKNOWN = "service_not_known"
    OVERDUE = "obligation_overdue"


@dataclass(frozen=True, slots=True)
class Look:
    """One look. `status`: of HTTP, 0 if nothing answered; `overdue_s`: as the service says, None if it does not."""

    state: State
    status: int = 0
    overdue_s: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds: between two looks, until an unwell service is raised, how late an obligation may be."""

    every_s: float = 5.0
    after_s: float = 20.0
    overdue_s: float = 30.0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A page that a look is sent on to says nothing of the service."""

    def redirect_request(self, *given: Any) -> None:
        return None


_OPENER: Final = urllib.request.build_opener(_NoRedirect)


def look(url: str, token: str, limits: Limits) -> Look:
    """Ask the service once; takes at most about LOOK_S. With a token also for what is overdue."""
    found: queue.SimpleQueue[Look] = queue.SimpleQueue()
    threading.Thread(target=lambda: found.put(_ask(url, token, limits)), daemon=True).start()
    try:
        return found.get(timeout=LOOK_S)
    except queue.Empty:
        return Look(State.SILENT)


def _ask(url: str, token: str, limits: Limits) -> Look:
    headers = {"Accept": "application/json", "Cache-Control": "no-cache"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(f"{url}/{'watch' if token else 'readyz'}", headers=headers)  # noqa: S310 - checked
    try:
        with _OPENER.open(request, timeout=LOOK_S) as answer:
            status, body = int(answer.status), answer.read(_MOST_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            return Look(State.UNREADY if error.code >= 500 else State.UNKNOWN, error.code)
    except (OSError, HTTPException, ValueError):
        return Look(State.SILENT)
    try:
        said = json.loads(body)
        is_ready, late = said["ready"] is True, float(said.get("overdue_s", 0.0))
    except (ValueError, TypeError, KeyError, AttributeError):
        return Look(State.UNKNOWN, status)  # something answers here, but it is not the service
    if not is_ready:
        return Look(State.UNREADY, status, late)
    return Look(State.OVERDUE if late > limits.overdue_s else State.WELL, status, late)


class Watcher:
    """Turns looks into alarms: what lasts is raised, again and again at shorter intervals, until all is well again."""

    def __init__(self, alarm: Alarm, limits: Limits) -> None:
        self._alarm, self._limits = alarm, limits
        self._unwell_since: float | None = None
        self._well = 0
        self._raised_at, self._times = 0.0, 0
        self._said: set[State] = set()

    @property
    def has_raised(self) -> bool:
        return self._times > 0

    def judge(self, found: Look, now: float) -> None:
        """Take one look into account, begun at `now` (seconds of any clock that only goes forward)."""
        if found.state is State.WELL:
            self._is_well(now)
            return
        self._well = 0
        if self._unwell_since is None:
            self._unwell_since = now
        lasts_s = now - self._unwell_since
        # What is overdue has been waited for already.
        ripe = found.state is State.OVERDUE or lasts_s >= self._limits.after_s
        again_s = AGAIN_S[min(self._times, len(AGAIN_S)) - 1] if self._times else 0.0
        if not ripe or (found.state in self._said and now - self._raised_at < again_s):
            return
        self._said.add(found.state)
        self._raised_at, self._times = now, self._times + 1
        late = {} if found.overdue_s is None else {"overdue_s": round(found.overdue_s)}
        self._alarm.sound(found.state, seconds=round(lasts_s), times=self._times, status=found.status, **late)

    def _is_well(self, now: float) -> None:
        self._well += 1
        if self._unwell_since is None or self._well < WELL_AFTER:
            return
        if self._times:
            self._alarm.call("service_well_again", seconds=round(now - self._unwell_since), times=self._times)
        self._unwell_since, self._times = None, 0
        self._said.clear()


class Beat:
    """Shows that the watch itself is alive: a file whose time moves, an address that is called, after each look."""

    def __init__(self, file: Path | None, url: str | None, say: Callable[..., None]) -> None:
        self._file, self._url, self._say = file, url, say
        self._calling: threading.Thread | None = None

    def __call__(self) -> None:
        if self._file is not None:
            try:
                self._file.touch()
            except OSError as error:
                self._say("beat_failed", error=type(error).__name__)
        if self._url is not None and (self._calling is None or not self._calling.is_alive()):
            self._calling = threading.Thread(target=self._call, args=(self._url,), daemon=True)
            self._calling.start()

    def _call(self, url: str) -> None:
        try:
            with _OPENER.open(url, timeout=LOOK_S):
                return
        except (OSError, HTTPException, ValueError) as error:
            self._say("beat_failed", error=type(error).__name__)


def check_url(url: str, *, whole: bool = False) -> str:
    """The address without a slash at its end; `whole`: as it is, with whatever query.

    Raises:
        BadRequest: it is not http or https with a host.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or (not whole and (parts.query or parts.fragment)):
        raise BadRequest("Give an address as https://HOST or http://HOST:PORT.", field="url")
    return url if whole else url.rstrip("/")


def watch(url: str, token: str, alarm: Alarm, beat: Beat, limits: Limits, *, ends_when_raised: bool = False) -> bool:
    """Watch until SIGTERM or SIGINT (or, if so asked, until something was raised); True if something is raised now."""
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    watcher = Watcher(alarm, limits)
    alarm.say("watching", sees_overdue=int(bool(token)))
    while not stop.is_set():
        began = time.monotonic()
        watcher.judge(look(url, token, limits), began)
        beat()
        if watcher.has_raised and ends_when_raised:
            break
        _ring(watcher.has_raised)
        stop.wait(max(0.0, limits.every_s - (time.monotonic() - began)))
    alarm.close()
    return watcher.has_raised


def _ring(raised: bool) -> None:
    """At a terminal, the bell as long as something is raised."""
    if raised and sys.stderr.isatty():
        with contextlib.suppress(OSError):
            sys.stderr.write("\a")
            sys.stderr.flush()
