"""An event loop whose time is its own and whose order is drawn from a seed.

Nobody waits: when nothing is ready, the clock jumps to the next timer. Of what is ready, whichever callback the seed
says comes next, so that each seed is another schedule and the same seed the same one. Every callback belongs to the
host (a simulated process) in whose context it was made: a frozen host's wait. A dead host's tasks are cancelled; what
they still try to do has no effect, because whatever a host can act on asks whether it lives.

No thread and no file is ever touched: code that asks for one fails, and so does not escape the simulation.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import random
from collections.abc import Callable, Coroutine
from typing import Any, Final

STEPS_MOST: Final = 2_000_000


class Host:
    """Something that runs callbacks of its own, and can die or stand still.

    Attributes:
        context: what its callbacks and tasks are made in.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.frozen_until = 0.0
        self.context = contextvars.copy_context()
        self.context.run(_HOST.set, self)
        self.tasks: list[asyncio.Task[Any]] = []


_HOST: contextvars.ContextVar[Host | None] = contextvars.ContextVar("host", default=None)


class SimulatedLoop(asyncio.BaseEventLoop):
    """The loop of one seed. Times are virtual seconds since it was made.

    Args:
        rng: draws which of several ready callbacks is next.

    Attributes:
        faults: kinds of the errors that nobody caught.
        steps: callbacks that were run.
        outside: the context of what belongs to no host.
    """

    _ready: Any

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._now = 0.0
        self._rng = rng
        self._ready = []
        # By time, then by age; tuples, because a heap of the handles themselves compares them in Python.
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._made = 0
        self._parked: list[tuple[Host, asyncio.Handle]] = []
        self.outside = contextvars.Context()
        self.faults: list[str] = []
        self.steps = 0

    def time(self) -> float:
        return self._now

    def run(self, until: Callable[[], bool]) -> None:
        """Run callbacks until `until` says so. Raises RuntimeError when it never would."""
        asyncio._set_running_loop(self)
        try:
            while not until():
                self._step()
        finally:
            asyncio._set_running_loop(None)

    def run_for(self, seconds: float) -> None:
        """Run everything that happens within the next `seconds`."""
        end = self._now + seconds
        mark = self.call_at(end, lambda: None)
        self.run(lambda: self._now >= end)
        mark.cancel()

    def start(self, host: Host, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` in a task of `host`, which ends with it."""
        _ = host.context.copy().run(self.create_task, work)

    def freeze(self, host: Host, seconds: float) -> None:
        """Let nothing of `host` run for so long; what came meanwhile is run then."""
        host.frozen_until = self._now + seconds
        self.call_at(host.frozen_until, self._thaw, context=self.outside)

    def kill(self, host: Host) -> None:
        """End `host`: its tasks are thrown away, and what they still try to do has no effect (see `is_dead`)."""
        host.is_dead = True
        mine = [task for task in host.tasks if not task.done()]
        host.tasks.clear()
        for task in mine:
            task.cancel()

    def bury(self) -> None:
        """Let everything that was cancelled end. No time passes."""
        asyncio._set_running_loop(self)
        try:
            while self._ready:
                self._step()
        finally:
            asyncio._set_running_loop(None)

    def _step(self) -> None:
        self.steps += 1
        if self.steps > STEPS_MOST:
            raise RuntimeError("the simulation does not come to an end")
        ready, timers = self._ready, self._timers
        if not ready:
            while timers and timers[0][2].cancelled():
                heapq.heappop(timers)
            if not timers:
                raise RuntimeError("everything waits, and nothing is there to wake it")
            self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            timer = heapq.heappop(timers)[2]
            if not timer.cancelled():
                ready.append(timer)
        place = int(self._rng.random() * len(ready)) if len(ready) > 1 else 0
        handle: asyncio.Handle = ready[place]
        ready[place] = ready[-1]
        ready.pop()
        if handle.cancelled():
            return
        host = handle._context.get(_HOST)  # type: ignore[attr-defined]
        if host is not None and host.frozen_until > self._now and not host.is_dead:
            self._parked.append((host, handle))
            return
        handle._run()

    def _thaw(self) -> None:
        waiting, self._parked = self._parked, []
        for host, handle in waiting:
            if host.is_dead or host.frozen_until <= self._now:
                self._ready.append(handle)
            else:
                self._parked.append((host, handle))

    # --- what asyncio asks of a loop ---

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._made += 1
        heapq.heappush(self._timers, (when, self._made, timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time comes."""

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name, context=context)
        host = _HOST.get()
        if host is not None:
            if host.is_dead:
                task.cancel()
            host.tasks.append(task)
            if len(host.tasks) > 256:
                host.tasks[:] = [one for one in host.tasks if not one.done()]
        return task

    def call_exception_handler(self, context: Any) -> None:
        error = context.get("exception")
        host = _HOST.get()
        if error is not None and (host is None or not host.is_dead) and not isinstance(error, Crashed):
            self.faults.append(f"{type(error).__name__} at {_place(error)}")

    def run_in_executor(self, *_: Any) -> Any:  # type: ignore[override]
        raise RuntimeError("there are no threads in a simulation")

    def call_soon_threadsafe(self, *_: Any, **__: Any) -> asyncio.Handle:  # type: ignore[override]
        raise RuntimeError("there are no threads in a simulation")


class Crashed(BaseException):
    """Raised where a host dies in the middle of a step: nothing of it is carried out after that."""


def current_host() -> Host | None:
    """The host whose callback is running."""
    return _HOST.get()


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"
