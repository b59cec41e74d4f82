"""Keeps the workers running, each in its slot, until somebody asks to stop; then all of them drain.

A worker that ends is started again for ever, and each end is said loudly; only one that finds its settings wrong before
any has served ends the supervisor too. Nothing that happens to one worker touches another, but for a text that stalled
one of them: every worker is told of it.
"""

from __future__ import annotations

import os
import secrets
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from server.supervisor.alarm import Alarm
from server.supervisor.slot import MISCONFIGURED, Limits, Slot

_STEP_S: Final = 0.25
_NOTIFY_S: Final = 0.2


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
    """One worker for each listener, for as long as nobody asks to stop.

    Args:
        command: program and arguments of a worker; the descriptors are appended as options.
        listeners: a listening socket for each worker (None: it only does jobs); they stay open here, so that clients
            wait while a worker is replaced.
        environ: environment of the workers.
    """

    def __init__(
        self,
        command: Sequence[str],
        listeners: Sequence[socket.socket | None],
        alarm: Alarm,
        *,
        limits: Limits | None = None,
        environ: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._alarm = alarm
        self._environ = dict(os.environ if environ is None else environ)
        self._clock = clock
        ours = secrets.token_hex(8)
        self._slots = [
            Slot(n, f"{ours}-{n}", command, listener, alarm, limits or Limits(), self._environ)
            for n, listener in enumerate(listeners)
        ]
        self._stalls: dict[bytes, int] = {}
        self._stop = threading.Event()
        self._was_ready = False
        self._wake_r, self._wake_w = os.pipe()
        for end in (self._wake_r, self._wake_w):
            os.set_blocking(end, False)

    def run(self) -> int:
        """Mind the workers until SIGTERM or SIGINT; return the exit status. Call it in the main thread."""
        signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._on_signal)
        stopping = False
        while True:
            if self._stop.is_set() and not stopping:
                stopping = True
                notify_systemd("STOPPING=1", self._environ)
            self._step(stopping)
            if stopping and all(slot.is_empty for slot in self._slots):
                statuses = [slot.status or 0 for slot in self._slots]
                self._alarm.say("stopped", status=next((status for status in statuses if status), 0))
                return 0
            if not self._was_ready and any(slot.status == MISCONFIGURED for slot in self._slots):
                for slot in self._slots:
                    slot.kill()
                return MISCONFIGURED
            self._wait()

    def _step(self, stopping: bool) -> None:
        now = self._clock()
        for slot in self._slots:
            others_serve = any(other.is_ready for other in self._slots if other is not slot)
            if slot.step(now, stopping=stopping, others_serve=others_serve):
                self._count_stall(slot)
        if not self._was_ready and any(slot.is_ready for slot in self._slots):
            self._was_ready = True
            notify_systemd("READY=1", self._environ)
        if self._was_ready:
            # Also while a worker is replaced, for which start_s bounds the silence: this process is well.
            notify_systemd("WATCHDOG=1", self._environ)

    def _on_signal(self, number: int, frame: object) -> None:
        del number, frame
        self._stop.set()

    def _wait(self) -> None:
        beats = [slot.beats for slot in self._slots if slot.beats is not None]
        select.select([self._wake_r, *beats], [], [], _STEP_S)
        try:
            while os.read(self._wake_r, 64):
                pass
        except BlockingIOError:
            return

    def _count_stall(self, slot: Slot) -> None:
        """Whatever text lay in the window when its worker ended is counted, however it ended, and told to all."""
        digest = slot.window.marked()
        if digest is None:
            return
        slot.window.mark(None)
        times = self._stalls.pop(digest, 0) + 1
        self._stalls[digest] = times
        for each in self._slots:
            each.window.put_stalls(self._stalls)
        self._alarm.sound("screening_stalled", times=times)
