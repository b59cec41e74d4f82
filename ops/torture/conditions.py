"""What is different about a campaign's servers, and nothing else is: said in one place, applied in their processes."""

from __future__ import annotations

import functools
import resource
from dataclasses import dataclass, replace
from typing import Final

from ops.bench.worker import never_slow_down
from server import main
from server.live.hub import Hub, Timings


@dataclass(frozen=True, slots=True)
class Conditions:
    """How a campaign's servers differ from real ones.

    Attributes:
        unpaced: nobody is too fast; one account stands for many people.
        hurry: deadlines of connections come so many times sooner; whole campaigns run at 1.
        send_buffer: bytes that the system holds for one connection, as in a small network; 0: as it likes.
    """

    unpaced: bool = False
    hurry: float = 1.0
    send_buffer: int = 0

    def apply(self) -> None:
        """Make it so in this process, before it serves."""
        raise_open_files()
        if self.unpaced:
            never_slow_down()
        if self.hurry != 1.0:
            vars(main)["Hub"] = functools.partial(Hub, timings=hurried(self.hurry))


USUAL: Final = Conditions()


def hurried(times: float) -> Timings:
    """The deadlines of connections, so many times sooner."""
    usual = Timings()
    return replace(
        usual,
        **{
            name: getattr(usual, name) / times
            for name in ("hello_s", "ping_s", "dead_s", "slow_s", "command_s", "look_s", "tick_s")
        },
    )


def raise_open_files() -> None:
    """As many open files as this system allows without asking anybody."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
