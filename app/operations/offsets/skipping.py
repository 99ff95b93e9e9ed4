"""Sets one event aside by hand, and moves a stopped group past it."""

from __future__ import annotations

from collections.abc import Mapping

from app.announce.dead_letters import send_dead_letter
from app.butler.outcome import Rejection
from app.errors import OperatorError
from app.intake.entries import Entry
from app.intake.received import Received
from app.intake.windows import Arrival
from app.kafka.connection import KafkaConnection
from app.kafka.group.log_ranges import first_pending
from app.kafka.group.offsets import committed_offsets, set_committed
from app.kafka.producer import open_producer
from app.kafka.readers import Message, MessageId, TopicReader, open_reader
from app.kafka.sending import OutputTopic, ProducerSender
from app.settings import MIB, KafkaSettings
from models.causes import Cause

__all__ = ["SkipError", "skip_event"]


class SkipError(OperatorError):
    """The event cannot be skipped: it is not the first pending one of its partition."""


async def skip_event(connection: KafkaConnection, settings: KafkaSettings, event: MessageId) -> int:
    """Send an event to the dead letters, and commit the offset after it.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers; has the group, which must have no members.
    settings : `~app.settings.KafkaSettings`
        Names of the topics, and the largest event.
    event : `MessageId`
        Partition and offset of the event in the input topic.

    Returns
    -------
    offset : `int`
        The offset at which the group continues.

    Raises
    ------
    SkipError
        If it is not the first pending event of its partition.
    app.kafka.group.offsets.GroupInUseError
        If the group has members by now.
    app.kafka.errors.TopicError
        If the input topic or the dead-letter topic does not exist.
    app.kafka.errors.KafkaError
        If the brokers cannot be reached or refuse the user.
    """
    topic = settings.topic
    committed = await committed_offsets(connection, topic)
    async with open_reader(connection, topic, settings.max_message_bytes) as reader:
        pending = await first_pending(connection, reader, committed)
        message = await _first_message(reader, pending, event)
    rejection = Rejection(Cause.SKIPPED, "an operator has skipped it")
    largest = settings.max_message_bytes + 2 * MIB
    async with open_producer(connection, settings.dead_letter_topic, largest) as producer:
        await send_dead_letter(
            ProducerSender({OutputTopic.DEAD_LETTERS: producer}),
            _arrival(topic, message),
            rejection,
        )
    await set_committed(connection, topic, {event.partition: event.offset + 1})
    return event.offset + 1


async def _first_message(
    reader: TopicReader, pending: Mapping[int, int], event: MessageId
) -> Message:
    """Return the first pending message of a partition, which must be the given event.

    Raises
    ------
    SkipError
        If it is another one.
    """
    start, end = pending.get(event.partition), (await reader.end_offsets()).get(event.partition, 0)
    if start is None:
        raise SkipError(f"{reader.topic} has no partition {event.partition}")
    name = f"{reader.topic}-{event.partition}@{event.offset}"
    if event.offset < start:
        raise SkipError(f"{name} is finished: the group continues at offset {start}")
    first = await reader.first_message(event.partition, start, end) if start < end else None
    if first is None:
        raise SkipError(f"{reader.topic}-{event.partition} has no event that is not finished")
    if first.offset != event.offset:
        raise SkipError(
            f"{name} is not the first event that is not finished: that is offset {first.offset}, "
            "and nothing before an event may be passed over"
        )
    return first


def _arrival(topic: str, message: Message) -> Arrival[Received]:
    entry = Entry((topic, message.partition), message.offset, 0, 0, lambda: None)
    return Arrival(entry, Received(message.key, message.value, message.headers))
