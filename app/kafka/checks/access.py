"""Checks that a worker can log in to Kafka, with the rights and the session that it needs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from aiokafka.conn import AIOKafkaConnection, collect_hosts
from aiokafka.errors import KafkaError

from app.butler.descriptions import describe
from app.errors import OperatorError, UnavailableError
from app.kafka.checks.access_rights import (
    Operation,
    Permissions,
    check_permissions,
    connect,
    find_permissions,
    may_be_temporary,
)
from app.kafka.checks.diagnosis import diagnose
from app.kafka.checks.refusals import refusal
from app.kafka.checks.required import all_rights, all_topics, required_operations
from app.kafka.checks.sessions import session_mismatch
from app.kafka.connection import KafkaConnection
from app.kafka.errors import TopicError
from app.settings import KafkaSettings

__all__ = ["check_access", "find_rights", "kafka_error"]


async def check_access(connection: KafkaConnection, settings: KafkaSettings) -> None:
    """Log in, and check the rights on all topics and the limits on sessions.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to ask.
    settings : `~app.settings.KafkaSettings`
        The names of the topics, and the session's timeouts.

    Raises
    ------
    LoginRefusedError
        If the brokers refuse the login, or their certificate is refused.
    TopicError
        If the brokers refuse the encryption, an operation or the session.
    UnavailableError
        If no broker answers at this moment.
    """
    async with _logged_in(connection) as broker:
        await check_permissions(broker, connection, required_operations(settings))
        if mismatch := await session_mismatch(connection, settings):
            raise TopicError(mismatch)


async def find_rights(connection: KafkaConnection, settings: KafkaSettings) -> Permissions:
    """Log in, and ask which rights the user has: of `all_rights`, and to create topics.

    Raises
    ------
    LoginRefusedError, TopicError, UnavailableError
        As `check_access`.
    """
    operations = {topic.name: [Operation.CREATE] for topic in all_topics(settings)}
    for right in all_rights(settings):
        if right.kind == "topic":
            operations[right.name].append(right.operation)
    async with _logged_in(connection) as broker:
        return await find_permissions(broker, connection.group, operations)


@asynccontextmanager
async def _logged_in(connection: KafkaConnection) -> AsyncIterator[AIOKafkaConnection]:
    """Log in to any broker; explain why, if that, or what is asked then, is not possible.

    Raises
    ------
    LoginRefusedError
        If the brokers refuse the login, or their certificate is refused.
    TopicError
        If the brokers refuse the encryption.
    UnavailableError
        If no broker answers at this moment.
    """
    try:
        with closing(await connect(connection)) as broker:
            yield broker
    except (KafkaError, OSError) as exc:
        for host, port, _ in collect_hosts(list(connection.brokers)):
            if reason := await diagnose(connection, host, port):
                raise TopicError(f"Kafka at {connection.cluster}: {reason}") from exc
        raise kafka_error(connection, exc) from exc


def kafka_error(connection: KafkaConnection, error: BaseException) -> OperatorError:
    """Return the error to raise for one of Kafka: whether to wait, and what to check."""
    reason = f"Kafka at {connection.cluster}: {describe(error)}"
    if may_be_temporary(error):
        return UnavailableError(f"{reason}; check KAFKA_CLUSTER if it should be up", "Kafka")
    if (refused := refusal(connection, error, is_starting=True)) is not None:
        return refused
    variables = "KAFKA_CLUSTER, KAFKA_USERNAME, KAFKA_PASSWORD and BUTLER_WRITER_KAFKA_TLS"
    return TopicError(f"{reason}; check {variables}")
