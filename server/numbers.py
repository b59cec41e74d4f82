"""What `/metrics` says: the numbers of this process, and of the others that its supervisor keeps.

Workers share one port, and the kernel chooses who answers: so each of them writes its own numbers into a folder that
the supervisor made, and whoever is asked adds what the others wrote last. Every sample says which worker it is of.
What has not been written for FRESH_S is of a worker that is gone or stands still, and is left out: silence is a
number that can be seen, an old one would pass for a good one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
import structlog
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from server.clock import real_us

log = structlog.get_logger()
WRITE_EVERY_S: Final = 5.0
FRESH_S: Final = 15.0
_ENDING: Final = ".numbers"


class _Family(msgspec.Struct, array_like=True, frozen=True):
    """All samples of one name; each its own name, its labels and its value."""

    name: str
    documentation: str
    type: str
    samples: list[tuple[str, dict[str, str], float]]


class _Written(msgspec.Struct, array_like=True, frozen=True):
    at_us: int
    families: list[_Family]


_encode: Final = msgspec.msgpack.Encoder().encode
_decoder: Final = msgspec.msgpack.Decoder(_Written)


class Numbers(Collector):
    """The numbers of one worker and, where it has a folder, of all that write into it.

    Args:
        worker: names this one among them.
        folder: where they write; None: this process is alone.
    """

    def __init__(self, worker: str = "0", folder: Path | None = None, own: Collector = REGISTRY) -> None:
        self._worker, self._folder, self._own = worker, folder, own

    @property
    def is_alone(self) -> bool:
        return self._folder is None

    def write(self) -> None:
        """Leave the numbers of this worker for the others. Never raises: a full disk must not end a worker."""
        if self._folder is None:
            return
        path = self._folder / f"{self._worker}{_ENDING}"
        try:
            new = path.with_suffix(".new")
            new.write_bytes(_encode(_Written(real_us(), self._mine())))
            new.replace(path)
        except OSError as error:
            log.warning("numbers_not_written", error=type(error).__name__)

    def text(self) -> bytes:
        """All of it as Prometheus reads it."""
        return generate_latest(self)

    def collect(self) -> Iterable[Metric]:
        found: dict[str, Metric] = {}
        for family in (*self._mine(), *self._of_others()):
            metric = found.get(family.name)
            if metric is None:
                metric = found[family.name] = Metric(family.name, family.documentation, family.type)
            metric.samples += [Sample(name, labels, value) for name, labels, value in family.samples]
        return found.values()

    def _mine(self) -> list[_Family]:
        return [
            _Family(
                metric.name,
                metric.documentation,
                metric.type,
                [(one.name, {**one.labels, "worker": self._worker}, float(one.value)) for one in metric.samples],
            )
            for metric in self._own.collect()
        ]

    def _of_others(self) -> list[_Family]:
        found: list[_Family] = []
        if self._folder is None:
            return found
        for path in sorted(self._folder.glob(f"*{_ENDING}")):
            if path.stem == self._worker:
                continue
            try:
                written = _decoder.decode(path.read_bytes())
            except (OSError, msgspec.MsgspecError) as error:
                log.warning("numbers_not_read", error=type(error).__name__)
                continue
            if abs(real_us() - written.at_us) <= FRESH_S * 1e6:
                found += written.families
        return found
