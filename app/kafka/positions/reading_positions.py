"""Starts reading the input topic at the committed offsets, so that no event is skipped.

Rule no-gaps-in-offsets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import structlog
from faust.types import TP

from app.butler.descriptions import describe_with_type
from app.intake.evidence import CommitEvidence, ReadEvidence
from app.intake.fetches import Partition
from app.intake.intake import Intake
from app.intake.log_range import LogRange
from app.intake.suspects import Suspects
from app.kafka.connection import KafkaConnection
from app.kafka.errors import IllegalStateError, KafkaError, TopicError
from app.kafka.faust_private import (
    commit_offsets,
    forget_gap,
    own_commits,
    restart_partitions,
)
from app.kafka.group.log_ranges import log_ends
from app.kafka.positions.committed_evidence import committed_evidence, find_other_messages
from app.kafka.positions.topic_id import TopicId
from app.telemetry import metrics
from app.telemetry.status import Status

if TYPE_CHECKING:
    import faust
    from faust.transport.consumer import Consumer

__all__ = ["ReadingPositions"]

logger = structlog.get_logger("butler_writer")

#: Longer than one fetch of Faust's consumer (its getmany waits 1.0 s).  After this time, a fetch
#: that was running when the flow stopped has ended and can no longer move the position.
FETCH_DRAIN_SECONDS = 1.2

#: Seconds between two attempts to look up offsets.
RETRY_SECONDS = 1.0


class ReadingPositions:
    """Moves the consumer to the offsets at which reading starts, and passes them to the intake.

    Parameters
    ----------
    app : `faust.App`
        Has the consumer.
    intake : `Intake`
        Gets the starting offsets.
    status : `Status`
        Says that a partition's log was reset, until reading has started again.
    suspects : `Suspects`
        Forgets what was read of a partition that starts anew.
    evidence : `ReadEvidence`
        Gets what the group's commits tell about the last message before them, and the topic's id.
    topic_id : `TopicId`
        Asks for the input topic's id.
    connection : `KafkaConnection`
        How to reach the brokers.
    topic : `str`
        The input topic.
    """

    def __init__(
        self,
        app: faust.App,
        intake: Intake[Any],
        status: Status,
        suspects: Suspects,
        evidence: ReadEvidence,
        *,
        topic_id: TopicId,
        connection: KafkaConnection,
        topic: str,
    ) -> None:
        self._app = app
        self._intake = intake
        self._status = status
        self._suspects = suspects
        self._evidence = evidence
        self._topic_id = topic_id
        self._connection = connection
        self._topic = topic

    async def read_again(self) -> None:
        """Read the input again from its committed offsets."""
        try:
            if await self.start() and not self._app.rebalancing:
                self._app.consumer.resume_flow()
        except IllegalStateError:
            # Reading starts when the rebalance that revoked them is complete.
            logger.info("partitions were revoked while reading again")

    async def start(self) -> bool:
        """Wait for the current fetch to end, and move to the committed offsets.

        A partition whose committed offset is not in its log, or whose log went back while it was
        read, starts at its first offset.  This stops the consumer's flow and does not resume it.

        Returns
        -------
        started : `bool`
            `False` if the partitions were revoked in the meantime.
        """
        epoch = self._intake.epoch
        consumer = cast("Consumer", self._app.consumer)
        consumer.stop_flow()
        await asyncio.sleep(FETCH_DRAIN_SECONDS)
        found = await self._look_up(consumer, epoch)
        if found is None or self._intake.epoch != epoch:
            return False
        starts, resets = found
        if resets:
            for tp in resets:
                self._suspects.forget(_key(tp))
                self._evidence.start(_key(tp), None)
            await restart_partitions(self._app, {tp: starts[tp] for tp in resets})
        # Faust's own seek does not move a partition that has no committed offset.
        await consumer.seek_wait(starts)
        if self._intake.epoch != epoch:
            return False
        for partition in starts:
            forget_gap(consumer, partition)
        self._intake.start_at(
            {_key(tp): start for tp, start in starts.items()}, [_key(tp) for tp in resets]
        )
        self._status.reading()
        return True

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commit offsets below which everything is acked."""
        if offsets:
            await commit_offsets(self._app, {TP(*p): offset for p, offset in offsets.items()})

    async def _look_up(
        self, consumer: Consumer, epoch: int
    ) -> tuple[dict[TP, int], list[TP]] | None:
        """Look up the starting offsets, again and again while the brokers do not answer."""
        while self._intake.epoch == epoch and not self._app.should_stop:
            try:
                return await self._starting_offsets(consumer)
            except IllegalStateError:
                raise
            except (KafkaError, OSError, TopicError) as exc:
                if self._intake.epoch == epoch:
                    self._status.cannot_start_reading(exc)
                logger.warning(
                    "cannot look up where to start reading", error=describe_with_type(exc)
                )
                await asyncio.sleep(RETRY_SECONDS)
        return None

    async def _starting_offsets(self, consumer: Consumer) -> tuple[dict[TP, int], list[TP]]:
        """Return the starting offset of each partition, and which ones start anew."""
        partitions = [tp for tp in consumer.assignment() if tp.topic == self._topic]
        if not partitions:
            return {}, []
        # First of all: if the topic is made again meanwhile, the next look finds another id.
        topic_id = await self._topic_id.ask()
        found = await consumer.seek_to_committed()
        committed = {tp: n for tp in partitions if (n := found.get(tp)) is not None and n >= 0}
        ranges = await self._log_ranges(consumer, partitions, committed)
        evidence = await committed_evidence(self._connection, committed)
        lasts = {tp: each.last for tp, each in evidence.items() if each.last is not None}
        others = await find_other_messages(self._connection, lasts, ranges)
        others += [tp for tp, each in evidence.items() if _is_of_another(each, topic_id)]
        self._evidence.topic_id = topic_id
        refused = self._intake.ledger.fetches.resets
        known = own_commits(self._app)
        starts, resets = {}, []
        for tp in partitions:
            offset = committed.get(tp)
            # The brokers drop a group's offsets together with the topic.
            was_reset = _key(tp) in refused or tp in others or (offset is None and tp in known)
            self._evidence.start(_key(tp), lasts.get(tp))
            starts[tp] = ranges[tp].start(offset, was_reset=was_reset)
            if was_reset:
                self._evidence.starts.forget(_key(tp))
            before = CommitEvidence() if was_reset else evidence.get(tp, CommitEvidence())
            self._evidence.starts.start(_key(tp), starts[tp], ranges[tp].end, before.starts)
            if was_reset or ranges[tp].lacks(offset):
                resets.append(tp)
                self._report_reset(tp, known.get(tp) if offset is None else offset, ranges[tp])
        return starts, resets

    async def _log_ranges(
        self, consumer: Consumer, partitions: list[TP], committed: Mapping[TP, int]
    ) -> dict[TP, LogRange]:
        firsts = await consumer.earliest_offsets(*partitions)
        stable = {tp.partition: end for tp, end in (await consumer.highwaters(*partitions)).items()}
        offsets = {tp.partition: offset for tp, offset in committed.items()}
        ends = await log_ends(self._connection, self._topic, stable, offsets)
        return {tp: LogRange(firsts[tp], ends[tp.partition]) for tp in partitions}

    def _report_reset(self, tp: TP, committed: int | None, log: LogRange) -> None:
        self._status.logs_reset([_key(tp)])
        lost = 0 if committed is None else max(0, log.first - committed)
        metrics.LOG_RESETS.inc()
        metrics.LOST_MESSAGES.inc(lost)
        logger.critical(
            "the log does not hold the offset that was read or committed; "
            "reading from its first offset",
            topic=tp.topic,
            partition=tp.partition,
            committed=committed,
            log_start=log.first,
            log_end=log.end,
            lost=lost,
        )


def _is_of_another(evidence: CommitEvidence, topic_id: str | None) -> bool:
    """Return whether a commit tells that another topic was read; an unknown id tells nothing."""
    return None not in (evidence.topic_id, topic_id) and evidence.topic_id != topic_id


def _key(tp: TP) -> Partition:
    return tp.topic, tp.partition
