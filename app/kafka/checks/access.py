"""Checks that a worker can log in to Kafka, with the rights and the session that it needs."""

from __future__ import annotations

from contextlib import closing

from aiokafka.conn import collect_hosts
from aiokafka.errors import KafkaError

from app.butler.descriptions import describe
from app.errors import OperatorError, UnavailableError
from app.kafka.checks.access_rights import check_permissions, connect, may_be_temporary
from app.kafka.checks.diagnosis import diagnose
from app.kafka.checks.refusals import refusal
from app.kafka.checks.required import required_operations
from app.kafka.checks.sessions import session_mismatch
from app.kafka.connection import KafkaConnection
from app.kafka.errors import TopicError
from app.settings import KafkaSettings

__all__ = ["check_access", "kafka_error"]


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
    try:
        with closing(await connect(connection)) as broker:
            await check_permissions(broker, connection, required_operations(settings))
        if mismatch := await session_mismatch(connection, settings):
            raise TopicError(mismatch)
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
