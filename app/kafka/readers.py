"""Reading a topic outside the consumer group: nothing is joined, created or committed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import UnknownTopicOrPartitionError
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from app.settings import MIB

if TYPE_CHECKING:
    from app.application import ButlerWriterApp

__all__ = [
    "Message",
    "admin_client",
    "connection_options",
    "finished_offsets",
    "log_reader",
    "message_at",
    "read_until",
]

Message: TypeAlias = "ConsumerRecord[bytes, bytes]"


@asynccontextmanager
async def log_reader(service: ButlerWriterApp, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    """Run a consumer of no group that has all partitions of a topic, from their beginning.

    Raises
    ------
    aiokafka.errors.KafkaError
        If there is no such topic, for instance.
    """
    partitions = await _partitions(service, topic)
    consumer = AIOKafkaConsumer(
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        # A dead letter is larger than its event; whole batches of those must be taken.
        max_partition_fetch_bytes=service.settings.kafka.max_message_bytes + 2 * MIB,
        **connection_options(service),
    )
    try:
        await consumer.start()
        consumer.assign(partitions)
        # Let the task start that this makes: one that is cancelled before cancels its canceller,
        # which would end a command as though all were well.
        await asyncio.sleep(0)
        yield consumer
    finally:
        await consumer.stop()


@asynccontextmanager
async def admin_client(service: ButlerWriterApp) -> AsyncIterator[AIOKafkaAdminClient]:
    """Run an administration client."""
    admin = AIOKafkaAdminClient(**connection_options(service))
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


def connection_options(service: ButlerWriterApp) -> dict[str, Any]:
    """Return how a client of aiokafka's reaches the brokers."""
    security: Mapping[str, Any] = credentials_to_aiokafka_auth(
        service.conf.broker_credentials, None
    )
    return {"bootstrap_servers": service.settings.kafka.brokers, **security}


async def read_until(
    consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]
) -> AsyncIterator[Message]:
    """Read from where the consumer is up to some offsets; each partition comes in order."""
    reading = set(ends)
    while True:
        done = {tp for tp in reading if await consumer.position(tp) >= ends[tp]}
        consumer.pause(*done)
        reading -= done
        if not reading:
            return
        fetched = await consumer.getmany(*reading, timeout_ms=1000)
        for tp, messages in fetched.items():
            for message in messages:
                if message.offset < ends[tp]:
                    yield message


async def finished_offsets(service: ButlerWriterApp) -> dict[int, int]:
    """Return the offset up to which each partition of the input topic is finished."""
    kafka = service.settings.kafka
    async with admin_client(service) as admin:
        offsets = await admin.list_consumer_group_offsets(kafka.group)
    return {tp.partition: found.offset for tp, found in offsets.items() if tp.topic == kafka.topic}


async def message_at(
    consumer: AIOKafkaConsumer, place: TopicPartition, offset: int
) -> Message | None:
    """Return the message of one offset, `None` if the topic does not have it (any more)."""
    if place not in consumer.assignment():
        return None
    begins = await consumer.beginning_offsets([place])
    ends = await consumer.end_offsets([place])
    if not begins[place] <= offset < ends[place]:
        return None
    consumer.resume(place)
    consumer.seek(place, offset)
    async for message in read_until(consumer, {place: offset + 1}):
        return message
    return None


async def _partitions(service: ButlerWriterApp, topic: str) -> list[TopicPartition]:
    async with admin_client(service) as admin:
        # A broker may create a topic that it is asked for by name.
        if topic not in await admin.list_topics():
            raise UnknownTopicOrPartitionError(f"there is no topic {topic}")
        (found,) = await admin.describe_topics([topic])
    return [TopicPartition(topic, each["partition"]) for each in found["partitions"]]
