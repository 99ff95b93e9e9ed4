"""Looks at the group again and again, for pages that are kept open.

Its connections stay open while somebody looks: a look is then five small requests, and no message
is read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from app.intake.log_range import LogRange
from app.kafka.connection import KafkaConnection, admin_client
from app.kafka.group.log_ranges import log_ranges
from app.kafka.group.members import Group, ask_group
from app.kafka.readers import TopicReader, open_reader
from app.settings import KafkaSettings

__all__ = ["GroupLook", "GroupObserver"]

#: Seconds that a look may take.
_TIMEOUT = 3.0

#: Seconds without a look after which the connections are closed, and seconds after which they are
#: opened anew, so that partitions that were added to the topic are found.
_IDLE = 30.0
_RENEWED = 60.0


@dataclass(frozen=True, slots=True)
class GroupLook:
    """The group at one moment.

    Attributes
    ----------
    group : `Group`
        Its members.
    committed : `~collections.abc.Mapping` [`int`, `int`]
        The committed offset of each partition of the input topic that has one.
    logs : `~collections.abc.Mapping` [`int`, `LogRange`]
        What the log of each of its partitions holds.
    ends : `~collections.abc.Mapping` [`int`, `int`]
        The offset after the last message that can be read of each partition.
    """

    group: Group
    committed: Mapping[int, int]
    logs: Mapping[int, LogRange]
    ends: Mapping[int, int]

    def lag(self, partition: int) -> int:
        """Return how many offsets of a partition are not finished."""
        start = self.logs[partition].start(self.committed.get(partition))
        return max(0, self.ends[partition] - start)


class GroupObserver:
    """Asks who is in the group, and how far it has come; one look at a time.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers, and the name of the group.
    settings : `KafkaSettings`
        Has the input topic.
    """

    def __init__(self, connection: KafkaConnection, settings: KafkaSettings) -> None:
        self._connection = connection
        self._settings = settings
        self._open: tuple[AIOKafkaAdminClient, TopicReader] | None = None
        self._opened_at = 0.0
        self._stack = AsyncExitStack()
        self._idle: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None

    async def look(self) -> GroupLook:
        """Look once.

        Raises
        ------
        TimeoutError
            If the brokers have not answered in time.
        app.kafka.errors.TopicError
            If there is no input topic.
        app.kafka.errors.KafkaError
            If the brokers cannot be reached, or refuse the user.
        """
        if self._idle is not None:
            self._idle.cancel()
        try:
            async with asyncio.timeout(_TIMEOUT):
                await self._closed()
                admin, reader = await self._connected()
                found = await self._look(admin, reader)
        except BaseException:
            self._close_soon()
            raise
        self._idle = asyncio.get_running_loop().call_later(_IDLE, self._close_soon)
        return found

    async def close(self) -> None:
        """Close the connections."""
        if self._idle is not None:
            self._idle.cancel()
        self._close_soon()
        await self._closed()

    async def _look(self, admin: AIOKafkaAdminClient, reader: TopicReader) -> GroupLook:
        # The offsets first: what is committed in between is then reported as pending, not as
        # negative.  And the group before them: its coordinator has then loaded its offsets.
        group = await ask_group(admin, self._connection.group)
        found = await admin.list_consumer_group_offsets(
            self._connection.group,
            partitions=[TopicPartition(reader.topic, number) for number in reader.partitions],
        )
        committed = {
            tp.partition: each.offset
            for tp, each in found.items()
            if tp.topic == reader.topic and each.offset >= 0
        }
        logs = await log_ranges(self._connection, reader, committed)
        return GroupLook(group, committed, logs, await reader.end_offsets())

    async def _connected(self) -> tuple[AIOKafkaAdminClient, TopicReader]:
        if self._open is not None and time.monotonic() - self._opened_at > _RENEWED:
            self._close_soon()
            await self._closed()
        if self._open is None:
            kafka = self._settings
            admin = await self._stack.enter_async_context(admin_client(self._connection, _TIMEOUT))
            reader = await self._stack.enter_async_context(
                open_reader(self._connection, kafka.topic, kafka.max_message_bytes)
            )
            self._open, self._opened_at = (admin, reader), time.monotonic()
        return self._open

    async def _closed(self) -> None:
        """Wait until the former connections are closed."""
        if self._closing is not None:
            await asyncio.wait([self._closing])

    def _close_soon(self) -> None:
        """Close the connections in the background; nobody waits for brokers that are away."""
        stack, self._stack, self._open = self._stack, AsyncExitStack(), None
        self._closing = asyncio.ensure_future(_close(stack))


async def _close(stack: AsyncExitStack) -> None:
    with suppress(Exception):
        await stack.aclose()
