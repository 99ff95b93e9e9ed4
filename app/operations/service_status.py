"""The state of the whole service: group, workers, lag, dead letters; no worker need be alive."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

from app.kafka.connection import KafkaConnection
from app.kafka.errors import TopicError
from app.kafka.group.members import Group, describe_group
from app.operations.dead_letters import DeadLetters
from app.operations.lag import PartitionLag, measure_lag
from app.operations.worker_pages import WorkerReport, ask_workers
from app.settings import KafkaSettings

__all__ = ["ServiceStatus", "service_status"]


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """The state of the whole service.

    Attributes
    ----------
    topic : `str`
        The input topic.
    group : `Group`
        The consumer group.
    workers : `list` [`WorkerReport`]
        What each member says of itself.
    partitions : `list` [`PartitionLag`]
        The partitions of the input topic.
    letters : `~collections.Counter` [`str`] or `None`
        Number of dead letters by cause; `None` if there is no dead-letter topic yet.
    """

    topic: str
    group: Group
    workers: list[WorkerReport]
    partitions: list[PartitionLag]
    letters: Counter[str] | None

    @property
    def findings(self) -> list[str]:
        """What is wrong, each in one line with what to do."""
        group = self.group
        if not group.members:
            return [f"no worker is in the group {group.name}; start one: faust -A app worker"]
        if group.is_foreign:
            return [group.foreign_members]
        found = [
            f"worker {report.member.pages} is not ready: {report.not_ready}"
            for report in self.workers
            if report.is_ready is False
        ]
        if unowned := [
            f"{self.topic}-{each.partition}"
            for each in self.partitions
            if group.owner(self.topic, each.partition) is None
        ]:
            found.append(
                f"no worker reads {', '.join(unowned)} (group: {group.state}); if that lasts for "
                "longer than a rebalance, look at the workers' logs"
            )
        return found


async def service_status(connection: KafkaConnection, settings: KafkaSettings) -> ServiceStatus:
    """Find out the state of the service.

    Raises
    ------
    app.kafka.errors.TopicError
        If there is no input topic.
    app.kafka.errors.KafkaError
        If the brokers cannot be reached or refuse the user.
    """
    group, partitions, letters = await asyncio.gather(
        describe_group(connection),
        measure_lag(connection, settings),
        _letters(connection, settings),
    )
    workers = await ask_workers(group.members)
    return ServiceStatus(settings.topic, group, workers, partitions, letters)


async def _letters(connection: KafkaConnection, settings: KafkaSettings) -> Counter[str] | None:
    counts: Counter[str] = Counter()
    try:
        async for stored in DeadLetters(connection, settings).read():
            counts[stored.letter.error_class] += 1
    except TopicError:  # the first worker creates the topic
        return None
    return counts
