"""Asks the brokers for a topic's id, which is another one when the topic is created again.

aiokafka knows topics by their names only, so the request is made here from its protocol classes.
"""

# aiokafka is untyped, and requests are subclasses of its classes.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import asyncio
from functools import cached_property
from io import BytesIO
from uuid import UUID

from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from app.kafka.checks.access_rights import connect
from app.kafka.connection import KafkaConnection

__all__ = ["TopicId"]

_NO_ID = UUID(int=0)


class TopicId:
    """The id of a topic, asked for on a connection that is opened again when it is lost.

    Parameters
    ----------
    connection : `KafkaConnection`
        How to reach the brokers.
    topic : `str`
        Name of the topic.
    """

    def __init__(self, connection: KafkaConnection, topic: str) -> None:
        self._connection = connection
        self._topic = topic
        self._broker: AIOKafkaConnection | None = None

    @cached_property
    def _turn(self) -> asyncio.Lock:
        return asyncio.Lock()

    async def ask(self) -> str | None:
        """Return the topic's id.

        Returns
        -------
        topic_id : `str` or `None`
            In hexadecimal; `None` if there is no such topic, or if the brokers give no ids (before
            Apache Kafka 2.8).

        Raises
        ------
        KafkaError
            If a broker closes the connection, or refuses the login.
        OSError
            If no broker answers.
        """
        async with self._turn:
            try:
                if self._broker is None:
                    self._broker = await connect(self._connection)
                answer = await self._broker.send(_TopicIds(self._topic))
            except (IncompatibleBrokerVersion, NotImplementedError):
                return None
            except (KafkaError, OSError):
                self.close()
                raise
        found = next((each[2] for each in answer.topics), _NO_ID)
        return None if found == _NO_ID else found.hex

    def close(self) -> None:
        """Close the connection."""
        if self._broker is not None:
            self._broker.close()
            self._broker = None


class _Uuid(AbstractType):
    @classmethod
    def encode(cls, value: UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        return UUID(bytes=data.read(16))


_TAGS = ("tags", TaggedFields)


class _TopicIdsResponse(Response):
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                _TAGS,
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        _TAGS,
                    ),
                ),
                ("authorized_operations", Int32),
                _TAGS,
            ),
        ),
        ("cluster_authorized_operations", Int32),
        _TAGS,
    )


class _TopicIdsRequest(RequestStruct):
    API_KEY = 3
    API_VERSION = 10
    RESPONSE_TYPE = _TopicIdsResponse
    FLEXIBLE_VERSION = True
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("topic_id", _Uuid), ("name", CompactString("utf-8")), _TAGS),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        _TAGS,
    )


class _TopicIds(Request[_TopicIdsRequest]):
    """Kafka's Metadata request, in the first version that tells the ids of topics."""

    API_KEY = 3

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def build(self, request_struct_class: type[_TopicIdsRequest]) -> _TopicIdsRequest:
        return request_struct_class([(_NO_ID, self._topic, {})], False, False, False, {})
