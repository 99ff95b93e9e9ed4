"""Finds out whether the product log can be written; its topic is optional."""

from __future__ import annotations

from aiokafka.errors import KafkaError

from app.kafka.checks.access import find_rights, kafka_error
from app.kafka.checks.access_rights import Operation, Right
from app.kafka.checks.found_topics import find_topics, policy_problem
from app.kafka.checks.required import RequiredTopic, product_topic
from app.kafka.checks.topics import REQUEST_TIMEOUT, create_topics
from app.kafka.connection import KafkaConnection, admin_client
from app.kafka.errors import TopicError
from app.settings import KafkaSettings

__all__ = ["product_log_problem"]


async def product_log_problem(connection: KafkaConnection, settings: KafkaSettings) -> str | None:
    """Return why the product log cannot be written, with the remedy; `None` if it can.

    The topic is created if it is missing and that is allowed.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to ask.
    settings : `~app.settings.KafkaSettings`
        Names the topic.

    Raises
    ------
    UnavailableError
        If the brokers do not answer at this moment.
    """
    topic = product_topic(settings)
    if topic is None:
        return "BUTLER_WRITER_PRODUCTS_TOPIC is empty; name a topic to switch it on"
    try:
        if problem := await _topic_problem(connection, settings, topic):
            return problem
        right = Right(Operation.WRITE, "topic", topic.name)
        if right in (await find_rights(connection, settings)).lacking:
            user = connection.username or "ANONYMOUS"
            return f"Kafka user {user} lacks {right}; grant the access rules listed in README.md"
    except (KafkaError, OSError) as exc:
        raise kafka_error(connection, exc) from exc
    return None


async def _topic_problem(
    connection: KafkaConnection, settings: KafkaSettings, topic: RequiredTopic
) -> str | None:
    async with admin_client(connection, REQUEST_TIMEOUT) as admin:
        if topic.name not in await admin.list_topics():
            if not settings.declare_topics:
                return (
                    f"there is no topic {topic.name}; create it and start the worker again, or set "
                    "BUTLER_WRITER_KAFKA_DECLARE_TOPICS=true"
                )
            try:
                await create_topics(admin, [topic], settings.replication_factor)
            except TopicError as exc:
                return str(exc)
        found = await find_topics(admin, [topic.name], with_config=[topic.name])
    return policy_problem(topic, found[topic.name])
