"""The state of the whole service: group, workers, lag, dead letters; no worker need be alive."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import aclosing
from dataclasses import dataclass

from app.kafka.connection import KafkaConnection
from app.kafka.errors import TopicError
from app.kafka.group.members import Group, describe_group
from app.operations.dead_letters import DeadLetters
from app.operations.status.lag import PartitionLag, measure_lag
from app.operations.status.worker_pages import WorkerReport, ask_workers
from app.settings import KafkaSettings

__all__ = ["DeadLetterCounts", "ServiceStatus", "service_status"]

#: For how many seconds dead letters are counted: each is read whole, and there may be very many.
_COUNTING_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class DeadLetterCounts:
    """How many dead letters there are.

    Attributes
    ----------
    by_cause : `~collections.Counter` [`str`]
        Their number by cause.
    is_complete : `bool`
        Whether all were counted; if not, there are at least so many.
    """

    by_cause: Counter[str]
    is_complete: bool = True

    def __str__(self) -> str:
        """Return ``total=...`` or ``total>=...``, and the number of each cause."""
        counts = "".join(f" {name}={count}" for name, count in self.by_cause.most_common())
        return f"total{'=' if self.is_complete else '>='}{self.by_cause.total()}{counts}"


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
    letters : `DeadLetterCounts` or `None`
        The dead letters; `None` if there is no topic for them yet.
    """

    topic: str
    group: Group
    workers: list[WorkerReport]
    partitions: list[PartitionLag]
    letters: DeadLetterCounts | None

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


async def _letters(connection: KafkaConnection, settings: KafkaSettings) -> DeadLetterCounts | None:
    counts: Counter[str] = Counter()
    end = time.monotonic() + _COUNTING_SECONDS
    try:
        async with aclosing(DeadLetters(connection, settings).read()) as letters:
            async for stored in letters:
                counts[stored.letter.error_class] += 1
                if time.monotonic() > end:
                    return DeadLetterCounts(counts, is_complete=False)
    except TopicError:  # the first worker creates the topic
        return None
    return DeadLetterCounts(counts)
