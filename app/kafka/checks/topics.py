"""Checks every topic before the worker starts: existence, access, partitions, size limit.

The service's own topics are created if they are missing and that is allowed.  The input topic
belongs to the pods, and the output topic to its readers: by default a missing one is an error,
since the name may be wrong.  The input topic may have any number of partitions, which limits how
many workers can share the load.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from app.kafka.checks.access import kafka_error
from app.kafka.checks.found_topics import (
    FoundTopic,
    find_topics,
    partition_problem,
    policy_problem,
    size_problem,
)
from app.kafka.checks.required import RequiredTopic, remedy_of_missing, required_topics
from app.kafka.connection import KafkaConnection, admin_client
from app.kafka.errors import TopicError
from app.settings import KafkaSettings

__all__ = ["REQUEST_TIMEOUT", "check_topics", "create_topics"]

logger = structlog.get_logger("butler_writer")

#: Seconds to wait for a broker's answer to a request.
REQUEST_TIMEOUT = 10.0


async def check_topics(connection: KafkaConnection, settings: KafkaSettings) -> None:
    """Create the missing topics if allowed, and check them all.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to ask.
    settings : `~app.settings.KafkaSettings`
        Names and limits of the topics.

    Raises
    ------
    TopicError
        If a topic is missing, cannot be created, or has the wrong configuration.
    UnavailableError
        If the brokers do not answer at this moment.
    """
    try:
        await _check(connection, settings)
    except (KafkaError, OSError) as exc:
        raise kafka_error(connection, exc) from exc


async def _check(connection: KafkaConnection, settings: KafkaSettings) -> None:
    required = required_topics(settings)
    async with admin_client(connection, REQUEST_TIMEOUT) as admin:
        existing = set(await admin.list_topics())
        missing = [topic for topic in required if topic.name not in existing]
        foreign = [topic.name for topic in missing if not topic.is_own]
        if foreign and not settings.declare_input_output:
            raise TopicError(
                f"there is no topic {' and no topic '.join(foreign)}; {remedy_of_missing(settings)}"
            )
        if missing and not settings.declare_topics:
            raise TopicError(
                f"missing topics: {', '.join(topic.name for topic in missing)}; create them or set "
                "BUTLER_WRITER_KAFKA_DECLARE_TOPICS=true"
            )
        if missing:
            await create_topics(admin, missing, settings.replication_factor)
        limited = [topic.name for topic in required if topic.largest_message is not None]
        names = [topic.name for topic in required]
        found = await find_topics(admin, names, with_config=limited)
    for topic in required:
        _check_topic(topic, found[topic.name])


async def create_topics(
    admin: AIOKafkaAdminClient, missing: Iterable[RequiredTopic], replication_factor: int | None
) -> None:
    """Create topics.

    Parameters
    ----------
    admin : `aiokafka.admin.AIOKafkaAdminClient`
        The client to ask with.
    missing : `~collections.abc.Iterable` [`RequiredTopic`]
        The topics.
    replication_factor : `int` or `None`
        By default 3, or the number of brokers if there are fewer.

    Raises
    ------
    TopicError
        If one cannot be created.
    """
    cluster = await admin.describe_cluster()
    factor = replication_factor or min(3, len(cluster["brokers"]))
    response = await admin.create_topics(
        [
            NewTopic(
                topic.name,
                topic.partitions or topic.new_partitions,
                factor,
                topic_configs=dict(topic.config),
            )
            for topic in missing
        ]
    )
    for name, code, *message in response.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            reason = ": ".join([error.__name__, *filter(None, message)])
            raise TopicError(
                f"topic {name} cannot be created: {reason}; create it, or check the user's right "
                "to CREATE it and BUTLER_WRITER_KAFKA_REPLICATION_FACTOR"
            )
        logger.info("topic created", topic=name, replication_factor=factor)


def _check_topic(topic: RequiredTopic, found: FoundTopic) -> None:
    if problem := partition_problem(topic, found):
        raise TopicError(problem)
    if topic.largest_message is not None and found.config is None:
        logger.warning("size limit of topic not checked", topic=topic.name)
    warnings = {
        "the input topic refuses large events": size_problem(topic, found),
        "the input topic is compacted": policy_problem(topic, found),
    }
    for warning, problem in warnings.items():
        if problem and topic.is_own:
            raise TopicError(problem)
        if problem:
            # The brokers refuse such events to the pods; the worker itself can do its work.
            logger.warning(warning, topic=topic.name, remedy=problem)
