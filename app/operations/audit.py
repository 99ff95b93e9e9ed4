"""The audit: what became of each event of a range of the input topic.  Reads only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition
from lsst.daf.butler import DatasetRef

from app.butler.repository.presence import look_up
from app.kafka.readers import Message, finished_offsets, log_reader, read_until
from app.operations.dead_letters import Place, read_letters
from models.errors import InvalidEventError
from models.prompt_output import PromptOutput

if TYPE_CHECKING:
    from lsst.daf.butler import Butler

    from app.application import ButlerWriterApp

__all__ = ["AuditRange", "Audited", "Finding", "audit_events"]

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

    async def place(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, tuple[int, int]]:
        """Put a consumer to the beginning of the range; return where it begins and ends."""
        partitions = sorted(consumer.assignment())
        begins = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        starts = await _at(consumer, self.since, begins, ends)
        stops = await _at(consumer, self.until, ends, ends)
        bounds = {}
        for tp in partitions:
            stop = stops[tp] if self.last is None else min(stops[tp], self.last + 1)
            start = min(max(starts[tp], self.first or 0), ends[tp])
            consumer.seek(tp, start)
            bounds[tp] = (start, max(start, stop))
        return bounds


async def _at(
    consumer: AIOKafkaConsumer,
    time: datetime | None,
    default: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
) -> dict[TopicPartition, int]:
    """Return the first offset at or after a time, on each partition."""
    if time is None:
        return dict(default)
    milliseconds = max(0, int(time.timestamp() * 1000))
    found = await consumer.offsets_for_times(dict.fromkeys(default, milliseconds))
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
) -> AsyncIterator[tuple[Audited, int]]:
    """Look at each event of a range.

    Parameters
    ----------
    service : `ButlerWriterApp`
        Has the settings.
    butler : `lsst.daf.butler.Butler`
        Where the datasets must be.
    wanted : `AuditRange`
        Which events.

    Yields
    ------
    audited : `Audited`
        What became of an event.
    of : `int`
        How many offsets there are in the range.
    """
    # In this order: an event that is finished meanwhile must not be called missing.
    committed = await finished_offsets(service)
    letters = await _reasons(service)
    async with log_reader(service, service.settings.kafka.topic) as consumer:
        bounds = await wanted.place(consumer)
        of = sum(end - start for start, end in bounds.values())
        batch: list[Message] = []
        async for message in read_until(consumer, {tp: end for tp, (_, end) in bounds.items()}):
            batch.append(message)
            if len(batch) == _BATCH:
                for audited in _look_at(butler, batch, letters, committed):
                    yield audited, of
                batch = []
        for audited in _look_at(butler, batch, letters, committed):
            yield audited, of


async def _reasons(service: ButlerWriterApp) -> dict[Place, str]:
    """Return why each event was set aside that was."""
    return {
        (stored.letter.partition, stored.letter.offset): stored.letter.reason
        async for stored in read_letters(service)
        if stored.letter.topic == service.settings.kafka.topic
    }


def _look_at(
    butler: Butler,
    messages: list[Message],
    letters: Mapping[Place, str],
    committed: Mapping[int, int],
) -> list[Audited]:
    expected = [_datasets(message.value) for message in messages]
    presence = look_up(butler, set(chain.from_iterable(given for given in expected if given)))
    audited = []
    for message, given in zip(messages, expected, strict=True):
        place = (message.partition, message.offset)
        datasets = given or {}
        missing = tuple(
            sorted(
                dataset_id
                for dataset_id, ref in datasets.items()
                if not _is_registered(presence.registered.get(dataset_id), ref)
            )
        )
        if given is not None and not missing:
            in_place = datasets.keys() <= presence.readable
            finding = Finding.WRITTEN if in_place else Finding.EXPIRED
        else:
            finished = message.offset < committed.get(message.partition, 0)
            finding = _absent(set_aside=place in letters, finished=finished)
        reason = letters.get(place, "") if finding is Finding.DEAD_LETTER else ""
        audited.append(Audited(*place, finding, len(datasets), missing, reason))
    return audited


def _absent(*, set_aside: bool, finished: bool) -> Finding:
    if set_aside:
        return Finding.DEAD_LETTER
    return Finding.MISSING if finished else Finding.PENDING


def _datasets(value: bytes | None) -> dict[UUID, Any] | None:
    """Return the datasets that an event gives, `None` if it cannot be understood."""
    try:
        output = PromptOutput.decode(value)
        return {
            UUID(dataset_id): ref
            for dataset in output.datasets
            for dataset_id, ref in dataset["refs"].items()
        }
    except (InvalidEventError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _is_registered(found: DatasetRef | None, given: Any) -> bool:
    """Tell whether a dataset is in the Butler as an event gives it, and not as another."""
    try:
        return (
            found is not None
            and found.run == given["run"]
            and found.datasetType.name == given["dataset_type_name"]
            and all(
                given["data_id"][name] == value for name, value in found.dataId.required.items()
            )
        )
    except (TypeError, KeyError):
        return False
