"""Finds logs that were replaced, and have grown beyond the committed offset, while nobody read."""

from __future__ import annotations

from collections.abc import Mapping

from faust.types import TP

from app.intake.evidence import CommitEvidence, from_metadata
from app.intake.log_range import LogRange
from app.intake.suspects import ReadMessage
from app.kafka.connection import KafkaConnection, admin_client
from app.kafka.readers import open_reader

__all__ = ["committed_evidence", "find_other_messages"]


async def committed_evidence(
    connection: KafkaConnection, committed: Mapping[TP, int]
) -> dict[TP, CommitEvidence]:
    """Return what the commits tell about the logs that were read.

    Parameters
    ----------
    connection : `KafkaConnection`
        How to reach the brokers; has the group.
    committed : `~collections.abc.Mapping`
        The committed offset of each partition.

    Raises
    ------
    KafkaError
        If the brokers cannot be reached, or refuse the request.
    """
    if not committed:
        return {}
    async with admin_client(connection) as admin:
        # By name: the embedded broker's answer to a request for all of them cannot be decoded.
        found = await admin.list_consumer_group_offsets(connection.group, partitions=[*committed])
    by_partition = {TP(*tp): commit for tp, commit in found.items()}
    return {
        tp: from_metadata(commit.metadata or "", offset)
        for tp, offset in committed.items()
        if (commit := by_partition.get(tp)) is not None and commit.offset == offset
    }


async def find_other_messages(
    connection: KafkaConnection, lasts: Mapping[TP, ReadMessage], ranges: Mapping[TP, LogRange]
) -> list[TP]:
    """Return the partitions whose log has another message, or none, where one was read.

    A message that retention has dropped since tells nothing.

    Parameters
    ----------
    connection : `KafkaConnection`
        How to reach the brokers.
    lasts : `~collections.abc.Mapping`
        A message that was read of each partition.
    ranges : `~collections.abc.Mapping`
        What the log of each partition holds.

    Raises
    ------
    KafkaError
        If the brokers cannot be reached, or refuse the request.
    """
    expected = {
        tp: last for tp, last in lasts.items() if ranges[tp].first <= last.offset < ranges[tp].end
    }
    others = []
    for topic in {tp.topic for tp in expected}:
        # Fetches bring whole batches, however large they are; nothing more is needed.
        async with open_reader(connection, topic, 0) as reader:
            for tp, last in expected.items():
                reader.seek(tp.partition, last.offset)
                found = reader.read_until({tp.partition: last.offset + 1})
                if [ReadMessage.of(message) async for message in found] != [last]:
                    others.append(tp)
    return others
