"""A demonstration as a visitor starts it: the real command, on a free port, in a folder of its own."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO

import psutil

from clients.sdk import Client

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ops.demo", f"--folder={folder}", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@dataclass
class Running:
    """A running demonstration.

    Attributes:
        began: `time.time()` at its start.
        answers_after_s: from its start until it answered a request.
        queued_s: how much of that its two processes stood in line for a processor, because the machine was busy with
            others (Linux counts it; 0 elsewhere).
    """

    process: subprocess.Popen[str]
    port: int
    folder: Path
    began: float
    answers_after_s: float = 0.0
    queued_s: float = 0.0
    printed: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_for(self, text: str, within_s: float = READY_WITHIN_S) -> None:
        """Until `text` has been printed."""
        until = time.monotonic() + within_s
        while text not in "".join(self.printed):
            assert time.monotonic() < until, (text, self.printed, self.errors)
            assert self.process.poll() is None, self.errors
            time.sleep(0.02)

    def stop(self) -> int:
        """Press Ctrl-C, unless it has ended; returns its status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)

    def enter(self, door: str) -> str:
        """Press a door's button; returns the token of the session, as its cookie holds it."""
        request = urllib.request.Request(
            f"{self.url}/demo/enter",
            data=urllib.parse.urlencode({"door": door}).encode(),
            headers={"Origin": self.url, "Content-Type": "application/x-www-form-urlencoded"},
        )
        with _OPENER.open(request, timeout=10) as answer:
            found = re.search(r"evenkeel=([^;]+)", answer.headers["set-cookie"])
        assert found is not None
        return found[1]

    def client(self, door: str) -> Client:
        return Client(self.url, token=self.enter(door))

    def page(self, path: str, token: str | None = None) -> str:
        request = urllib.request.Request(self.url + path)
        if token is not None:
            request.add_header("Cookie", f"evenkeel={token}")
        with _OPENER.open(request, timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    def post(self, path: str, token: str, fields: dict[str, str]) -> str:
        """Send a form; returns where its answer leads, or the page that it answers with."""
        request = urllib.request.Request(
            self.url + path,
            data=urllib.parse.urlencode(fields).encode(),
            headers={
                "Origin": self.url,
                "Content-Type": "application/x-www-form-urlencoded",
                "Cookie": f"evenkeel={token}",
            },
        )
        with _OPENER.open(request, timeout=60) as answer:
            text: str = answer.headers["location"] or answer.read().decode()
            return text


class _Stay(urllib.request.HTTPRedirectHandler):
    """Answers a redirect as it came, with its cookie."""

    def http_error_303(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage
    ) -> HTTPResponse | None:
        assert isinstance(fp, HTTPResponse)
        return fp


_OPENER = urllib.request.build_opener(_Stay)


@contextlib.contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Running]:
    """A demonstration that listens; ended at the end, however the test went."""
    port = free_port()
    began = time.time()
    process = start(folder, f"--port={port}", *arguments)
    run = Running(process, port, folder, began)
    assert process.stdout is not None
    assert process.stderr is not None
    readers = [
        threading.Thread(target=_read, args=(process.stdout, run.printed), daemon=True),
        threading.Thread(target=_read, args=(process.stderr, run.errors), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        run.answers_after_s = _answering(run)
        run.queued_s = _queued(run)
        run.wait_for("Ctrl-C stops")
        yield run
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        finally:
            process.kill()
            process.wait()
            for reader in readers:
                reader.join(5)
            process.stdout.close()
            process.stderr.close()


def _read(pipe: IO[str], lines: list[str]) -> None:
    for line in pipe:
        lines.append(line)


def _queued(run: Running) -> float:
    """Seconds that the main threads of both processes waited for a processor so far."""
    parent = psutil.Process(run.process.pid)
    waited_ns = 0
    for process in (parent, *parent.children()):
        with contextlib.suppress(OSError):
            waited_ns += int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[1])
    return waited_ns / 1e9


def _answering(run: Running) -> float:
    """Seconds from the start until a request is answered."""
    while True:
        with contextlib.suppress(OSError), _OPENER.open(f"{run.url}/healthz", timeout=READY_WITHIN_S):
            return time.time() - run.began
        assert run.process.poll() is None, run.errors
        assert time.time() - run.began < READY_WITHIN_S, run.errors
        time.sleep(0.02)
