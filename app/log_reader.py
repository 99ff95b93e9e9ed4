"""Reading a topic outside the consumer group: nothing is joined, nothing is committed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from app.settings import MIB

if TYPE_CHECKING:
    from app.service import ButlerWriterApp

__all__ = ["connection_options", "finished_offsets", "log_reader", "read_until"]


@asynccontextmanager
async def log_reader(service: ButlerWriterApp, *topics: str) -> AsyncIterator[AIOKafkaConsumer]:
    """Run a consumer of no group, which has all partitions of its topics, from their beginning."""
    consumer = AIOKafkaConsumer(
        *topics,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        # A dead letter is larger than its event; whole batches of those must be taken.
        max_partition_fetch_bytes=service.settings.kafka.max_message_bytes + 2 * MIB,
        **connection_options(service),
    )
    async with consumer:
        yield consumer


def connection_options(service: ButlerWriterApp) -> dict[str, Any]:
    """Return how a client of aiokafka's reaches the brokers."""
    security: Mapping[str, Any] = credentials_to_aiokafka_auth(
        service.conf.broker_credentials, None
    )
    return {"bootstrap_servers": service.settings.kafka.brokers, **security}


async def read_until(
    consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]
) -> AsyncIterator[ConsumerRecord[bytes, bytes]]:
    """Read from where the consumer is up to some offsets; each partition comes in order."""
    while any([await consumer.position(tp) < end for tp, end in ends.items()]):
        fetched = await consumer.getmany(timeout_ms=1000)
        for tp, messages in fetched.items():
            for message in messages:
                if message.offset < ends.get(tp, 0):
                    yield message


async def finished_offsets(service: ButlerWriterApp) -> dict[int, int]:
    """Return the offset up to which each partition of the input topic is finished."""
    kafka = service.settings.kafka
    admin = AIOKafkaAdminClient(**connection_options(service))
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(kafka.group)
    finally:
        await admin.close()
    return {tp.partition: found.offset for tp, found in offsets.items() if tp.topic == kafka.topic}
