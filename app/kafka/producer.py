"""A producer for use outside Faust; it waits until each message has arrived."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer

from app.kafka.connection import KafkaConnection

__all__ = ["Producer", "open_producer"]


class Producer:
    """Sends messages one by one.

    Parameters
    ----------
    client : `aiokafka.AIOKafkaProducer`
        A started client; the caller stops it.
    """

    def __init__(self, client: AIOKafkaProducer) -> None:
        self._client = client

    async def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Mapping[str, bytes] | None = None,
    ) -> None:
        """Send a message and wait until all in-sync replicas have it.

        Parameters
        ----------
        topic : `str`
            Where to send it.
        value : `bytes` or `None`
            The message.
        key : `bytes`, optional
            Its key.
        headers : `~collections.abc.Mapping` [`str`, `bytes`], optional
            Its headers.

        Raises
        ------
        MessageSizeTooLargeError
            If the message is larger than this producer or the topic allows.
        KafkaError
            If the brokers refuse the message for another reason, or do not answer.
        """
        await self._client.send_and_wait(
            topic, value, key=key, headers=list((headers or {}).items())
        )


@asynccontextmanager
async def open_producer(
    connection: KafkaConnection, largest_message: int
) -> AsyncIterator[Producer]:
    """Run a producer.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to connect to.
    largest_message : `int`
        Size limit in bytes; a topic's own may be lower.

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
        yield Producer(client)
    finally:
        await client.stop()
