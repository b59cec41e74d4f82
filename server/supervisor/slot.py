"""One worker's place: started, listened to, killed when its beats stop, and started again, for ever.

Decided here: when a worker counts as stalled and how long to wait between two starts. Nothing here waits: `step` is
called several times a second and looks at one worker, whatever the others do.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from server.supervisor.alarm import Alarm
from server.supervisor.listener import bind
from server.supervisor.window import Window

# The status of a worker that finds its settings wrong: starting it again would change nothing.
MISCONFIGURED: Final = 2
# So often in a row a worker may end before it ever served; then the alarm says that this is no accident.
NEVER_SERVED: Final = 3
# Its end of the pipe is closed: it is about to be gone, or no longer to be trusted.
_LET_GO_S: Final = 1.0
# A worker that is not back for longer than this should not be dealt connections while others serve.
_PORT_KEPT_S: Final = 1.0


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


class Slot:
    """A place for one worker at a time.

    Args:
        number: among the workers of this supervisor, from 0.
        name: the worker's name, the same for all that follow each other here.
        command: program and arguments of a worker; the descriptors are appended as options.
        listener: its listening socket; None for a worker that only does jobs.

    Attributes:
        is_ready: the worker that runs now has beaten.
        has_served: any worker of this place has.
        status: how the last worker ended (negative: the signal that ended it); None: none has.
    """

    def __init__(
        self,
        number: int,
        name: str,
        command: Sequence[str],
        listener: socket.socket | None,
        alarm: Alarm,
        limits: Limits,
        environ: Mapping[str, str],
    ) -> None:
        self._number, self._name, self._command = number, name, tuple(command)
        self._listener, self._address = listener, None if listener is None else listener.getsockname()[:2]
        self._alarm, self._limits, self._environ = alarm, limits, dict(environ)
        self.window = Window.make()
        self.is_ready = self.has_served = False
        self.status: int | None = None
        self._worker: subprocess.Popen[bytes] | None = None
        self._beats = -1
        self._starts = self._never_served = 0
        self._start_at = self._began_at = self._beaten_at = 0.0
        self._told_at: float | None = None
        self._let_go_at: float | None = None
        self._backoff_s = limits.backoff_first_s

    @property
    def is_empty(self) -> bool:
        """Whether no worker runs here now."""
        return self._worker is None

    @property
    def beats(self) -> int | None:
        """The descriptor on which the worker's beats come; None where nobody can beat."""
        return None if self._worker is None or self._let_go_at is not None else self._beats

    def step(self, now: float, *, stopping: bool, others_serve: bool) -> bool:
        """Do what is to be done now; True where a worker has just ended."""
        if self._worker is None:
            if not stopping and now >= self._start_at:
                self._start(now)
            return False
        self._listen(now)
        status = self._worker.poll()
        if status is not None:
            self._ended(status, now, stopping=stopping, others_serve=others_serve)
            return True
        limits = self._limits
        if stopping and self._told_at is None:
            self._told_at = now
            self._worker.send_signal(signal.SIGTERM)
        if self._told_at is not None and now - self._told_at > limits.drain_s:
            self._alarm.sound("worker_would_not_stop", pid=self._worker.pid, worker=self._number)
            self._worker.kill()
            self._told_at = now
        elif now - self._beaten_at > (limits.stall_s if self.is_ready else limits.start_s):
            silent_s = round(now - self._beaten_at, 1)
            self._alarm.sound("worker_stalled", pid=self._worker.pid, worker=self._number, silent_s=silent_s)
            self._worker.kill()
            self._beaten_at = now
        elif self._let_go_at is not None and self._told_at is None and now - self._let_go_at > _LET_GO_S:
            self._worker.kill()
        return False

    def kill(self) -> None:
        """End the worker at once, if there is one."""
        if self._worker is not None:
            self._worker.kill()
            self._worker.wait()

    def _start(self, now: float) -> None:
        self.window.mark(None)
        self._beats, their_end = os.pipe()
        os.set_blocking(self._beats, False)
        try:
            if self._listener is None and self._address is not None:
                self._listener = bind(*self._address, shared=True, listening=False)
            fds = {"beat": their_end, "window": self.window.fd}
            if self._listener is not None:
                fds["listener"] = self._listener.fileno()
            self._worker = subprocess.Popen(  # noqa: S603 - our own program
                [*self._command, f"--name={self._name}", *(f"--{option}={fd}" for option, fd in fds.items())],
                pass_fds=tuple(fds.values()),
                env=self._environ,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C at the terminal is ours to pass on
            )
        except OSError as error:
            os.close(self._beats)
            self._start_at = now + self._limits.backoff_most_s
            self._alarm.sound("worker_not_started", worker=self._number, error=type(error).__name__)
            return
        finally:
            os.close(their_end)
        self._starts += 1
        self.is_ready, self._told_at, self._let_go_at = False, None, None
        self._began_at = self._beaten_at = now

    def _listen(self, now: float) -> None:
        if self._let_go_at is not None:
            return
        heard = _read(self._beats)
        if heard is None:
            self._let_go_at = now
        elif heard:
            self._beaten_at = now
            if not self.is_ready and self._worker is not None:
                self.is_ready = self.has_served = True
                self._never_served = 0
                port = {} if self._address is None else {"host": self._address[0], "port": self._address[1]}
                self._alarm.say("serving", **port, pid=self._worker.pid, worker=self._number, starts=self._starts)

    def _ended(self, status: int, now: float, *, stopping: bool, others_serve: bool) -> None:
        self.status, self._worker = status, None
        os.close(self._beats)
        if not self.is_ready:
            self._never_served += 1
        self.is_ready = False
        if stopping:
            return
        if now - self._began_at >= self._limits.settled_s:
            self._backoff_s = self._limits.backoff_first_s
        wait_s, self._backoff_s = self._backoff_s, min(self._backoff_s * 2, self._limits.backoff_most_s)
        self._start_at = now + wait_s
        facts = {"worker": self._number, "status": status, "starts": self._starts, "again_in_s": wait_s}
        if status == MISCONFIGURED and not self.has_served and not others_serve:
            return  # it has said why itself; the supervisor ends too
        if self._never_served >= NEVER_SERVED:
            advice = "it ends before it serves: read its own lines above, run `evenkeel doctor`"
            self._alarm.sound("worker_never_serves", times=self._never_served, advice=advice, **facts)
        else:
            self._alarm.sound("worker_ended", **facts)
        if wait_s > _PORT_KEPT_S and others_serve and self._listener is not None:
            self._listener.close()
            self._listener = None


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
