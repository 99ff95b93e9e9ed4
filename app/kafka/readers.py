"""Reads topics outside the consumer group: joins no group, creates and commits nothing."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from app.kafka.connection import KafkaConnection, topic_partitions
from app.kafka.errors import KafkaError
from app.kafka.private.fetched_records import use_own_records
from app.settings import MIB

__all__ = ["Message", "MessageId", "TopicReader", "open_reader"]

#: How many messages are taken out of what was fetched in one go.  A fetch of 12 MiB can have
#: thousands of 10 MiB when it is decompressed.
_AT_ONCE = 8

#: Messages that are read in vain between two that are asked for: a new fetch costs more.
_NEAR = 16


class Message(NamedTuple):
    """A message as read from a topic.

    Attributes
    ----------
    partition, offset : `int`
        Where it is in the topic.
    timestamp : `int`
        When it was sent, in milliseconds since the Unix epoch.
    key, value : `bytes` or `None`
        Its content.
    headers : `dict` [`str`, `bytes`]
        Its headers.
    """

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]


class MessageId(NamedTuple):
    """Identifies a message within its topic."""

    partition: int
    offset: int

    @classmethod
    def named(cls, name: str) -> Self | None:
        """Return the id that a text, ``PARTITION-OFFSET``, is; `None` if it is something else."""
        found = re.fullmatch(r"([0-9]{1,9})-([0-9]{1,18})", name)
        return None if found is None else cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        """Return ``PARTITION-OFFSET``."""
        return f"{self.partition}-{self.offset}"


class TopicReader:
    """Reads all partitions of a topic, from their first offsets unless `seek` is called.

    Offsets are given and returned as mappings from partition numbers.

    Parameters
    ----------
    topic : `str`
        Name of the topic.
    consumer : `aiokafka.AIOKafkaConsumer`
        Started, with all partitions of the topic assigned.

    Attributes
    ----------
    topic : `str`
        Name of the topic.
    """

    def __init__(self, topic: str, consumer: AIOKafkaConsumer) -> None:
        self.topic = topic
        self._consumer = consumer

    @property
    def partitions(self) -> list[int]:
        """The topic's partitions, in order."""
        return sorted(tp.partition for tp in self._consumer.assignment())

    async def first_offsets(self) -> dict[int, int]:
        """Return the first offset that each partition still has."""
        return _by_partition(await self._consumer.beginning_offsets(self._all()))

    async def end_offsets(self) -> dict[int, int]:
        """Return the offset that the next message of each partition will have."""
        return _by_partition(await self._consumer.end_offsets(self._all()))

    async def offsets_at(self, time: datetime) -> dict[int, int]:
        """Return the offset of each partition's first message sent at or after a time.

        A partition that has no such message is absent.
        """
        milliseconds = max(0, int(time.timestamp() * 1000))
        found = await self._consumer.offsets_for_times(dict.fromkeys(self._all(), milliseconds))
        return {tp.partition: first.offset for tp, first in found.items() if first is not None}

    def seek(self, partition: int, offset: int) -> None:
        """Continue reading a partition at an offset."""
        self._consumer.seek(TopicPartition(self.topic, partition), offset)

    async def read_until(
        self, ends: Mapping[int, int], at_once: int = _AT_ONCE
    ) -> AsyncIterator[Message]:
        """Read partitions up to given offsets; the messages of one partition are in order.

        Parameters
        ----------
        ends : `~collections.abc.Mapping` [`int`, `int`]
            For each partition to read, the first offset that is not read.
        at_once : `int`, optional
            How many messages are decoded in one go.

        Yields
        ------
        message : `Message`
            The next message of any of the partitions.

        Raises
        ------
        KafkaError
            For example, if the user may not read the topic.
        """
        consumer = self._consumer
        unread = self._all(ends)
        consumer.resume(*unread)
        while True:
            done = {tp for tp in unread if await consumer.position(tp) >= ends[tp.partition]}
            consumer.pause(*done)
            unread -= done
            if not unread:
                return
            fetched = await consumer.getmany(*unread, timeout_ms=1000, max_records=at_once)
            for tp, messages in fetched.items():
                messages.reverse()
                while messages:  # those that were handed over are not held meanwhile
                    if messages[-1].offset < ends[tp.partition]:
                        yield _message(messages.pop())
                    else:
                        messages.clear()

    async def message(self, partition: int, offset: int) -> Message | None:
        """Return a message, or `None` if it is not, or no longer, in the topic."""
        if partition not in self.partitions:
            return None
        first, ends = await self.first_offsets(), await self.end_offsets()
        if not first[partition] <= offset < ends[partition]:
            return None
        return await self.first_message(partition, offset, offset + 1)

    async def first_message(self, partition: int, start: int, end: int) -> Message | None:
        """Return the first message in a range of offsets; `None` if it has only markers."""
        self.seek(partition, start)
        found = None
        async for message in self.read_until({partition: end}, at_once=1):
            found = message
            break
        await self._drop_fetched(TopicPartition(self.topic, partition))
        return found

    async def _drop_fetched(self, partition: TopicPartition) -> None:
        """Fetch no more of a partition, and drop what was fetched: it may be many megabytes."""
        self._consumer.pause(partition)
        with suppress(KafkaError):  # an error would be that of a message that is not needed
            await self._consumer.getmany(partition)

    async def messages(
        self, partition: int, offsets: Collection[int]
    ) -> AsyncIterator[tuple[int, Message | None]]:
        """Read some messages of a partition, in order.

        Parameters
        ----------
        partition : `int`
            The partition.
        offsets : `~collections.abc.Collection` [`int`]
            The offsets of the messages.

        Yields
        ------
        offset : `int`
            One of the offsets.
        message : `Message` or `None`
            The message; `None` if it is not, or no longer, in the topic.
        """
        first, ends = await self.first_offsets(), await self.end_offsets()
        left = deque(sorted(set(offsets)))
        while left:
            start = left[0]
            if not first.get(partition, 0) <= start < ends.get(partition, 0):
                yield left.popleft(), None
                continue
            self.seek(partition, start)
            end = _end_of_run(left, ends[partition])
            async for message in self.read_until({partition: end}):
                while left and left[0] < message.offset:
                    yield left.popleft(), None
                if left and left[0] == message.offset:
                    yield left.popleft(), message
            while left and left[0] < end:
                yield left.popleft(), None

    def _all(self, partitions: Iterable[int] | None = None) -> set[TopicPartition]:
        chosen = self.partitions if partitions is None else partitions
        return {TopicPartition(self.topic, partition) for partition in chosen}


@asynccontextmanager
async def open_reader(
    connection: KafkaConnection, topic: str, largest_event: int, *, committed_only: bool = True
) -> AsyncIterator[TopicReader]:
    """Run a reader of a topic.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to connect to.
    topic : `str`
        Name of the topic.
    largest_event : `int`
        Size in bytes of the largest event that the service accepts.
    committed_only : `bool`, optional
        Whether messages of open and aborted transactions are left out, as the worker does (rule
        read-committed).

    Raises
    ------
    TopicError
        If there is no such topic.
    KafkaError
        If no broker can be reached, or the login is refused.
    """
    partitions = await topic_partitions(connection, topic)
    use_own_records()
    consumer = AIOKafkaConsumer(
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed" if committed_only else "read_uncommitted",
        # A dead letter is larger than its event, and a batch of one is larger still.
        max_partition_fetch_bytes=largest_event + 2 * MIB,
        **connection.client_options,
    )
    try:
        await consumer.start()
        consumer.assign(partitions)
        consumer.pause(*partitions)  # nothing is fetched before it is asked for
        # Let the task that `assign` creates start.  If it is cancelled before that, it cancels the
        # task that cancelled it, and the command would end as if it had succeeded.
        await asyncio.sleep(0)
        yield TopicReader(topic, consumer)
    finally:
        await consumer.stop()


def _end_of_run(offsets: Iterable[int], end: int) -> int:
    """Return the offset after the first offsets that are near to one another."""
    last = None
    for offset in offsets:
        if offset >= end or (last is not None and offset - last > _NEAR):
            break
        last = offset
    return 0 if last is None else last + 1


def _message(record: Any) -> Message:
    return Message(
        partition=record.partition,
        offset=record.offset,
        timestamp=record.timestamp,
        key=record.key,
        value=record.value,
        headers=dict(record.headers or ()),
    )


def _by_partition(offsets: Mapping[TopicPartition, int]) -> dict[int, int]:
    return {tp.partition: offset for tp, offset in offsets.items()}
