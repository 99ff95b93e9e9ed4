"""The dead letters as a topic to read, and to send in again."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import MessageSizeTooLargeError

from app.errors import OperatorError
from app.kafka.readers import Message, connection_options, log_reader, message_at, read_until
from app.settings import MIB
from models.dead_letter import DeadLetter

if TYPE_CHECKING:
    from app.application import ButlerWriterApp

__all__ = [
    "LostEventError",
    "Place",
    "StoredLetter",
    "find_letters",
    "latest_letters",
    "original",
    "read_letters",
    "replay",
]

logger = structlog.get_logger("butler_writer")

#: Largest event that is sent in again, if the input topic takes it: one that was larger than a
#: worker takes may fit after its bound was raised.
_LARGEST = 100 * MIB

Place = tuple[int, int]
"""Partition and offset."""


class LostEventError(OperatorError):
    """The event that a letter points to is no longer in the input topic."""


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A dead letter, and its place in the dead-letter topic.

    Attributes
    ----------
    partition, offset : `int`
        Its place.
    letter : `DeadLetter`
        Why the event was set aside, and where it came from.
    key, value : `bytes` or `None`
        The event, whole; or, if it was too large for that, a pointer to it.
    """

    partition: int
    offset: int
    letter: DeadLetter
    key: bytes | None
    value: bytes | None

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return f"{self.partition}-{self.offset}"

    @property
    def pointer(self) -> Mapping[str, Any] | None:
        """What the letter says in place of an event that was too large, `None` if it has it."""
        try:
            decoded = orjson.loads(self.value or b"")
        except orjson.JSONDecodeError:
            return None
        # An event may pretend to be one, but does not know its own place.
        place = {name: getattr(self.letter, name) for name in ("topic", "partition", "offset")}
        is_pointer = (
            isinstance(decoded, dict)
            and decoded.get("type") == "dead-letter-pointer"
            and place.items() <= decoded.items()
            and "sha256" in decoded
        )
        return decoded if is_pointer else None

    @property
    def digest(self) -> str:
        """SHA-256 of the event."""
        if (pointer := self.pointer) is not None:
            return str(pointer["sha256"])
        return hashlib.sha256(self.value or b"").hexdigest()


async def read_letters(service: ButlerWriterApp) -> AsyncIterator[StoredLetter]:
    """Read the dead letters that there are now; those of one partition come in order."""
    async with log_reader(service, service.settings.kafka.dead_letter_topic) as consumer:
        ends = await consumer.end_offsets(consumer.assignment())
        async for message in read_until(consumer, ends):
            if (stored := _stored(message)) is not None:
                yield stored


async def find_letters(
    service: ButlerWriterApp, places: Iterable[Place]
) -> list[StoredLetter | None]:
    """Read the dead letters of some places; `None` for a place that has none."""
    topic = service.settings.kafka.dead_letter_topic
    async with log_reader(service, topic) as consumer:
        messages = [
            await message_at(consumer, TopicPartition(topic, partition), offset)
            for partition, offset in places
        ]
    return [_stored(message) if message is not None else None for message in messages]


async def latest_letters(service: ButlerWriterApp) -> set[Place]:
    """Return the places of the letters that are the last ones of their events.

    An event that was replayed in vain has several; to replay them all would double them each time.
    """
    latest: dict[str, tuple[int, str, Place]] = {}
    async for stored in read_letters(service):
        letter = (stored.letter.replays, stored.letter.time, (stored.partition, stored.offset))
        latest[stored.digest] = max(letter, latest.get(stored.digest, letter))
    return {place for _, _, place in latest.values()}


async def original(service: ButlerWriterApp, stored: StoredLetter) -> bytes | None:
    """Return the event that was set aside, from the input topic if the letter is a pointer.

    Raises
    ------
    LostEventError
        If the input topic does not keep it any more.
    """
    if stored.pointer is None:
        return stored.value
    letter = stored.letter
    async with log_reader(service, letter.topic) as consumer:
        place = TopicPartition(letter.topic, letter.partition)
        found = await message_at(consumer, place, letter.offset)
    if found is None or hashlib.sha256(found.value or b"").hexdigest() != stored.digest:
        raise LostEventError(
            f"{letter.topic}-{letter.partition} no longer has the event at {letter.offset}"
        )
    return bytes(found.value)


async def replay(
    service: ButlerWriterApp, letters: AsyncIterable[StoredLetter]
) -> AsyncIterator[tuple[StoredLetter, str | None]]:
    """Send events that were set aside to the input topic again.

    To replay an event twice is safe: a dataset that is in the Butler is not written again.

    Yields
    ------
    stored : `StoredLetter`
        Each of the letters, once the brokers have its event.
    problem : `str` or `None`
        Why it could not be sent.
    """
    producer = AIOKafkaProducer(
        acks="all", max_request_size=_LARGEST, **connection_options(service)
    )
    try:
        await producer.start()
        async for stored in letters:
            try:
                await producer.send_and_wait(
                    service.settings.kafka.topic,
                    await original(service, stored),
                    key=stored.key,
                    headers=[("replays", str(stored.letter.replays + 1).encode())],
                )
            except (LostEventError, MessageSizeTooLargeError) as exc:
                yield stored, f"{type(exc).__name__}: {exc}"
            else:
                yield stored, None
    finally:
        await producer.stop()


def _stored(message: Message) -> StoredLetter | None:
    try:
        letter = DeadLetter.from_headers(dict(message.headers))
    except (KeyError, ValueError, AttributeError) as exc:
        logger.warning(
            "passed over, not a dead letter of this service",
            partition=message.partition,
            offset=message.offset,
            error=repr(exc),
        )
        return None
    return StoredLetter(message.partition, message.offset, letter, message.key, message.value)
