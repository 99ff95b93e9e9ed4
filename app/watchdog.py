"""Ends a worker whose consumer is stuck, so that it is started again (rule 12).

Two ways of getting stuck are known: the consumer is revoked and never assigned again, and commits
stall although events are acked (faust-streaming issue 596).  Neither raises anything.  Nothing is
lost by ending the process: what was not committed is delivered again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog
from faust.types import TP

from app import app
from app.ledger import Partition

__all__ = ["Watchdog"]

logger = structlog.get_logger("butler_writer")

#: Seconds between two looks.
LOOK_INTERVAL = 5.0

#: Acked offsets are committed every `commit_interval`; so many of them without one is a stall.
STALLED_COMMITS = 60


@dataclass
class Watchdog:
    """Decides whether a worker is stuck.  Pure: no clock of its own.

    Attributes
    ----------
    unassigned_limit : `float`
        Seconds without an assignment that are too many.
    commit_limit : `float`
        Seconds that acked offsets may stay uncommitted.
    """

    unassigned_limit: float
    commit_limit: float
    _uncommitted_since: dict[Partition, tuple[int, float]] = field(default_factory=dict)

    def complaint(
        self,
        now: float,
        unassigned_since: float | None,
        acked: Mapping[Partition, int],
        committed: Mapping[Partition, int],
    ) -> str | None:
        """Say why the worker must end, or `None`.

        Parameters
        ----------
        now, unassigned_since : `float`
            In seconds of the monotonic clock.
        acked, committed : `~collections.abc.Mapping`
            For each partition, the offset below which all is acked, or committed.
        """
        if unassigned_since is not None and now - unassigned_since > self.unassigned_limit:
            return f"no assignment for {now - unassigned_since:.0f} s"
        for partition in self._uncommitted_since.keys() - acked.keys():
            del self._uncommitted_since[partition]
        for partition, offset in acked.items():
            stalled_at = committed[partition]
            if offset <= stalled_at:
                self._uncommitted_since.pop(partition, None)
                continue
            before, since = self._uncommitted_since.setdefault(partition, (stalled_at, now))
            if before != stalled_at:
                self._uncommitted_since[partition] = (stalled_at, now)
            elif now - since > self.commit_limit:
                return f"commits of {partition[0]}-{partition[1]} stalled at offset {stalled_at}"
        return None


_watchdog = Watchdog(
    unassigned_limit=2 * app.settings.kafka.rebalance_timeout,
    commit_limit=STALLED_COMMITS * app.settings.kafka.commit_interval,
)


@app.timer(interval=LOOK_INTERVAL)
async def watch() -> None:
    """Look at the consumer; end the process if it is stuck."""
    if not app.settings.service.watchdog or app.draining:
        return
    partitions = app.intake.ledger.state()
    committed = app.monitor.tp_committed_offsets
    complaint = _watchdog.complaint(
        time.monotonic(),
        app.status.unassigned_since,
        {partition: state["acked_to"] for partition, state in partitions.items()},
        {p: max(state["start"], committed.get(TP(*p), 0)) for p, state in partitions.items()},
    )
    if complaint is not None:
        logger.critical("consumer is stuck, ending the worker", reason=complaint)
        os._exit(1)  # a stuck consumer can hang an orderly stop for ever
