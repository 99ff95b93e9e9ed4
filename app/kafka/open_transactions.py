"""Reports senders that leave a transaction open (rule read-committed).

Only committed transactions are read.  Until a transaction ends, nothing behind its first message
can be read, and the worker looks idle although events are waiting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import faust
import structlog
from faust.types import TP

from app.intake.fetches import Partition
from app.intake.intake import Intake
from app.kafka.faust_private import stable_and_end
from app.telemetry import metrics

__all__ = ["OPEN_SECONDS", "HeldBack", "OpenTransactions"]

logger = structlog.get_logger("butler_writer")

#: Seconds after which an open transaction is reported.  A pod's takes much less than one.
OPEN_SECONDS = 10.0


@dataclass
class HeldBack:
    """Decides which partitions have been held back for long.  Pure: the caller gives the time."""

    _since: dict[Partition, tuple[int, float]] = field(default_factory=dict)
    _reported: set[tuple[Partition, int]] = field(default_factory=set)
    longest: float = 0.0
    """Seconds for which a partition has been held back; 0 if none has for `OPEN_SECONDS`."""

    def look(self, now: float, offsets: Mapping[Partition, tuple[int, int]]) -> list[Partition]:
        """Return the partitions that are held back for long and were not returned before.

        Parameters
        ----------
        now : `float`
            In seconds of the monotonic clock.
        offsets : `~collections.abc.Mapping`
            The last stable offset and the end of each partition.
        """
        since = {}
        for partition, (stable, end) in offsets.items():
            if stable < end:
                stable_before, start = self._since.get(partition, (stable, now))
                since[partition] = (stable, start if stable_before == stable else now)
        self._since = since
        held = {
            (partition, stable): now - start
            for partition, (stable, start) in since.items()
            if now - start >= OPEN_SECONDS
        }
        self.longest = max(held.values(), default=0.0)
        new = held.keys() - self._reported
        self._reported = set(held)
        return sorted(partition for partition, _ in new)


class OpenTransactions:
    """Reports the open transactions of a worker's partitions to the log and the metrics.

    Parameters
    ----------
    app : `faust.App`
        Has the consumer.
    intake : `Intake`
        Has the assigned partitions.
    """

    def __init__(self, app: faust.App, intake: Intake[Any]) -> None:
        self._app = app
        self._intake = intake
        self._held_back = HeldBack()

    @property
    def longest(self) -> float:
        """Seconds for which a partition has been held back; 0 if none has for `OPEN_SECONDS`."""
        return self._held_back.longest

    def look(self, now: float) -> None:
        """Compare the last stable offsets with the ends of the log."""
        offsets = {
            partition: found
            for partition in self._intake.ledger.state()
            if (found := stable_and_end(self._app, TP(*partition))) is not None
        }
        for topic, partition in self._held_back.look(now, offsets):
            stable, end = offsets[topic, partition]
            logger.warning(
                "a sender has left a transaction open; events behind it wait until it ends",
                topic=topic,
                partition=partition,
                offset=stable,
                end=end,
            )
        metrics.OPEN_TRANSACTION_SECONDS.set(self._held_back.longest)
