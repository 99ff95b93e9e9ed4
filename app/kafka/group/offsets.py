"""The offsets that the group has committed, and setting them back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    UnknownMemberIdError,
)

from app.errors import OperatorError
from app.kafka.connection import KafkaConnection, topic_partitions
from app.kafka.group.members import describe_group

__all__ = ["GroupInUseError", "committed_offsets", "set_committed"]

#: Seconds until the brokers must have answered.
_TIMEOUT = 40.0


class GroupInUseError(OperatorError):
    """The group has members, whose offsets nobody else may set."""


async def committed_offsets(connection: KafkaConnection, topic: str) -> dict[int, int]:
    """Return the offset that the service's group has committed for each partition of a topic.

    Partitions without a committed offset are absent.

    Raises
    ------
    TopicError
        If there is no such topic.
    KafkaError
        If the brokers cannot be reached, or refuse the request.
    """
    # aiokafka takes the answer of a coordinator that is starting for one without offsets; this
    # question waits for it.
    await describe_group(connection)
    async with _outsider(connection, topic) as (consumer, partitions):
        async with asyncio.timeout(_TIMEOUT):
            found = {tp.partition: await consumer.committed(tp) for tp in partitions}
    return {partition: offset for partition, offset in found.items() if offset is not None}


async def set_committed(
    connection: KafkaConnection, topic: str, offsets: Mapping[int, int]
) -> None:
    """Set the committed offsets of some partitions; the brokers refuse it if there are members.

    Raises
    ------
    GroupInUseError
        If the group has members.
    KafkaError
        If the brokers cannot be reached, or refuse the request.
    """
    async with _outsider(connection, topic) as (consumer, _):
        try:
            async with asyncio.timeout(_TIMEOUT):
                await consumer.commit({TopicPartition(topic, p): n for p, n in offsets.items()})
        except (CommitFailedError, IllegalGenerationError, UnknownMemberIdError) as exc:
            raise GroupInUseError(
                f"the group {connection.group} has members now; stop all workers first"
            ) from exc


@asynccontextmanager
async def _outsider(
    connection: KafkaConnection, topic: str
) -> AsyncIterator[tuple[AIOKafkaConsumer, list[TopicPartition]]]:
    """Run a consumer that knows the group's coordinator, and is no member of the group.

    Yields
    ------
    consumer : `aiokafka.AIOKafkaConsumer`
        Started, with all partitions of the topic assigned; it fetches nothing.
    partitions : `list` [`aiokafka.TopicPartition`]
        These partitions.

    Raises
    ------
    TopicError
        If there is no such topic.
    KafkaError
        If the brokers cannot be reached, or refuse the user.
    """
    partitions = await topic_partitions(connection, topic)
    consumer = AIOKafkaConsumer(
        group_id=connection.group, enable_auto_commit=False, **connection.client_options
    )
    try:
        await consumer.start()
        consumer.assign(partitions)
        consumer.pause(*partitions)  # nothing is fetched
        # As in `open_reader`: the task that `assign` has created must start.
        await asyncio.sleep(0)
        yield consumer, partitions
    finally:
        await consumer.stop()
