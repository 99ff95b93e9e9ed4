"""Starts reading the input topic at the committed offsets, so that no event is skipped.

Rule no-gaps-in-offsets.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import structlog
from faust.types import TP

from app.intake.intake import Intake
from app.kafka.errors import IllegalStateError
from app.kafka.faust_private import forget_gap

if TYPE_CHECKING:
    import faust
    from faust.transport.consumer import Consumer

__all__ = ["ReadingPositions"]

logger = structlog.get_logger("butler_writer")

#: Longer than one fetch of Faust's consumer (its getmany waits 1.0 s).  After this time, a fetch
#: that was running when the flow stopped has ended and can no longer move the position.
FETCH_DRAIN_SECONDS = 1.2


class ReadingPositions:
    """Moves the consumer to the offsets at which reading starts, and passes them to the intake.

    Parameters
    ----------
    app : `faust.App`
        Has the consumer.
    intake : `Intake`
        Gets the starting offsets.
    topic : `str`
        The input topic.
    """

    def __init__(self, app: faust.App, intake: Intake[Any], topic: str) -> None:
        self._app = app
        self._intake = intake
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

        This stops the consumer's flow and does not resume it.

        Returns
        -------
        started : `bool`
            `False` if the partitions were revoked in the meantime.
        """
        epoch = self._intake.epoch
        consumer = cast("Consumer", self._app.consumer)
        consumer.stop_flow()
        await asyncio.sleep(FETCH_DRAIN_SECONDS)
        if self._intake.epoch != epoch:
            return False
        starts = await self._starting_offsets(consumer)
        # Faust's own seek does not move a partition that has no committed offset.
        await consumer.seek_wait(starts)
        if self._intake.epoch != epoch:
            return False
        for partition in starts:
            forget_gap(consumer, partition)
        self._intake.start_at({(tp.topic, tp.partition): offset for tp, offset in starts.items()})
        return True

    async def _starting_offsets(self, consumer: Consumer) -> dict[TP, int]:
        partitions = [tp for tp in consumer.assignment() if tp.topic == self._topic]
        if not partitions:
            return {}
        committed = await consumer.seek_to_committed()
        fresh = [tp for tp in partitions if (committed.get(tp) or -1) < 0]
        earliest = await consumer.earliest_offsets(*fresh) if fresh else {}
        return {tp: earliest[tp] if tp in earliest else committed[tp] for tp in partitions}
