"""Asks the brokers which operations the Kafka user may perform.

Brokers list the operations that a user may perform on a topic (KIP-430, Apache Kafka 2.3 and
later), and refuse the heartbeat of a group that the user may not join.  aiokafka's admin client
supports neither request, so both are made here from its protocol classes.
"""

# aiokafka is untyped, and requests are subclasses of its classes.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import IntEnum
from ssl import SSLEOFError, SSLError, SSLZeroReturnError
from typing import NamedTuple

from aiokafka.conn import AIOKafkaConnection, collect_hosts, create_conn
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    IncompatibleBrokerVersion,
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from app.kafka.connection import KafkaConnection
from app.kafka.errors import TopicError

__all__ = [
    "Operation",
    "Permissions",
    "Right",
    "check_permissions",
    "connect",
    "find_permissions",
    "may_be_temporary",
]

#: Seconds that one broker gets for the connection and the login.
_CONNECT_SECONDS = 5.0

#: The operations of a topic if the broker does not list them.
_NOT_LISTED = -(2**31)


class Operation(IntEnum):
    """An operation on a topic or a group, with Kafka's number for it."""

    READ = 3
    WRITE = 4
    CREATE = 5
    DESCRIBE_CONFIGS = 10


class Right(NamedTuple):
    """An operation on a resource of the brokers."""

    operation: Operation
    kind: str
    name: str

    def __str__(self) -> str:
        """Return ``READ on topic ...``."""
        return f"{self.operation.name} on {self.kind} {self.name}"


class Permissions(NamedTuple):
    """What the brokers say of the rights that were asked for; the user has all others.

    Attributes
    ----------
    lacking : `list` [`Right`]
        Those that the user lacks.
    not_listed : `list` [`Right`]
        Those of which the brokers say nothing.
    """

    lacking: list[Right]
    not_listed: list[Right]


def may_be_temporary(error: BaseException) -> bool:
    """Return whether an error of Kafka may be temporary; a wrong password is not, for example."""
    if isinstance(error, KafkaError):
        return bool(error.retriable)
    if isinstance(error, SSLError):  # a load balancer without brokers ends the handshake
        return isinstance(error, SSLEOFError | SSLZeroReturnError)
    return isinstance(error, OSError)


async def connect(connection: KafkaConnection) -> AIOKafkaConnection:
    """Connect to the first broker that answers.

    aiokafka's admin client also tries the brokers, but does not report why each of them failed.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to try, and the login.

    Returns
    -------
    broker : `aiokafka.conn.AIOKafkaConnection`
        An open connection to one of the brokers; the caller closes it.

    Raises
    ------
    KafkaError
        For example, if the login is refused.
    OSError
        If no broker answers.
    """
    errors: list[Exception] = []
    for host, port, _ in collect_hosts(list(connection.brokers)):
        try:
            return await create_conn(
                host,
                port,
                request_timeout_ms=int(_CONNECT_SECONDS * 1000),
                **connection.security_options,
            )
        except (KafkaError, OSError) as exc:
            errors.append(exc)
    raise min(errors, key=may_be_temporary)


async def check_permissions(
    broker: AIOKafkaConnection,
    connection: KafkaConnection,
    topics: Mapping[str, Sequence[Operation]],
    *,
    must_exist: Collection[str] = (),
) -> None:
    """Check that the user may perform the operations that a worker needs.

    Parameters
    ----------
    broker : `aiokafka.conn.AIOKafkaConnection`
        The user's connection to any broker.
    connection : `KafkaConnection`
        The user, and the group to join.
    topics : `~collections.abc.Mapping`
        The required operations by topic name; not checked if the brokers do not list what is
        allowed.
    must_exist : `~collections.abc.Collection` [`str`], optional
        Those of the topics that the worker does not create.

    Raises
    ------
    TopicError
        If the user may not; the text names each missing operation.  Or if a topic is missing.
    KafkaError
        For example, if the broker closes the connection.
    """
    found = await find_permissions(broker, connection.group, topics, must_exist)
    if denied := found.lacking:
        raise TopicError(
            f"Kafka user {connection.username or 'ANONYMOUS'} lacks {', '.join(map(str, denied))}; "
            "grant the access rules listed in README.md"
        )


async def find_permissions(
    broker: AIOKafkaConnection,
    group: str,
    topics: Mapping[str, Sequence[Operation]],
    must_exist: Collection[str] = (),
) -> Permissions:
    """Ask which rights the user has; the parameters are those of `check_permissions`.

    Raises
    ------
    TopicError
        If a topic that must exist is missing.
    KafkaError
        For example, if the broker closes the connection.
    """
    asked = [
        Right(operation, "topic", name)
        for name, operations in topics.items()
        for operation in operations
    ]
    join = Right(Operation.READ, "group", group)
    try:
        answer = await broker.send(_Topics(list(topics)))
    except (IncompatibleBrokerVersion, NotImplementedError):
        return Permissions([], [*asked, join])
    for error, name, *_ in answer.topics:
        if name in must_exist and for_code(error) is UnknownTopicOrPartitionError:
            raise TopicError(f"there is no topic {name}: it was deleted; create it again")
    allowed = {
        name: 0 if for_code(error) is TopicAuthorizationFailedError else operations
        for error, name, _, _, operations in answer.topics
    }
    not_listed = [right for right in asked if allowed[right.name] == _NOT_LISTED]
    missing = [
        right
        for right in asked
        if right not in not_listed and not allowed[right.name] & 1 << right.operation
    ]
    beat = await broker.send(HeartbeatRequest(group, -1, ""))
    if for_code(beat.error_code) is GroupAuthorizationFailedError:
        missing.append(join)
    return Permissions(missing, not_listed)


class _TopicsResponse(Response):
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(
                ("node_id", Int32),
                ("host", String("utf-8")),
                ("port", Int32),
                ("rack", String("utf-8")),
            ),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("name", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _TopicsRequest(RequestStruct):
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _TopicsResponse
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _Topics(Request[_TopicsRequest]):
    """Kafka's Metadata request, in the first version that lists the authorized operations."""

    API_KEY = 3

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def build(self, request_struct_class: type[_TopicsRequest]) -> _TopicsRequest:
        return request_struct_class(self._names, False, False, True)
