"""The worker of a bench: the real one, on one core, without the limits on how often an account may speak.

That a person is slowed down after twenty messages is right for persons; a load generator stands for hundreds of them on
few accounts. The buckets are still counted; they only never run dry.
"""

from __future__ import annotations

import os
import sys

from server import worker
from server.actions import pace

_NEVER_DRY = pace.Rate(burst=1_000_000_000, per_s=1e9)


def never_slow_down() -> None:
    """From now on nobody is too fast for this process."""
    pace.MEMBER = dict.fromkeys(pace.MEMBER, _NEVER_DRY)  # type: ignore[misc,assignment]


def main() -> int:
    """As `server.worker`, pinned to the core that `EVENKEEL_BENCH_CORE` names."""
    core = os.environ.get("EVENKEEL_BENCH_CORE")
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core)})
    never_slow_down()
    return worker.main()


if __name__ == "__main__":
    sys.exit(main())
