"""Named places at which a test may kill this process, to show that nothing is lost there.

`EVENKEEL_KILL_AT=name:n` kills the process (SIGKILL, no clean-up) when the place is reached for the n-th time. Unset, a
place costs one call of an empty function.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

BEFORE_COMMIT = "before_commit"
COMMIT_TO_ACK = "commit_to_ack"
ACK_TO_FAN_OUT = "ack_to_fan_out"
DUE_TO_ATTEMPT = "due_to_attempt"
ATTEMPT_TO_RECORD = "attempt_to_record"
ALL = (BEFORE_COMMIT, COMMIT_TO_ACK, ACK_TO_FAN_OUT, DUE_TO_ATTEMPT, ATTEMPT_TO_RECORD)


def _never(name: str) -> None:
    pass


def _armed(target: str, count: int) -> Callable[[str], None]:
    left = count

    def reach(name: str) -> None:
        nonlocal left
        if name == target:
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return reach


def arm(order: str) -> None:
    """Set the one place at which to kill ("name:count"); an empty order disarms. Raises ValueError for another form."""
    global reach  # noqa: PLW0603 - the whole point: every caller reaches for it by this name
    if not order:
        reach = _never
        return
    name, _, count = order.partition(":")
    if name not in ALL or not count.isdigit():
        raise ValueError(f"EVENKEEL_KILL_AT must be NAME:COUNT with NAME one of {', '.join(ALL)}")
    reach = _armed(name, int(count))


reach: Callable[[str], None] = _never
arm(os.environ.get("EVENKEEL_KILL_AT", ""))
