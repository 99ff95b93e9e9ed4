"""Limits what aiokafka's consumer fetches ahead (rule bounded-memory).

aiokafka limits each fetch, and holds one fetch for every partition.  So 64 partitions with messages
of 10 MiB take 640 MiB, whatever the settings are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import FetchError, FetchResult
from aiokafka.protocol.fetch import FetchRequest
from faust.types import TP

from app.intake.fetch_ahead import FetchAhead
from app.intake.received import size_of

__all__ = ["FetchLimit"]

#: Seconds between two looks whether there is room again.
_LOOK_INTERVAL = 0.05

#: A fetch returns at most this part of what may be fetched ahead; or one message, if it is larger.
_FETCHES = 4

Fetch = Callable[[set[TP], float, int], Awaitable[Mapping[TP, list[Any]]]]
"""Takes messages over from aiokafka: of these partitions, within a time, at most so many."""


class FetchLimit:
    """Stops fetching the input topic while enough of it is fetched ahead.

    Other topics are fetched all the same: the input topic may wait for the recovery of a table.

    Parameters
    ----------
    topic : `str`
        The input topic.
    ahead : `FetchAhead`
        What was fetched of it and has not arrived.
    """

    def __init__(self, topic: str, ahead: FetchAhead) -> None:
        self._topic = topic
        self._ahead = ahead
        self._fetch_bytes = max(1, ahead.limit // _FETCHES)
        self._fetcher: Any = None

    def apply(self, consumer: AIOKafkaConsumer) -> None:
        """Limit the fetches of a consumer that was started."""
        self._fetcher = consumer._fetcher
        self._fetcher._fetch_max_bytes = self._fetch_bytes
        next_actions = self._fetcher._get_actions_per_node

        def limited_actions(assignment: Any) -> tuple[Any, ...]:
            requests, resets, timeout, *more = next_actions(assignment)
            self._ahead.buffered = self._buffered()
            if not self._ahead.may_fetch:
                others = [(node, self._without_input(request)) for node, request in requests]
                requests = [(node, request) for node, request in others if request.topics]
                timeout = min(timeout, _LOOK_INTERVAL)
            return requests, resets, timeout, *more

        self._fetcher._get_actions_per_node = limited_actions

    async def take_over(
        self, fetch: Fetch, partitions: set[TP], wait: float, most: int
    ) -> dict[TP, list[Any]]:
        """Take messages over from aiokafka, one by one, until there are enough bytes.

        Parameters
        ----------
        fetch : `~collections.abc.Callable`
            Takes messages over without this limit.
        partitions : `set` [`faust.types.TP`]
            The partitions to take from.
        wait : `float`
            Seconds to wait for the first message.
        most : `int`
            Largest number of messages.
        """
        if not self._ahead.may_hand_over:
            partitions = {tp for tp in partitions if tp.topic != self._topic}
            wait = _LOOK_INTERVAL
            if not partitions:
                await asyncio.sleep(wait)
                return {}
        taken: dict[TP, list[Any]] = {}
        size = 0
        while most > 0 and size < self._fetch_bytes:
            found = await fetch(partitions, wait, 1)
            for tp, records in found.items():
                taken.setdefault(tp, []).extend(records)
                size += self._note(tp, records)
            # The next call would raise an error, and what was taken would be lost.
            if not found or self._has_error:
                break
            most, wait = most - 1, 0
        return taken

    def _note(self, tp: TP, records: list[Any]) -> int:
        """Note that Faust takes over messages; return their size in bytes."""
        sizes = {r.offset: size_of(r.key, r.value, r.headers) for r in records}
        if tp.topic == self._topic:
            self._ahead.hand_over((tp.topic, tp.partition), sizes)
        return sum(sizes.values())

    @property
    def _has_error(self) -> bool:
        return any(isinstance(found, FetchError) for found in self._fetcher._records.values())

    def _buffered(self) -> int:
        return sum(
            found._partition_records._records.size_in_bytes()
            for tp, found in self._fetcher._records.items()
            if tp.topic == self._topic and isinstance(found, FetchResult) and found.has_more()
        )

    def _without_input(self, request: FetchRequest) -> FetchRequest:
        request._topics = [each for each in request.topics if each[0] != self._topic]
        return request
