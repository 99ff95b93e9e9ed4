"""Tries events one at a time, once reading has started too often in vain (rule no-endless-retries).

What is known is kept in the commits themselves.  A topic for it would have to be created and
permitted, and could differ from the offsets: a group that is set back, or whose topic is made
again, starts without a record, as it should.  Whoever may read events may commit, so nothing more
has to be permitted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import faust
import structlog
from faust.types import TP

from app.butler.descriptions import describe_with_type
from app.intake.fetches import Partition
from app.intake.intake import Intake
from app.intake.starts import Starts
from app.kafka.errors import AuthorizationError, KafkaError, OffsetMetadataTooLargeError
from app.kafka.private.consumer_thread import commit_evidence
from app.telemetry import metrics

__all__ = ["CarefulReading"]

logger = structlog.get_logger("butler_writer")

#: Longest time that a rebalance, an attempt or the end of a worker waits for a commit, in seconds.
_TIMEOUT = 3.0


class CarefulReading:
    """Records starts and attempts with the offsets that the group commits.

    Parameters
    ----------
    app : `faust.App`
        Has the consumer.
    intake : `Intake`
        Says how far the partitions are finished.
    starts : `Starts`
        Decides whether to be careful.
    """

    def __init__(self, app: faust.App, intake: Intake[Any], starts: Starts) -> None:
        self._app = app
        self._intake = intake
        self._starts = starts
        self._may_record = True
        self._trying: Partition | None = None

    @property
    def is_on(self) -> bool:
        """Whether events are tried one at a time."""
        return self._may_record and self._starts.is_careful

    def is_suspect(self, partition: Partition, offset: int) -> bool:
        """Return whether an event has ended a worker that tried it alone."""
        return (partition, offset) in self._starts.suspects

    async def record_starts(self) -> None:
        """Record where reading starts; say so if the worker is careful."""
        await self._record(self._starts.partitions)
        metrics.CAREFUL.set(self.is_on)
        if not self.is_on:
            return
        for (topic, number), (start, end) in self._starts.careful().items():
            logger.warning(
                "workers have ended again and again at this offset: trying one event at a time",
                topic=topic,
                partition=number,
                offset=start,
                up_to=end,
            )

    async def begin(self, partition: Partition, offset: int) -> None:
        """Record that an event is about to be tried; does nothing unless the worker is careful."""
        if self.is_on and partition in self._intake.ledger.state():
            self._starts.try_alone(partition, offset)
            self._trying = partition
            await self._record([partition])

    async def end(self) -> None:
        """Record that the event is finished."""
        partition, self._trying = self._trying, None
        state = self._intake.ledger.state()
        if partition is None or partition not in state:
            return
        self._starts.end_attempt(partition, state[partition]["acked_to"])
        await self._record([partition])
        if not self._starts.is_careful:
            metrics.CAREFUL.set(0)
            logger.info("events are written together again")

    async def take_back(self) -> None:
        """Do not count the starts of this worker, since it ends for another reason."""
        self._starts.take_back()
        await self._record(self._starts.partitions)

    async def revoke(self) -> None:
        """Take the starts back, and forget all partitions."""
        await self.take_back()
        self._trying = None
        for partition in self._starts.partitions:
            self._starts.forget(partition)

    async def _record(self, partitions: Iterable[Partition]) -> None:
        """Commit how far partitions are finished, with what is known of the starts."""
        state = self._intake.ledger.state()
        offsets = {TP(*each): state[each]["acked_to"] for each in partitions if each in state}
        if not offsets or not self._may_record:
            return
        try:
            async with asyncio.timeout(_TIMEOUT):
                await commit_evidence(self._app, offsets)
        except (*AuthorizationError, OffsetMetadataTooLargeError) as exc:
            self._may_record = False
            logger.warning(
                "starts cannot be recorded: an event that ends its workers will not be found out",
                reason=describe_with_type(exc),
            )
        except (KafkaError, TimeoutError) as exc:
            logger.warning("a start was not recorded", reason=describe_with_type(exc))
