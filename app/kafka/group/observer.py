"""Looks at the group again and again, for pages that are kept open.

Its connections stay open while somebody looks: a look is then five small requests, and no message
is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from app.intake.log_range import LogRange
from app.kafka.connection import KafkaConnection, admin_client
from app.kafka.group.log_ranges import log_ranges
from app.kafka.group.members import Group, ask_group
from app.kafka.kept_open import KeptOpen
from app.kafka.readers import TopicReader, open_reader
from app.settings import KafkaSettings

__all__ = ["GroupLook", "GroupObserver"]

#: Seconds that a look may take.
_TIMEOUT = 3.0


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

    def start(self, partition: int) -> int:
        """Return the first offset of a partition that is not finished."""
        return self.logs[partition].start(self.committed.get(partition))

    def lag(self, partition: int) -> int:
        """Return how many offsets of a partition are not finished."""
        return max(0, self.ends[partition] - self.start(partition))


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
        self._clients = KeptOpen(self._open, _TIMEOUT)

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
        async with self._clients.use() as (admin, reader):
            return await self._look(admin, reader)

    async def close(self) -> None:
        """Close the connections."""
        await self._clients.close()

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

    async def _open(self, stack: AsyncExitStack) -> tuple[AIOKafkaAdminClient, TopicReader]:
        kafka = self._settings
        admin = await stack.enter_async_context(admin_client(self._connection, _TIMEOUT))
        reader = open_reader(self._connection, kafka.topic, kafka.max_message_bytes)
        return admin, await stack.enter_async_context(reader)
