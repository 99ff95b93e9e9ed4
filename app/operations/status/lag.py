"""How far the group is behind: the lag of each partition, and its oldest pending event."""

from __future__ import annotations

from dataclasses import dataclass

from app.intake.log_range import LogRange
from app.kafka.connection import KafkaConnection
from app.kafka.group.log_ranges import log_ranges
from app.kafka.group.offsets import committed_offsets
from app.kafka.readers import TopicReader, open_reader
from app.settings import KafkaSettings

__all__ = ["PartitionLag", "measure_lag"]

#: How many offsets before the end of a partition are read to find out which of them are events.
_TAIL = 4


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """How far the group is behind in a partition.

    Attributes
    ----------
    partition : `int`
        Its number.
    committed : `int` or `None`
        The committed offset.
    first, end : `int`
        The first offset of the log, and the one after its last stable message.
    lag : `int`
        Number of offsets from the first pending event to the last one.  Messages of open
        transactions, which no worker can read, do not count, nor do the transaction markers behind
        the last event; markers between events cannot be told from them.
    oldest : `float` or `None`
        When the first pending event was sent, in seconds since the Unix epoch.
    """

    partition: int
    committed: int | None
    first: int
    end: int
    lag: int
    oldest: float | None


async def measure_lag(connection: KafkaConnection, settings: KafkaSettings) -> list[PartitionLag]:
    """Measure the lag of each partition of the input topic.

    Raises
    ------
    app.kafka.errors.TopicError
        If there is no input topic.
    app.kafka.errors.KafkaError
        If the brokers cannot be reached or refuse the user.
    """
    # The offsets first: what is committed in between is then reported as pending, not as negative.
    committed = await committed_offsets(connection, settings.topic)
    async with open_reader(connection, settings.topic, settings.max_message_bytes) as reader:
        logs = await log_ranges(connection, reader, committed)
        return [
            await _measured(reader, partition, committed.get(partition), logs[partition], end)
            for partition, end in sorted((await reader.end_offsets()).items())
        ]


async def _measured(
    reader: TopicReader, partition: int, committed: int | None, log: LogRange, end: int
) -> PartitionLag:
    start = log.start(committed)
    tail = max(start, end - _TAIL)
    after_last = tail
    reader.seek(partition, tail)
    async for message in reader.read_until({partition: end}):
        after_last = message.offset + 1
    oldest = None
    if after_last > start:
        first = await reader.first_message(partition, start, after_last)
        oldest = None if first is None else first.timestamp / 1000
    lag = 0 if oldest is None else after_last - start
    return PartitionLag(partition, committed, log.first, end, lag, oldest)
