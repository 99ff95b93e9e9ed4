"""A producer of one topic, for use outside Faust; it waits until each message has arrived."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer

from app.kafka.connection import KafkaConnection, topic_partitions

__all__ = ["Producer", "open_producer"]


class Producer:
    """Sends messages to a topic, one by one.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers, which are asked for the topic.
    topic : `str`
        Name of the topic.
    client : `aiokafka.AIOKafkaProducer`
        A started client; the caller stops it.
    """

    def __init__(self, connection: KafkaConnection, topic: str, client: AIOKafkaProducer) -> None:
        self._connection = connection
        self._topic = topic
        self._client = client
        self._is_there = False

    async def send(
        self,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Mapping[str, bytes] | None = None,
    ) -> None:
        """Send a message and wait until all in-sync replicas have it.

        Parameters
        ----------
        value : `bytes` or `None`
            The message.
        key : `bytes`, optional
            Its key.
        headers : `~collections.abc.Mapping` [`str`, `bytes`], optional
            Its headers.

        Raises
        ------
        TopicError
            If there is no such topic.
        MessageSizeTooLargeError
            If the message is larger than this producer or the topic allows.
        KafkaError
            If the brokers refuse the message for another reason, or do not answer.
        """
        if not self._is_there:
            # The client waits for a missing topic until it times out, and then does not name it.
            await topic_partitions(self._connection, self._topic)
            self._is_there = True
        await self._client.send_and_wait(
            self._topic, value, key=key, headers=list((headers or {}).items())
        )


@asynccontextmanager
async def open_producer(
    connection: KafkaConnection, topic: str, largest_message: int
) -> AsyncIterator[Producer]:
    """Run a producer of a topic.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to connect to.
    topic : `str`
        Name of the topic.
    largest_message : `int`
        Size limit in bytes; the topic's own may be lower.

    Raises
    ------
    KafkaError
        If no broker can be reached, or the login is refused.
    """
    client = AIOKafkaProducer(
        acks="all", max_request_size=largest_message, **connection.client_options
    )
    try:
        await client.start()
        yield Producer(connection, topic, client)
    finally:
        await client.stop()
