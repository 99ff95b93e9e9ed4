"""What the logs of a topic hold, to tell where a group reads on."""

from __future__ import annotations

from collections.abc import Mapping

from app.intake.log_range import LogRange
from app.kafka.connection import KafkaConnection
from app.kafka.readers import TopicReader, open_reader

__all__ = ["first_pending", "log_ends", "log_ranges"]


async def log_ends(
    connection: KafkaConnection,
    topic: str,
    stable: Mapping[int, int],
    committed: Mapping[int, int],
) -> Mapping[int, int]:
    """Return the ends of the logs that committed offsets are compared with.

    A worker of an earlier release, which read uncommitted messages, may have committed an offset
    beyond an open transaction: beyond the last stable offset, and still in the log.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to ask.
    topic : `str`
        Name of the topic.
    stable : `~collections.abc.Mapping` [`int`, `int`]
        The last stable offset of each partition.
    committed : `~collections.abc.Mapping` [`int`, `int`]
        The committed offsets.

    Raises
    ------
    KafkaError
        If the brokers cannot be reached, or refuse the user.
    """
    if all(offset <= stable[partition] for partition, offset in committed.items()):
        return stable
    async with open_reader(connection, topic, 0, committed_only=False) as reader:
        return await reader.end_offsets()


async def log_ranges(
    connection: KafkaConnection, reader: TopicReader, committed: Mapping[int, int]
) -> dict[int, LogRange]:
    """Return what the log of each partition holds, to compare committed offsets with.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to ask.
    reader : `TopicReader`
        A reader of the topic.
    committed : `~collections.abc.Mapping` [`int`, `int`]
        The committed offsets, asked for before this call.

    Raises
    ------
    KafkaError
        If the brokers cannot be reached, or refuse the user.
    """
    firsts = await reader.first_offsets()
    ends = await log_ends(connection, reader.topic, await reader.end_offsets(), committed)
    return {partition: LogRange(first, ends[partition]) for partition, first in firsts.items()}


async def first_pending(
    connection: KafkaConnection, reader: TopicReader, committed: Mapping[int, int]
) -> dict[int, int]:
    """Return the first pending offset of each partition; the parameters are those of `log_ranges`.

    A log that went back does not hold the committed offset: all of it is pending.

    Raises
    ------
    KafkaError
        If the brokers cannot be reached, or refuse the user.
    """
    logs = await log_ranges(connection, reader, committed)
    return {partition: log.start(committed.get(partition)) for partition, log in logs.items()}
