"""One process that lives through seeds and writes one line of JSON for each: `python -m ops.torture.simulation.worker`.

A process of its own because the order of a Python set of texts depends on PYTHONHASHSEED, which is read when Python
starts; with it fixed, a seed is the same everywhere.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from ops.torture.simulation.stage import Stage
from ops.torture.simulation.world import Result, World


def as_line(result: Result) -> str:
    """A seed's figures as one line of JSON."""
    # `asdict` would make counters of pairs of the counters.
    return json.dumps({**vars(result), "violations": [asdict(one) for one in result.violations]})


def main() -> None:
    """Arguments: the first seed, how many, the step between two, and "forgetful" or "honest" for the disk."""
    first, count, step = (int(text) for text in sys.argv[1:4])
    stage = Stage()
    for n in range(count):
        world = World(stage, first + n * step, forgetful=sys.argv[4] == "forgetful")
        print(as_line(world.run()), flush=True)


if __name__ == "__main__":
    main()
