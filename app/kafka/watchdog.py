"""Ends a worker whose consumer is stuck, so that it is started again (rule stuck-workers-end).

Three ways of getting stuck are known: the consumer is revoked and never assigned again, its
membership in the group ends by an error, and commits stall although events are acked
(faust-streaming issue 596).  None raises anything.  Nothing is lost by ending the process: what was
not committed is delivered again.  While the brokers are away nobody is stuck: to start again would
not bring them back.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from aiokafka.errors import KafkaError
from faust.types import TP

from app.intake.ledger import Partition
from app.kafka.checks.access_rights import connect, may_pass
from app.kafka.connection import KafkaConnection

if TYPE_CHECKING:
    from app.application import ButlerWriterApp
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
    recovered : `~collections.abc.Mapping` or `None`
        How far the recovery of the tables had come at the last look; `None` if none went on.
    """

    unassigned_limit: float
    commit_limit: float
    recovered: Mapping[TP, int] | None = None
    _uncommitted_since: dict[Partition, tuple[int, float]] = field(default_factory=dict)
    _excused_at: float = -math.inf

    def is_waiting(self, now: float, unassigned_since: float | None) -> bool:
        """Tell whether something was due at the last look already."""
        clocks = [since for _, since in self._uncommitted_since.values()]
        clocks += [] if unassigned_since is None else [unassigned_since]
        return any(now - since >= LOOK_INTERVAL for since in clocks)

    def excuse(self, now: float) -> None:
        """Begin all waits anew: with the brokers away, nothing could have come."""
        self._excused_at = now
        for partition, (offset, _) in self._uncommitted_since.items():
            self._uncommitted_since[partition] = (offset, now)

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
        if unassigned_since is not None:
            waited = now - max(unassigned_since, self._excused_at)
            if waited > self.unassigned_limit:
                return f"no assignment for {waited:.0f} s"
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
    before, watchdog.recovered = watchdog.recovered, service.recovered
    if before is not None and before == watchdog.recovered:
        logger.warning("the recovery of the tables has stalled; reading again")
        await service.recover_again()
    partitions = service.intake.ledger.state()
    committed = service.monitor.tp_committed_offsets
    if group_error := await service.group_error():
        logger.warning("not in the consumer group, will ask again", error=group_error)
    unassigned_since = service.status.unassigned_since
    if watchdog.is_waiting(time.monotonic(), unassigned_since) and not await brokers_answer(
        service
    ):
        watchdog.excuse(time.monotonic())
    complaint = watchdog.complaint(
        time.monotonic(),
        unassigned_since,
        {partition: state["acked_to"] for partition, state in partitions.items()},
        {p: max(state["start"], committed.get(TP(*p), 0)) for p, state in partitions.items()},
        group_error,
    )
    if complaint is not None and service.settings.service.watchdog:
        logger.critical("consumer is stuck, ending the worker", reason=complaint)
        os._exit(1)  # a stuck consumer can hang an orderly stop for ever


async def brokers_answer(service: ButlerWriterApp) -> bool:
    """Tell whether a broker answers, by a connection of its own: the consumer's may be stuck."""
    connection = KafkaConnection.of(service.settings.kafka)
    try:
        with closing(await connect(connection)):
            return True
    except (KafkaError, OSError) as exc:
        return not may_pass(exc)  # to be refused is an answer
