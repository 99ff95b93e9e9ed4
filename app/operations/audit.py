"""Finds out what became of each event in a range of the input topic; changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import chain
from uuid import UUID

from lsst.daf.butler import Butler

from app.butler.repository.presence import look_up
from app.errors import OperatorError
from app.kafka.connection import KafkaConnection
from app.kafka.readers import Message, MessageId, TopicReader, committed_offsets, open_reader
from app.operations.dead_letters import DeadLetters, StoredLetter
from app.operations.event_presence import datasets_of, missing_datasets
from app.settings import KafkaSettings

__all__ = ["AuditError", "AuditRange", "Audited", "Finding", "audit_events"]

#: How many events are looked up in one call: some 50,000 datasets.
_CHUNK = 500


class Finding(StrEnum):
    """What became of an event."""

    WRITTEN = "written"
    """All its datasets are in the Butler, and their artifacts exist."""

    EXPIRED = "expired"
    """All its datasets are in the Butler, but artifacts have been removed since."""

    DEAD_LETTER = "dead-letter"
    """It was set aside."""

    PENDING = "pending"
    """Its offset is not committed yet: the service has not finished it."""

    MISSING = "missing"
    """Its offset is committed, but it was not set aside, and the Butler lacks datasets of it."""


class AuditError(OperatorError):
    """No event is in the range to audit."""


@dataclass(frozen=True)
class AuditRange:
    """A part of the input topic; it never goes beyond the ends of the partitions.

    Attributes
    ----------
    since, until : `datetime.datetime`, optional
        From the first event sent at or after ``since``; up to, but not including, the first one
        sent at or after ``until``.
    first, last : `int`, optional
        From one offset to another, both included, on every partition.
    """

    since: datetime | None = None
    until: datetime | None = None
    first: int | None = None
    last: int | None = None

    def __post_init__(self) -> None:
        """Refuse ends that are in the wrong order.

        Raises
        ------
        AuditError
            If they are.
        """
        if self.first is not None and self.last is not None and self.first > self.last:
            raise AuditError(f"no event is from --first {self.first} to --last {self.last}")
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise AuditError(f"no event is sent from --since {self.since} until {self.until}")

    async def bounds(self, reader: TopicReader) -> dict[int, tuple[int, int]]:
        """Return the first offset in the range, and the first after it, of each partition."""
        ends = await reader.end_offsets()
        starts = await reader.first_offsets()
        stops = ends
        if self.since is not None:
            starts = ends | await reader.offsets_at(self.since)
        if self.until is not None:
            stops = ends | await reader.offsets_at(self.until)
        bounds = {}
        for partition, end in ends.items():
            stop = stops[partition] if self.last is None else min(stops[partition], self.last + 1)
            start = min(max(starts[partition], self.first or 0), end)
            bounds[partition] = (start, max(start, stop))
        return bounds


@dataclass(frozen=True, slots=True)
class Audited:
    """An event, and what became of it.

    Attributes
    ----------
    partition, offset : `int`
        Of the event in the input topic.
    finding : `Finding`
        What became of it.
    datasets : `int`
        How many datasets it has; 0 if it cannot be decoded.
    missing : `tuple` [`uuid.UUID`, ...]
        Datasets that are not in the Butler as the event describes them.
    reason : `str`
        Why it was set aside, if it was.
    """

    partition: int
    offset: int
    finding: Finding
    datasets: int = 0
    missing: tuple[UUID, ...] = ()
    reason: str = ""
    letter: str = ""


async def audit_events(
    connection: KafkaConnection, settings: KafkaSettings, butler: Butler, audit_range: AuditRange
) -> AsyncIterator[tuple[Audited, int]]:
    """Find out what became of each event of a range.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to read from.
    settings : `~app.settings.KafkaSettings`
        Names of the topics, and the largest event.
    butler : `lsst.daf.butler.Butler`
        The repository that the datasets are expected in.
    audit_range : `AuditRange`
        The events to audit.

    Yields
    ------
    audited : `Audited`
        An event and what became of it.
    total : `int`
        How many offsets the range has.

    Raises
    ------
    AuditError
        If a range is given, and no event is in it.
    app.kafka.errors.TopicError
        If the input topic or the dead-letter topic does not exist.
    app.kafka.errors.KafkaError
        If the brokers cannot be reached or refuse the user.
    """
    # Read the offsets before the letters: an event that is finished in between is then reported as
    # pending, not as missing.
    committed = await committed_offsets(connection, settings.topic)
    letters = await _letters(DeadLetters(connection, settings), settings.topic)
    async with open_reader(connection, settings.topic, settings.max_message_bytes) as reader:
        bounds = await audit_range.bounds(reader)
        for partition, (start, _) in bounds.items():
            reader.seek(partition, start)
        total = sum(end - start for start, end in bounds.values())
        chunk: list[Message] = []
        is_empty = True
        async for message in reader.read_until({p: end for p, (_, end) in bounds.items()}):
            chunk.append(message)
            is_empty = False
            if len(chunk) == _CHUNK:
                for audited in _audit(butler, chunk, letters, committed):
                    yield audited, total
                chunk = []
        for audited in _audit(butler, chunk, letters, committed):
            yield audited, total
        # A time in which no event was sent is no mistake: there are nights without any.
        if is_empty and (audit_range.first, audit_range.last) != (None, None):
            raise AuditError(f"no event is in this range; {await _held(reader, settings.topic)}")


async def _held(reader: TopicReader, topic: str) -> str:
    """Describe which offsets a topic holds."""
    starts, ends = await reader.first_offsets(), await reader.end_offsets()
    held = [
        f"{topic}-{p} from {start} to {ends[p] - 1}"
        for p, start in starts.items()
        if ends[p] > start
    ]
    return f"there are events of {', '.join(held)}" if held else f"{topic} holds no event"


async def _letters(letters: DeadLetters, topic: str) -> dict[MessageId, StoredLetter]:
    """Return the last letter of each event of a topic that was set aside."""
    return {
        MessageId(stored.letter.partition, stored.letter.offset): stored
        async for stored in letters.read()
        if stored.letter.topic == topic
    }


def _audit(
    butler: Butler,
    messages: list[Message],
    letters: Mapping[MessageId, StoredLetter],
    committed: Mapping[int, int],
) -> list[Audited]:
    expected = [datasets_of(message.value) for message in messages]
    presence = look_up(butler, set(chain.from_iterable(given for given in expected if given)))
    audited = []
    for message, given in zip(messages, expected, strict=True):
        event_id = MessageId(message.partition, message.offset)
        datasets = given or {}
        missing = missing_datasets(presence, datasets)
        if given is not None and not missing:
            are_readable = datasets.keys() <= presence.readable
            finding = Finding.WRITTEN if are_readable else Finding.EXPIRED
        else:
            finished = message.offset < committed.get(message.partition, 0)
            finding = _finding_of_absent(set_aside=event_id in letters, finished=finished)
        found = Audited(*event_id, finding, len(datasets), missing)
        if finding is Finding.DEAD_LETTER:
            stored = letters[event_id]
            found = replace(found, reason=stored.letter.reason, letter=str(stored.id))
        audited.append(found)
    return audited


def _finding_of_absent(*, set_aside: bool, finished: bool) -> Finding:
    if set_aside:
        return Finding.DEAD_LETTER
    return Finding.MISSING if finished else Finding.PENDING
