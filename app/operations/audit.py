"""Finds out what became of each event in a range of the input topic; changes nothing."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from app.butler.events.limits import EventLimits
from app.kafka.connection import KafkaConnection
from app.kafka.group.log_ranges import first_pending
from app.kafka.group.offsets import committed_offsets
from app.kafka.readers import Message, MessageId, TopicReader, open_reader
from app.operations.audit_range import AuditError, AuditRange, Range
from app.operations.dead_letters import DeadLetters
from app.operations.event_presence import (
    EventPresence,
    GivenEvent,
    chunks_of,
    datasets_of,
    look_up,
)
from app.operations.presence import Presence
from app.operations.stored_letters import digest_of
from app.settings import KafkaSettings

__all__ = ["AuditError", "AuditRange", "Audited", "Finding", "audit_events"]

#: How many events are looked up in one call at most: some 50,000 datasets.
_CHUNK = 500

#: How many chunks are looked up at once.
_AT_ONCE = 3


_Letters: TypeAlias = Mapping[MessageId, Mapping[str, tuple[str, str]]]
"""The letters of each event, by the digest of the event: its name and the reason."""

_Harmful: TypeAlias = Mapping[str, tuple[str, str]]
"""A letter of each harmful event, by the digest of the event: its name and the reason."""


class Finding(StrEnum):
    """What became of an event."""

    WRITTEN = "written"
    """All its datasets are in the Butler, and their artifacts exist."""

    EXPIRED = "expired"
    """It was written, and is so old that its artifacts or datasets may have been removed since."""

    DEAD_LETTER = "dead-letter"
    """It was set aside.

    A harmful event is not looked up: it stays a dead letter, even if a replay has written it.
    """

    PENDING = "pending"
    """Its offset is not committed yet: the service has not finished it."""

    MISSING = "missing"
    """Its offset is committed, but it was not set aside, and the Butler lacks datasets of it.

    Or it has all of them, and their artifacts are gone.
    """


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
        How many datasets it has; 0 if it cannot be decoded, or is harmful.
    missing : `tuple` [`str`, ...]
        Datasets that are not in the Butler as the event describes them.
    reason : `str`
        Why it was set aside, or is missing although the Butler has its datasets.
    letter : `str`
        The name of its last letter, if it was set aside.
    """

    partition: int
    offset: int
    finding: Finding
    datasets: int = 0
    missing: tuple[str, ...] = ()
    reason: str = ""
    letter: str = ""


async def audit_events(
    connection: KafkaConnection,
    settings: KafkaSettings,
    presence: Presence,
    audit_range: Range,
    *,
    published_before: datetime | None = None,
    limits: EventLimits | None = None,
) -> AsyncIterator[tuple[Audited, int]]:
    """Find out what became of each event of a range.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to read from.
    settings : `~app.settings.KafkaSettings`
        Names of the topics, and the largest event.
    presence : `Presence`
        Looks up datasets in the repository that they are expected in.
    audit_range : `Range`
        The events to audit.
    published_before : `datetime.datetime`, optional
        Events sent before this time may have been published and removed: if they lack datasets or
        artifacts, they are `Finding.EXPIRED`.  Absent: all may lack artifacts, and none datasets.
    limits : `EventLimits`, optional
        How much an event may have; one that has more is not looked up.  Absent: the defaults.

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
    app.kafka.errors.TopicError, app.kafka.errors.KafkaError
        If a topic does not exist, or the brokers refuse the user or do not answer.
    """
    # First the offsets, then the letters: what is finished in between is pending, not missing.
    committed = await committed_offsets(connection, settings.topic)
    letters, harmful = await _letters(DeadLetters(connection, settings), settings.topic)
    async with open_reader(connection, settings.topic, settings.max_message_bytes) as reader:
        pending = await first_pending(connection, reader, committed)
        limits = limits or EventLimits()
        judge = _Judge(presence, letters, pending, published_before, limits, harmful)
        bounds = await audit_range.bounds(reader)
        total = sum(end - start for start, end in bounds.values())
        is_empty = True
        async for audited in _audited(reader, bounds, judge):
            is_empty = False
            yield audited, total
        # A time in which no event was sent is no mistake: there are nights without any.
        if is_empty and audit_range.names_offsets:
            raise AuditError(f"no event is in this range; {await _held(reader, settings.topic)}")


async def _audited(
    reader: TopicReader, bounds: Mapping[int, tuple[int, int]], judge: _Judge
) -> AsyncIterator[Audited]:
    """Read the events of a range, and yield what became of each."""
    for partition, (start, _) in bounds.items():
        reader.seek(partition, start)
    messages = reader.read_until({p: end for p, (_, end) in bounds.items()})
    # Without keys and headers: none is needed, and each may have megabytes.
    bare = (message._replace(key=None, headers={}) async for message in messages)
    chunks = chunks_of(bare, _CHUNK, lambda message: message.value)
    async for all_of_chunk in _in_threads(judge.audit, chunks):
        for audited in all_of_chunk:
            yield audited


async def _in_threads(
    audit: Callable[[list[Message]], list[Audited]], chunks: AsyncIterator[list[Message]]
) -> AsyncIterator[list[Audited]]:
    """Audit a chunk while the database looks for another one; yield the results in order."""
    running: deque[asyncio.Future[list[Audited]]] = deque()
    try:
        async for chunk in chunks:
            running.append(asyncio.ensure_future(asyncio.to_thread(audit, chunk)))
            if len(running) == _AT_ONCE:
                yield await running.popleft()
        while running:
            yield await running.popleft()
    finally:
        await asyncio.gather(*running, return_exceptions=True)


async def _held(reader: TopicReader, topic: str) -> str:
    """Describe which offsets a topic holds."""
    starts, ends = await reader.first_offsets(), await reader.end_offsets()
    held = [
        f"{topic}-{p} from {start} to {ends[p] - 1}"
        for p, start in starts.items()
        if ends[p] > start
    ]
    return f"there are events of {', '.join(held)}" if held else f"{topic} holds no event"


async def _letters(letters: DeadLetters, topic: str) -> tuple[_Letters, _Harmful]:
    """Return the name and the reason of the last letter of each event that was set aside.

    A letter that names an event and has another one says nothing of it.
    """
    found: defaultdict[MessageId, dict[str, tuple[str, str]]] = defaultdict(dict)
    harmful: dict[str, tuple[str, str]] = {}
    async for stored in letters.read():
        named = (str(stored.id), stored.letter.reason)
        if stored.letter.topic == topic:
            event_id = MessageId(stored.letter.partition, stored.letter.offset)
            found[event_id][stored.digest] = named
        if stored.is_harmful:
            harmful[stored.digest] = named
    return found, harmful


@dataclass(frozen=True)
class _Judge:
    """Says what became of events."""

    presence: Presence
    letters: _Letters
    pending: Mapping[int, int]  # the first pending offset of each partition
    published_before: datetime | None
    limits: EventLimits = field(default_factory=EventLimits)
    harmful: _Harmful = field(default_factory=dict)

    def audit(self, messages: list[Message]) -> list[Audited]:
        """Look up the datasets of some events, and say what became of each."""
        events = [
            datasets_of(message.value, self.limits)
            if self._harmful_letter(message) is None
            else GivenEvent()
            for message in messages
        ]
        return [
            self._audited(message, found, event)
            for message, event, found in zip(
                messages, events, look_up(self.presence, events), strict=True
            )
        ]

    def _audited(self, message: Message, found: EventPresence, event: GivenEvent) -> Audited:
        event_id = MessageId(message.partition, message.offset)
        letter = reason = ""
        is_event = event.datasets is not None
        is_registered = is_event and not found.missing
        if is_registered and found.is_readable:
            finding = Finding.WRITTEN
        elif is_registered and self._may_lack_artifacts(message):
            finding = Finding.EXPIRED
        elif (own := self._letter(event_id, message)) is not None:
            finding = Finding.DEAD_LETTER
            letter, reason = own
        elif message.offset >= self.pending[message.partition]:
            finding = Finding.PENDING
        elif (copied := self._harmful_letter(message)) is not None:
            # A replay of a harmful event: only a worker finds out what is to become of it.
            finding = Finding.DEAD_LETTER
            letter, reason = copied
        elif is_event and self._may_be_published(message):
            finding = Finding.EXPIRED
        else:
            finding = Finding.MISSING
            reason = "its artifacts are gone" if is_registered else event.excess
        return Audited(*event_id, finding, found.datasets, found.missing, reason, letter)

    def _letter(self, event_id: MessageId, message: Message) -> tuple[str, str] | None:
        letters = self.letters.get(event_id)
        if letters is None:
            return None
        return letters.get(digest_of(message.value))

    def _harmful_letter(self, message: Message) -> tuple[str, str] | None:
        return self.harmful.get(digest_of(message.value)) if self.harmful else None

    def _may_lack_artifacts(self, message: Message) -> bool:
        return self.published_before is None or self._may_be_published(message)

    def _may_be_published(self, message: Message) -> bool:
        before = self.published_before
        return before is not None and message.timestamp < before.timestamp() * 1000
