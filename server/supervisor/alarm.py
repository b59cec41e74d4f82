"""How the supervisor raises its voice: one critical line on its own output, and a command of the operator's.

The command (`EVENKEEL_SUPERVISOR_COMMAND`, split into arguments, never given to a shell) is told what happened by
environment variables that hold codes, ids and numbers only. It may page, post to a webhook, or sound a horn; it has
half a minute, and nothing here waits for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Final

from server.clock import from_us, real_us

COMMAND_S: Final = 30.0
COMMANDS_AT_ONCE: Final = 8


class Alarm:
    """Raises alarms from any thread.

    Args:
        command: program and arguments to start for each alarm; empty: none.
    """

    def __init__(self, command: Sequence[str] = ()) -> None:
        self._command = tuple(command)
        self._running: list[tuple[subprocess.Popen[bytes], float]] = []
        self._lock = threading.Lock()

    def say(self, event: str, **facts: str | int | float) -> None:
        """Write one line of information."""
        _write("info", event, facts)

    def warn(self, event: str, **facts: str | int | float) -> None:
        """Write one line about what should be put right, though nobody has to be woken for it."""
        _write("warning", event, facts)

    def sound(self, event: str, **facts: str | int | float) -> None:
        """Write one critical line and start the operator's command. Never raises: an alarm that fails is said too."""
        _write("critical", event, facts)
        self._start(event, facts)

    def call(self, event: str, **facts: str | int | float) -> None:
        """Write one line of information and start the operator's command, for the end of what was raised."""
        _write("info", event, facts)
        self._start(event, facts)

    def _start(self, event: str, facts: dict[str, str | int | float]) -> None:
        if not self._command:
            return
        with self._lock:
            self._reap()
            if len(self._running) >= COMMANDS_AT_ONCE:
                _write("critical", "alarm_commands_hang", {"running": len(self._running)})
                return
            given = {f"EVENKEEL_{name.upper()}": str(value) for name, value in facts.items()}
            env = {"PATH": os.environ.get("PATH", os.defpath), "EVENKEEL_ALARM": event, **given}
            try:
                started = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, env=env)  # noqa: S603 - no shell
            except OSError as error:
                _write("critical", "alarm_command_failed", {"error": type(error).__name__})
            else:
                self._running.append((started, time.monotonic()))

    def close(self, within_s: float = 5.0) -> None:
        """Give the commands that run a moment to end, and end those that do not."""
        until = time.monotonic() + within_s
        with self._lock:
            for process, _ in self._running:
                try:
                    process.wait(max(0.0, until - time.monotonic()))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            self._running.clear()

    def _reap(self) -> None:
        now = time.monotonic()
        left = []
        for process, began in self._running:
            code = process.poll()
            if code is None and now - began > COMMAND_S:
                process.kill()
                code = process.wait()
            if code is None:
                left.append((process, began))
            elif code != 0:
                _write("critical", "alarm_command_failed", {"status": code})
        self._running = left


def _write(level: str, event: str, facts: dict[str, str | int | float]) -> None:
    """One line on the supervisor's own log; on a full disk it is lost, and whoever watches goes on watching."""
    line = {"level": level, "at": from_us(real_us()).isoformat(timespec="milliseconds"), "event": event, **facts}
    with contextlib.suppress(OSError):
        os.write(sys.stderr.fileno(), f"{json.dumps(line)}\n".encode())
