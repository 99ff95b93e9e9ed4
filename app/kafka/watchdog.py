"""Ends a worker whose consumer is stuck, so that it is restarted (rule stuck-workers-end).

A consumer gets stuck in three known ways: it is never assigned partitions again after a
revocation, an error ends its membership in the group, or commits stall while events are acked
(faust-streaming issue 596).  None of them raises an exception.  Ending the process loses nothing:
what is not committed will be redelivered.  While the brokers are unreachable, or another program
holds the group, the watchdog waits, since a restart would not help.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

import faust
import structlog
from aiokafka.errors import InconsistentGroupProtocolError
from faust.types import TP

from app.butler.descriptions import describe_with_type
from app.intake.intake import Intake
from app.intake.ledger import Partition
from app.kafka.checks.access_rights import connect, may_be_temporary
from app.kafka.connection import KafkaConnection
from app.kafka.errors import AuthorizationError, KafkaError
from app.kafka.faust_private import membership_error
from app.kafka.group.members import describe_group
from app.settings import KafkaSettings
from app.telemetry.status import Status

__all__ = ["CHECK_INTERVAL", "KAFKA", "ConsumerWatch", "Watchdog"]

logger = structlog.get_logger("butler_writer")

#: Kafka's name among what a worker depends on.
KAFKA = "Kafka"

#: Seconds between two checks.
CHECK_INTERVAL = 5.0

#: Acked offsets are committed every `commit_interval`.  Commits have stalled after this many
#: intervals without one.
STALLED_COMMITS = 60


@dataclass
class Watchdog:
    """Decides whether a worker is stuck.  Pure: the caller gives the time.

    Attributes
    ----------
    unassigned_limit : `float`
        Seconds without an assignment after which the worker is stuck.
    commit_limit : `float`
        Seconds for which acked offsets may stay uncommitted.
    """

    unassigned_limit: float
    commit_limit: float
    _uncommitted_since: dict[Partition, tuple[int, float]] = field(default_factory=dict)
    _waits_restarted_at: float = -math.inf

    def is_waiting(self, now: float, unassigned_since: float | None) -> bool:
        """Return whether something has been overdue since the last check."""
        clocks = [since for _, since in self._uncommitted_since.values()]
        clocks += [] if unassigned_since is None else [unassigned_since]
        return any(now - since >= CHECK_INTERVAL for since in clocks)

    def restart_waits(self, now: float) -> None:
        """Restart all waits: nothing can arrive, and a restart would not help."""
        self._waits_restarted_at = now
        for partition, (offset, _) in self._uncommitted_since.items():
            self._uncommitted_since[partition] = (offset, now)

    def reason_to_end(
        self,
        now: float,
        unassigned_since: float | None,
        acked: Mapping[Partition, int],
        committed: Mapping[Partition, int],
        group_error: str | None = None,
    ) -> str | None:
        """Return why the worker must end, or `None` if it need not.

        Parameters
        ----------
        now, unassigned_since : `float`
            In seconds of the monotonic clock.
        acked, committed : `~collections.abc.Mapping`
            For each partition, the offset below which everything is acked, or committed.
        group_error : `str`, optional
            The error that ended the membership in the group; aiokafka tries to join again.
        """
        if unassigned_since is None and group_error is not None:
            return f"no longer in the group: {group_error}"
        if unassigned_since is not None:
            waited = now - max(unassigned_since, self._waits_restarted_at)
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
        """Return the watchdog for the settings."""
        return cls(2 * kafka.rebalance_timeout, STALLED_COMMITS * kafka.commit_interval)


class ConsumerWatch:
    """Checks a worker's consumer regularly; ends the process if it is stuck.

    Parameters
    ----------
    app : `faust.App`
        Has the consumer.
    intake : `Intake`
        Has the acked offsets.
    status : `Status`
        Has the time of the last revocation, and whether the worker is stopping.
    connection : `KafkaConnection`
        How to reach the brokers.
    watchdog : `Watchdog`
        Decides whether the consumer is stuck.
    ends_process : `bool`
        Whether to end the process if the consumer is stuck.
    """

    def __init__(
        self,
        app: faust.App,
        intake: Intake[Any],
        status: Status,
        connection: KafkaConnection,
        watchdog: Watchdog,
        *,
        ends_process: bool,
    ) -> None:
        self._app = app
        self._intake = intake
        self._status = status
        self._connection = connection
        self._watchdog = watchdog
        self._ends_process = ends_process

    async def check(self) -> None:
        """Check the consumer; end the process if it is stuck."""
        if self._status.stopping:
            return
        group_error = await self._membership_error()
        unassigned_since = self._status.unassigned_since
        now = time.monotonic()
        if self._watchdog.is_waiting(now, unassigned_since) and not await self._may_arrive():
            self._watchdog.restart_waits(time.monotonic())
        partitions = self._intake.ledger.state()
        committed = self._app.monitor.tp_committed_offsets
        reason = self._watchdog.reason_to_end(
            time.monotonic(),
            unassigned_since,
            {partition: state["acked_to"] for partition, state in partitions.items()},
            {p: max(state["start"], committed.get(TP(*p), 0)) for p, state in partitions.items()},
            group_error,
        )
        if reason is not None and self._ends_process:
            logger.critical("consumer is stuck, ending the worker", reason=reason)
            os._exit(1)  # a stuck consumer can block an orderly shutdown for ever

    async def _membership_error(self) -> str | None:
        """Return the error that has ended the membership in the group, unless a right is missing.

        A missing right is reported elsewhere.  It may be granted again, and a worker that is
        started without it ends.
        """
        error = await membership_error(self._app)
        is_kept_out = isinstance(error, InconsistentGroupProtocolError)
        self._status.kept_out = await self._other_members() if is_kept_out else None
        if error is None or isinstance(error, AuthorizationError):
            return None
        text = describe_with_type(error)
        logger.warning("not in the consumer group, joining again", error=text)
        return text

    async def _other_members(self) -> str | None:
        """Return who holds the group, such as the deployed service, if the brokers say so."""
        with suppress(KafkaError, OSError):
            group = await describe_group(self._connection)
            return group.foreign_members if group.is_foreign else None
        return None

    async def _may_arrive(self) -> bool:
        """Return whether a broker answers on a new connection; the consumer's own may hang.

        While access rights are missing, or another program holds the group, a restart would not
        help either.
        """
        if KAFKA in self._status.unavailable or self._status.kept_out is not None:
            return False
        try:
            with closing(await connect(self._connection)):
                return True
        except (KafkaError, OSError) as exc:
            return not may_be_temporary(exc)  # a refusal is an answer, too
