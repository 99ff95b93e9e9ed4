"""Sends the messages of a flush; a send returns once the brokers have the message."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Protocol

from faust.exceptions import ProducerSendError
from faust.types import TopicT

from app.kafka.producer import Producer

__all__ = ["OutputTopic", "ProducerSender", "Sender", "TopicSender"]


class OutputTopic(Enum):
    """The topics that a flush sends to."""

    DEAD_LETTERS = auto()
    """Events that can never be written, whole, with the reason in their headers."""

    BATCHES_INGESTED = auto()
    """Announcements for the publication service (DMTN-330)."""

    CHAIN_UPDATES = auto()
    """What was written to each (chain, run), keyed by chain."""

    PRODUCTS = auto()
    """What was written, for other repositories, keyed by run; only if the product log is on."""


class Sender(Protocol):
    """Sends messages, and waits until each has arrived."""

    async def send(
        self,
        topic: OutputTopic,
        *,
        value: bytes,
        key: bytes | None = None,
        headers: Mapping[str, bytes] | None = None,
    ) -> None:
        """Send a message, and return once it has arrived.

        Parameters
        ----------
        topic : `OutputTopic`
            Where to send it.
        value : `bytes`
            The message.
        key : `bytes`, optional
            Its key; messages with the same key stay in order.
        headers : `~collections.abc.Mapping` [`str`, `bytes`], optional
            Its headers.

        Raises
        ------
        MessageSizeTooLargeError
            If it is larger than the topic accepts.
        KafkaError
            If it was not delivered; it may be sent again.
        """


class TopicSender:
    """Sends with Faust's producer; when a send returns, every in-sync replica has the message.

    Rule sends-are-awaited.

    Parameters
    ----------
    topics : `~collections.abc.Mapping` [`OutputTopic`, `faust.Topic`]
        Each topic by its role.
    """

    def __init__(self, topics: Mapping[OutputTopic, TopicT]) -> None:
        self._topics = topics

    async def send(
        self,
        topic: OutputTopic,
        *,
        value: bytes,
        key: bytes | None = None,
        headers: Mapping[str, bytes] | None = None,
    ) -> None:
        """Send a message (see `Sender.send`)."""
        # Not `Topic.send`: at a failure, it logs the whole message, and leaves a future whose
        # exception nobody retrieves.
        channel = self._topics[topic]
        message = channel.as_future_message(key=key, value=value, headers=headers)
        try:
            await channel.publish_message(message, wait=True)
        except ProducerSendError as exc:  # Faust's wrapper around the error
            raise exc.__cause__ or exc from None


class ProducerSender:
    """Sends with a producer of each topic, without Faust; when a send returns, it has arrived.

    Parameters
    ----------
    producers : `~collections.abc.Mapping` [`OutputTopic`, `Producer`]
        The producer of each topic by its role.
    """

    def __init__(self, producers: Mapping[OutputTopic, Producer]) -> None:
        self._producers = producers

    async def send(
        self,
        topic: OutputTopic,
        *,
        value: bytes,
        key: bytes | None = None,
        headers: Mapping[str, bytes] | None = None,
    ) -> None:
        """Send a message (see `Sender.send`)."""
        await self._producers[topic].send(value, key=key, headers=headers)
