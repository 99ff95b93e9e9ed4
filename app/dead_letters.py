"""The dead letters as a topic to read, and to send in again."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from aiokafka import AIOKafkaProducer, TopicPartition

from app.log_reader import connection_options, log_reader, read_until
from app.settings import MIB
from models import DeadLetter

if TYPE_CHECKING:
    from app.service import ButlerWriterApp

__all__ = ["LostEventError", "StoredLetter", "original", "read_letters", "replay"]

#: How long an event that must be in the input topic is waited for, in milliseconds.
_PATIENCE_MS = 10_000


class LostEventError(Exception):
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


async def read_letters(service: ButlerWriterApp) -> AsyncIterator[StoredLetter]:
    """Read the dead letters that there are now; those of one partition come in order."""
    async with log_reader(service, service.settings.kafka.dead_letter_topic) as consumer:
        ends = await consumer.end_offsets(consumer.assignment())
        async for message in read_until(consumer, ends):
            letter = DeadLetter.from_headers(dict(message.headers))
            yield StoredLetter(
                message.partition, message.offset, letter, message.key, message.value
            )


async def original(service: ButlerWriterApp, stored: StoredLetter) -> bytes | None:
    """Return the event that was set aside, from the input topic if the letter is a pointer.

    Raises
    ------
    LostEventError
        If the input topic does not keep it any more.
    """
    pointer = _pointer(stored.value)
    if pointer is None:
        return stored.value
    place = TopicPartition(stored.letter.topic, stored.letter.partition)
    async with log_reader(service) as consumer:
        consumer.assign([place])
        consumer.seek(place, stored.letter.offset)
        messages = (await consumer.getmany(place, timeout_ms=_PATIENCE_MS)).get(place, [])
    found = messages[0].value if messages else None
    if found is None or hashlib.sha256(found).hexdigest() != pointer["sha256"]:
        raise LostEventError(f"{place.topic}-{place.partition} no longer has {messages}")
    return bytes(found)


def _pointer(value: bytes | None) -> Mapping[str, Any] | None:
    try:
        decoded = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    is_pointer = isinstance(decoded, dict) and decoded.get("type") == "dead-letter-pointer"
    return decoded if is_pointer else None


async def replay(service: ButlerWriterApp, letters: Iterable[StoredLetter]) -> int:
    """Send events that were set aside to the input topic again.

    To replay an event twice is safe: a dataset that is in the Butler is not written again.

    Returns
    -------
    replayed : `int`
        How many the brokers have.

    Raises
    ------
    LostEventError
        If the input topic does not keep an event any more.
    """
    kafka = service.settings.kafka
    producer = AIOKafkaProducer(
        acks="all",
        max_request_size=kafka.max_message_bytes + MIB,
        **connection_options(service),
    )
    replayed = 0
    async with producer:
        for stored in letters:
            await producer.send_and_wait(
                kafka.topic,
                await original(service, stored),
                key=stored.key,
                headers=[("replays", str(stored.letter.replays + 1).encode())],
            )
            replayed += 1
    return replayed
