"""Looks how far the logs of the assigned partitions go, for the consumer lag.

What the consumer has seen of an end is as old as its last fetch, and nothing is fetched while
enough is held.  Ends are last stable offsets: nothing behind them can be read yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import faust
import structlog
from faust.transport.consumer import Consumer
from faust.types import TP

from app.butler.descriptions import describe_with_type
from app.intake.fetches import Partition
from app.intake.intake import Intake
from app.kafka.faust_private import number_of_partitions

__all__ = ["LogEnds"]

logger = structlog.get_logger("butler_writer")

#: Seconds to wait for an answer: Faust logs a warning for a timer that takes longer than its
#: interval.
_TIMEOUT = 4.0


class LogEnds:
    """The ends of the logs that a worker reads, and the number of partitions of its topic.

    Parameters
    ----------
    app : `faust.App`
        Has the consumer.
    intake : `Intake`
        Has the assigned partitions.
    topic : `str`
        The input topic.

    Attributes
    ----------
    ends : `~collections.abc.Mapping`
        The offset at which the log of each assigned partition ends, as of the last look.
    partitions : `int`
        How many partitions the topic has; 0 if that is not known yet.
    """

    def __init__(self, app: faust.App, intake: Intake[Any], topic: str) -> None:
        self._app = app
        self._intake = intake
        self._topic = topic
        self._running: asyncio.Future[Mapping[TP, int]] | None = None
        self.ends: Mapping[Partition, int] = {}
        self.partitions = 0

    async def look(self) -> None:
        """Look once; a look that does not return is continued instead of started again."""
        self.partitions = number_of_partitions(self._app, self._topic)
        if self._running is None:
            partitions = [TP(*partition) for partition in self._intake.ledger.state()]
            if not partitions:
                return
            consumer = cast("Consumer", self._app.consumer)
            self._running = asyncio.ensure_future(consumer.highwaters(*partitions))
        done, _ = await asyncio.wait([self._running], timeout=_TIMEOUT)
        if not done:
            return
        look, self._running = self._running, None
        try:
            self.ends = {(tp.topic, tp.partition): end for tp, end in look.result().items()}
        except Exception as exc:  # noqa: BLE001 - an exception would end the worker
            logger.debug("the ends of the logs are not known", error=describe_with_type(exc))
