"""Ends a worker whose consumer is stuck, so that it is started again (rule 12).

Three ways of getting stuck are known: the consumer is revoked and never assigned again, its
membership in the group ends by an error, and commits stall although events are acked
(faust-streaming issue 596).  None raises anything.  Nothing is lost by ending the process: what was
not committed is delivered again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from faust.types import TP

from app.ledger import Partition

if TYPE_CHECKING:
    from app.service import ButlerWriterApp
    from app.settings import KafkaSettings

__all__ = ["LOOK_INTERVAL", "Watchdog", "watch"]

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
        group_error: str | None = None,
    ) -> str | None:
        """Say why the worker must end, or `None`.

        Parameters
        ----------
        now, unassigned_since : `float`
            In seconds of the monotonic clock.
        acked, committed : `~collections.abc.Mapping`
            For each partition, the offset below which all is acked, or committed.
        group_error : `str`, optional
            What has stopped the membership in the group; while joining, that is tried again.
        """
        if unassigned_since is None and group_error is not None:
            return f"no longer in the group: {group_error}"
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

    @classmethod
    def of(cls, kafka: KafkaSettings) -> Watchdog:
        """Return the watchdog that goes with some settings."""
        return cls(2 * kafka.rebalance_timeout, STALLED_COMMITS * kafka.commit_interval)


async def watch(service: ButlerWriterApp, watchdog: Watchdog) -> None:
    """Look at the consumer; end the process if it is stuck."""
    if service.draining:
        return
    partitions = service.intake.ledger.state()
    committed = service.monitor.tp_committed_offsets
    if group_error := await service.group_error():
        logger.warning("not in the consumer group, will ask again", error=group_error)
    complaint = watchdog.complaint(
        time.monotonic(),
        service.status.unassigned_since,
        {partition: state["acked_to"] for partition, state in partitions.items()},
        {p: max(state["start"], committed.get(TP(*p), 0)) for p, state in partitions.items()},
        group_error,
    )
    if complaint is not None and service.settings.service.watchdog:
        logger.critical("consumer is stuck, ending the worker", reason=complaint)
        os._exit(1)  # a stuck consumer can hang an orderly stop for ever
