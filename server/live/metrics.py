"""What the hub counts. No label holds an id: counts of everybody together, never of one person, room or message."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import accumulate
from typing import Final

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector

CONNECTIONS: Final = Gauge("evenkeel_live_connections", "Open sockets that were answered with 101.")
FOLLOWERS: Final = Gauge("evenkeel_live_followers", "Feeds followed, counted once for each socket.")
DELIVERIES: Final = Counter("evenkeel_live_deliveries", "Events written to a socket by fan-out.")
REPLAYS: Final = Counter("evenkeel_live_replays", "Events written to a socket by catching up.")
COMMANDS: Final = Counter("evenkeel_live_commands", "Commands carried out or refused.", ["kind", "outcome"])
CLOSES: Final = Counter("evenkeel_live_closes", "Sockets closed by the server.", ["code"])
GAP_READS: Final = Counter(
    "evenkeel_live_gap_reads", "Reads of the log because a feed was ahead of the hub.", ["outcome"]
)
LAGGING: Final = Gauge("evenkeel_live_lagging", "Sockets that are out of the fan-out because they read too slowly.")
TASKS: Final = Gauge("evenkeel_live_tasks", "Tasks of the event loop: the same again whenever nobody is here.")
LOOP_LAG: Final = Histogram(
    "evenkeel_live_loop_lag_seconds",
    "How late the timer of the event loop came.",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5),
)


class LoopHistogram(Collector):
    """A histogram that only the event loop writes to: without locks, a tenth of what the library's takes for a value.

    Args:
        bounds: upper bounds of the buckets in seconds, ascending; one more takes what is above them.
    """

    def __init__(self, name: str, documentation: str, bounds: Sequence[float]) -> None:
        self._name, self._documentation = name, documentation
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        buckets = list(zip(names, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._documentation, buckets=buckets, sum_value=self._sum)


ACK: Final = LoopHistogram(
    "evenkeel_live_ack_seconds",
    "From taking up a message to its acknowledgement being ready: screened and stored.",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
REGISTRY.register(ACK)


@cache
def command(kind: str, outcome: str) -> Counter:
    """The counter of one kind and outcome; looking it up among the labels each time costs 3 us."""
    return COMMANDS.labels(kind, outcome)
