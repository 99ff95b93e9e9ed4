"""How clients connect to the Kafka brokers, and which partitions a topic has."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from app.butler.descriptions import describe
from app.kafka.errors import TopicError
from app.settings import KafkaSettings, SettingsError

__all__ = ["SASL_MECHANISM", "KafkaConnection", "admin_client", "topic_partitions"]

#: The login mechanism (SASL).
SASL_MECHANISM = "SCRAM-SHA-512"


@dataclass(frozen=True, slots=True)
class KafkaConnection:
    """The brokers, and how to log in to them.

    Attributes
    ----------
    cluster : `str`
        The cluster's name in messages: the setting ``KAFKA_CLUSTER``.
    brokers : `tuple` [`str`, ...]
        Bootstrap servers, each ``host:port``.
    group : `str`
        The service's consumer group.
    username, password : `str`, optional
        Login (SASL); `None` if the brokers require none.
    tls_context : `ssl.SSLContext`, optional
        `None` if the connection is not encrypted.
    """

    cluster: str
    brokers: tuple[str, ...]
    group: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls_context: ssl.SSLContext | None = None

    @classmethod
    def of(cls, kafka: KafkaSettings) -> Self:
        """Return the connection that the settings describe.

        Raises
        ------
        SettingsError
            If a file with a certificate or a key cannot be used.
        """
        login: dict[str, str] = {}
        if kafka.username is not None and kafka.password is not None:
            login = {"username": kafka.username, "password": kafka.password.get_secret_value()}
        return cls(
            cluster=kafka.cluster or "",
            brokers=tuple(kafka.brokers),
            group=kafka.group,
            tls_context=_tls_context(kafka) if kafka.tls else None,
            **login,
        )

    @property
    def security_options(self) -> dict[str, Any]:
        """Encryption and login, as arguments of aiokafka's connections."""
        if self.username is None:
            if self.tls_context is None:
                return {"security_protocol": "PLAINTEXT"}
            return {"security_protocol": "SSL", "ssl_context": self.tls_context}
        return {
            "security_protocol": "SASL_PLAINTEXT" if self.tls_context is None else "SASL_SSL",
            "sasl_mechanism": SASL_MECHANISM,
            "sasl_plain_username": self.username,
            "sasl_plain_password": self.password,
            "ssl_context": self.tls_context,
        }

    @property
    def client_options(self) -> dict[str, Any]:
        """Brokers, encryption and login, as arguments of aiokafka's clients."""
        return {"bootstrap_servers": list(self.brokers), **self.security_options}


@asynccontextmanager
async def admin_client(
    connection: KafkaConnection, request_timeout: float = 40.0
) -> AsyncIterator[AIOKafkaAdminClient]:
    """Run an administration client.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to connect to.
    request_timeout : `float`
        Seconds to wait for a broker's answer.

    Raises
    ------
    KafkaError
        If no broker can be reached, or the login is refused.
    """
    admin = AIOKafkaAdminClient(
        request_timeout_ms=int(request_timeout * 1000), **connection.client_options
    )
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


async def topic_partitions(connection: KafkaConnection, topic: str) -> list[TopicPartition]:
    """Return the partitions of a topic.

    Raises
    ------
    TopicError
        If there is no such topic.
    KafkaError
        If no broker can be reached, or the login is refused.
    """
    async with admin_client(connection) as admin:
        # List the topics first: a broker may create a topic when asked for it by name.
        if topic not in await admin.list_topics():
            raise TopicError(
                f"there is no topic {topic}, or the Kafka user may not DESCRIBE it; "
                "check KAFKA_CLUSTER, KAFKA_TOPIC and the user's access rules"
            )
        (found,) = await admin.describe_topics([topic])
    return [TopicPartition(topic, each["partition"]) for each in found["partitions"]]


def _tls_context(kafka: KafkaSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=kafka.ca_file)
    except OSError as exc:
        raise SettingsError(
            f"BUTLER_WRITER_KAFKA_CA_FILE='{kafka.ca_file}': {describe(exc)}; "
            "name a file with the certificates of authorities (PEM)"
        ) from exc
    if kafka.cert_file is not None:
        try:
            context.load_cert_chain(kafka.cert_file, kafka.key_file, password=_no_password)
        except (OSError, ValueError) as exc:
            raise SettingsError(
                f"BUTLER_WRITER_KAFKA_CERT_FILE='{kafka.cert_file}', BUTLER_WRITER_KAFKA_KEY_FILE="
                f"'{kafka.key_file or ''}': {describe(exc)}; name a file with a certificate, and "
                "one with its key, without a password (PEM)"
            ) from exc
    return context


def _no_password() -> str:
    """Refuse a key with a password: OpenSSL would ask for it on the terminal."""
    raise ValueError("the key has a password")
