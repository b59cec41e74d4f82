"""What the hub counts. No label holds an id: counts of everybody together, never of one person, room or message."""

from __future__ import annotations

from functools import cache
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

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
LOOP_LAG: Final = Histogram(
    "evenkeel_live_loop_lag_seconds",
    "How late the timer of the event loop came.",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5),
)


@cache
def command(kind: str, outcome: str) -> Counter:
    """The counter of one kind and outcome; looking it up among the labels each time costs 3 us."""
    return COMMANDS.labels(kind, outcome)
