"""Faust's consumer, with a thread that survives withdrawn access rights and commits with evidence.

Faust ends the application at any error of a fetch or a commit.  A right that was withdrawn may be
granted again; until then `BrokerProbe` reports it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import faust
import structlog
from aiokafka.errors import IllegalStateError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from app.butler.descriptions import describe_with_type
from app.intake.evidence import ReadEvidence, as_metadata
from app.intake.suspects import ReadMessage
from app.kafka.errors import AuthorizationError, KafkaError

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

__all__ = ["TolerantConsumer", "TolerantConsumerThread", "commit_evidence"]

logger = structlog.get_logger("butler_writer")

#: Seconds until the next fetch or commit after a refused one.
_PAUSE = 1.0


class TolerantConsumer(driver.Consumer):
    """A consumer whose partitions may be revoked while Faust seeks."""

    async def perform_seek(self) -> None:
        """Seek to the committed offsets.

        Faust runs this as a task.  The next rebalance may have begun when it fails: nobody looks at
        the task any more, and asyncio would report it as an error that somebody has missed.

        Raises
        ------
        aiokafka.errors.IllegalStateError
            If partitions were revoked meanwhile; Faust begins again after the rebalance.
        """
        try:
            await super().perform_seek()
        except IllegalStateError:
            task = cast("asyncio.Task[None]", asyncio.current_task())
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            raise


class TolerantConsumerThread(driver.AIOKafkaConsumerThread):
    """A consumer thread whose application has a `ReadEvidence`, as its attribute ``evidence``."""

    @property
    def _evidence(self) -> ReadEvidence:
        return cast("Any", self.app).evidence  # type: ignore[no-any-return]

    async def _fetch_records(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's signature
        max_records: int | None = None,
    ) -> Any:
        """Fetch messages, and note them; fetch none while a right to read is missing."""
        try:
            records = await super()._fetch_records(
                consumer, active_partitions, timeout, max_records
            )
        except AuthorizationError as exc:
            logger.debug("a fetch was refused", error=describe_with_type(exc))
            await asyncio.sleep(_PAUSE)
            return {}
        for tp, messages in records.items():
            self._evidence.read((tp.topic, tp.partition), map(ReadMessage.of, messages))
        return records

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit offsets, each with the last message that was read before it.

        Faust's own commit follows if this one fails; it decides whether the failure is an error.
        """
        assigned = {tp: offset for tp, offset in offsets.items() if tp in self.assignment()}
        try:
            await self._ensure_consumer().commit(_commits(self._evidence, assigned))
        except AuthorizationError as exc:
            logger.debug("a commit was refused", error=describe_with_type(exc))
            await asyncio.sleep(_PAUSE)
            return False
        except KafkaError:
            return await super()._commit(offsets)
        self.tp_last_committed_at.update(dict.fromkeys(assigned, time.monotonic()))
        return True


async def commit_evidence(app: faust.App, offsets: Mapping[TP, int]) -> None:
    """Commit offsets that may be committed already, for the sake of their evidence.

    Raises
    ------
    KafkaError
        If the brokers refuse it, for example during a rebalance.
    """
    thread: TolerantConsumerThread = cast("Any", app.consumer)._thread
    evidence: ReadEvidence = cast("Any", app).evidence
    await thread.call_thread(thread._ensure_consumer().commit, _commits(evidence, offsets))


def _commits(
    evidence: ReadEvidence, offsets: Mapping[TP, int]
) -> dict[TopicPartition, OffsetAndMetadata]:
    return {
        TopicPartition(*tp): OffsetAndMetadata(
            offset, as_metadata(evidence.of_commit((tp.topic, tp.partition), offset))
        )
        for tp, offset in offsets.items()
    }
