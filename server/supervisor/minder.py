"""Keeps one worker running: starts it, listens to its beats, kills it when they stop, and starts it again.

Decided here: when a worker counts as stalled, how long to wait between two starts, and how everything is stopped. A
worker that ends is started again for ever, with longer waits, and each end is said loudly; only one that finds its
settings wrong before it ever served ends the supervisor too.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from server.supervisor.alarm import Alarm
from server.supervisor.window import Window

MISCONFIGURED: Final = 2
_STEP_S: Final = 0.25
_NOTIFY_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds.

    Attributes:
        stall_s: without a beat, a worker that has served is killed; start_s: the same before its first beat.
        drain_s: what a worker is given to end in order.
        backoff_first_s, backoff_most_s: before a new start; doubled each time, and begun anew by a life of settled_s.
    """

    stall_s: float = 10.0
    start_s: float = 90.0
    drain_s: float = 25.0
    backoff_first_s: float = 0.2
    backoff_most_s: float = 15.0
    settled_s: float = 60.0


def notify_systemd(state: str, environ: Mapping[str, str] = os.environ) -> None:
    """Tell the service manager, where there is one (sd_notify(3)); anything that fails is no reason to stop."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as there:
            there.settimeout(_NOTIFY_S)  # a manager that does not read must not stop what watches the workers
            there.connect("\0" + address[1:] if address.startswith("@") else address)
            there.sendall(state.encode())
    except OSError:
        return


class Minder:
    """One worker at a time, for as long as nobody asks to stop.

    Args:
        command: program and arguments of a worker; the descriptors are appended as options.
        listener: the listening socket; it stays open here, so that clients wait while a worker is replaced.
        environ: environment of the workers.
    """

    def __init__(
        self,
        command: Sequence[str],
        listener: socket.socket,
        alarm: Alarm,
        *,
        limits: Limits | None = None,
        environ: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = tuple(command)
        self._listener = listener
        self._alarm = alarm
        self._limits = limits or Limits()
        self._environ = dict(os.environ if environ is None else environ)
        self._clock = clock
        self._window = Window.make()
        self._stalls: dict[bytes, int] = {}
        self._stop = threading.Event()
        self._was_ready = False
        self._starts = 0
        self._wake_r, self._wake_w = os.pipe()
        for end in (self._wake_r, self._wake_w):
            os.set_blocking(end, False)

    def run(self) -> int:
        """Mind workers until SIGTERM or SIGINT; return the exit status. Call it in the main thread."""
        signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._on_signal)
        backoff_s = self._limits.backoff_first_s
        while True:
            began = self._clock()
            code = self._live()
            if self._stop.is_set():
                self._alarm.say("stopped", status=code)
                return 0
            if code == MISCONFIGURED and not self._was_ready:
                return MISCONFIGURED
            if self._clock() - began >= self._limits.settled_s:
                backoff_s = self._limits.backoff_first_s
            self._alarm.sound("worker_ended", status=code, starts=self._starts, again_in_s=backoff_s)
            self._wait(backoff_s)
            if self._stop.is_set():
                return 0
            backoff_s = min(backoff_s * 2, self._limits.backoff_most_s)

    def _on_signal(self, number: int, frame: object) -> None:
        del number, frame
        self._stop.set()

    def _wait(self, seconds: float) -> None:
        until = self._clock() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_r, selectors.EVENT_READ)
            while not self._stop.is_set() and (left := until - self._clock()) > 0:
                notify_systemd("WATCHDOG=1", self._environ)
                selector.select(min(left, 1.0))
                self._drain_wake()

    def _drain_wake(self) -> None:
        try:
            while os.read(self._wake_r, 64):
                pass
        except BlockingIOError:
            return

    def _live(self) -> int:
        """One worker from its start to its end; returns its exit status (negative: the signal that ended it)."""
        self._window.mark(None)
        self._window.put_stalls(self._stalls)
        beats, their_end = os.pipe()
        os.set_blocking(beats, False)
        fds = (self._listener.fileno(), their_end, self._window.fd)
        options = [f"--{name}={fd}" for name, fd in zip(("listener", "beat", "window"), fds, strict=True)]
        try:
            worker = subprocess.Popen(  # noqa: S603 - our own program
                [*self._command, *options],
                pass_fds=fds,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C at the terminal is ours to pass on
            )
        finally:
            os.close(their_end)
        self._starts += 1
        try:
            code = self._mind(worker, beats)
        finally:
            os.close(beats)
        self._count_stall()
        return code

    def _mind(self, worker: subprocess.Popen[bytes], beats: int) -> int:
        limits = self._limits
        beaten_at, is_ready, told_at = self._clock(), False, None
        with selectors.DefaultSelector() as selector:
            selector.register(beats, selectors.EVENT_READ)
            selector.register(self._wake_r, selectors.EVENT_READ)
            while True:
                selector.select(_STEP_S)
                self._drain_wake()
                heard = _read(beats)
                now = self._clock()
                if heard is None or worker.poll() is not None:
                    # Its end of the pipe is closed: it is gone, or no longer to be trusted.
                    return self._bury(worker)
                if heard:
                    beaten_at = now
                    if not is_ready:
                        is_ready = self._was_ready = True
                        self._ready(worker.pid)
                if self._was_ready:
                    # Also while a worker is replaced, for which start_s bounds the silence: this process is well.
                    notify_systemd("WATCHDOG=1", self._environ)
                if self._stop.is_set() and told_at is None:
                    told_at = now
                    notify_systemd("STOPPING=1", self._environ)
                    worker.send_signal(signal.SIGTERM)
                if told_at is not None and now - told_at > limits.drain_s:
                    self._alarm.sound("worker_would_not_stop", pid=worker.pid)
                    worker.kill()
                    return worker.wait()
                if now - beaten_at > (limits.stall_s if is_ready else limits.start_s):
                    self._alarm.sound("worker_stalled", pid=worker.pid, silent_s=round(now - beaten_at, 1))
                    worker.kill()
                    return worker.wait()

    def _ready(self, pid: int) -> None:
        host, port = self._listener.getsockname()[:2]
        self._alarm.say("serving", host=host, port=port, pid=pid, starts=self._starts)
        notify_systemd("READY=1", self._environ)

    def _bury(self, worker: subprocess.Popen[bytes]) -> int:
        try:
            return worker.wait(1.0 if not self._stop.is_set() else self._limits.drain_s)
        except subprocess.TimeoutExpired:
            worker.kill()
            return worker.wait()

    def _count_stall(self) -> None:
        """Whatever text lay in the window when the worker ended is counted, however it ended."""
        digest = self._window.marked()
        if digest is not None:
            times = self._stalls.pop(digest, 0) + 1
            self._stalls[digest] = times
            self._alarm.sound("screening_stalled", times=times)


def _read(beats: int) -> bytes | None:
    """What has come through the pipe; b"" if nothing has, None if its other end is closed."""
    heard = b""
    try:
        while True:
            part = os.read(beats, 4096)
            if not part:
                return None
            heard += part
    except BlockingIOError:
        return heard
