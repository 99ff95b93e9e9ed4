"""The audit: what became of each event of a range of the input topic.  Reads only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias
from uuid import UUID

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from app.butler.presence import Presence, look_up
from app.dead_letters import read_letters
from app.log_reader import finished_offsets, log_reader, read_until
from models import InvalidEventError, PromptOutput

if TYPE_CHECKING:
    from lsst.daf.butler import Butler

    from app.service import ButlerWriterApp

__all__ = ["AuditRange", "Audited", "Finding", "audit_events"]

Message: TypeAlias = "ConsumerRecord[bytes, bytes]"

#: How many events are looked up at once: some 50,000 datasets.
_BATCH = 500


class Finding(StrEnum):
    """What became of an event."""

    WRITTEN = "written"
    """All its datasets are in the Butler, and their artifacts are in place."""

    EXPIRED = "expired"
    """All its datasets are in the Butler, but artifacts have been removed since."""

    DEAD_LETTER = "dead-letter"
    """It was set aside."""

    PENDING = "pending"
    """Its offset is not committed: the service has yet to finish it."""

    MISSING = "missing"
    """It is finished, but not all its datasets are in the Butler, and it was not set aside."""


@dataclass(frozen=True)
class AuditRange:
    """The part of the input topic to look at.

    Attributes
    ----------
    since, until : `datetime.datetime`, optional
        From the first event sent at or after one time, up to that at or after another.
    first, last : `int`, optional
        From one offset to another, both included, on every partition.
    """

    since: datetime | None = None
    until: datetime | None = None
    first: int | None = None
    last: int | None = None

    async def place(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        """Put a consumer to the beginning of the range; return its ends."""
        partitions = sorted(consumer.assignment())
        begins = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        starts = await _at(consumer, self.since, begins, ends)
        stops = await _at(consumer, self.until, ends, ends)
        for tp in partitions:
            starts[tp] = max(starts[tp], self.first or 0)
            stops[tp] = stops[tp] if self.last is None else min(stops[tp], self.last + 1)
            consumer.seek(tp, min(starts[tp], ends[tp]))
        return stops


async def _at(
    consumer: AIOKafkaConsumer,
    time: datetime | None,
    default: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
) -> dict[TopicPartition, int]:
    """Return the first offset at or after a time, on each partition."""
    if time is None:
        return dict(default)
    found = await consumer.offsets_for_times(dict.fromkeys(default, int(time.timestamp() * 1000)))
    return {tp: (found[tp].offset if found.get(tp) else ends[tp]) for tp in default}


@dataclass(frozen=True, slots=True)
class Audited:
    """An event, and what became of it."""

    partition: int
    offset: int
    finding: Finding
    datasets: int = 0
    missing: tuple[UUID, ...] = ()
    reason: str = ""


async def audit_events(
    service: ButlerWriterApp, butler: Butler, wanted: AuditRange
) -> AsyncIterator[Audited]:
    """Look at each event of a range.

    Parameters
    ----------
    service : `ButlerWriterApp`
        Has the settings.
    butler : `lsst.daf.butler.Butler`
        Where the datasets must be.
    wanted : `AuditRange`
        Which events.
    """
    letters = {
        (stored.letter.partition, stored.letter.offset): stored.letter.reason
        async for stored in read_letters(service)
        if stored.letter.topic == service.settings.kafka.topic
    }
    # Asked before the log's end, so that an event that is finished meanwhile is not called missing.
    committed = await finished_offsets(service)
    async with log_reader(service, service.settings.kafka.topic) as consumer:
        batch: list[Message] = []
        async for message in read_until(consumer, await wanted.place(consumer)):
            batch.append(message)
            if len(batch) == _BATCH:
                for audited in _look_at(butler, batch, letters, committed):
                    yield audited
                batch = []
        for audited in _look_at(butler, batch, letters, committed):
            yield audited


def _look_at(
    butler: Butler,
    messages: list[Message],
    letters: Mapping[tuple[int, int], str],
    committed: Mapping[int, int],
) -> list[Audited]:
    expected = [_dataset_ids(message.value) for message in messages]
    presence = look_up(butler, set(chain.from_iterable(ids for ids in expected if ids)))
    audited = []
    for message, dataset_ids in zip(messages, expected, strict=True):
        place = (message.partition, message.offset)
        if (finding := _present(dataset_ids, presence)) is None:
            finished = message.offset < committed.get(message.partition, 0)
            finding = _absent(set_aside=place in letters, finished=finished)
        ids = dataset_ids or set()
        missing = tuple(sorted(ids - presence.stored))
        reason = letters.get(place, "") if finding is Finding.DEAD_LETTER else ""
        audited.append(Audited(*place, finding, len(ids), missing, reason))
    return audited


def _present(dataset_ids: set[UUID] | None, presence: Presence) -> Finding | None:
    """Judge an event whose datasets are all in the Butler; of any other, say nothing."""
    if dataset_ids is None or not dataset_ids <= presence.stored:
        return None
    return Finding.WRITTEN if dataset_ids <= presence.readable else Finding.EXPIRED


def _absent(*, set_aside: bool, finished: bool) -> Finding:
    if set_aside:
        return Finding.DEAD_LETTER
    return Finding.MISSING if finished else Finding.PENDING


def _dataset_ids(value: bytes | None) -> set[UUID] | None:
    """Return the datasets of an event, `None` if it cannot be understood."""
    try:
        output = PromptOutput.decode(value)
        return {UUID(dataset_id) for dataset in output.datasets for dataset_id in dataset["refs"]}
    except (InvalidEventError, ValueError, TypeError, KeyError, AttributeError):
        return None
