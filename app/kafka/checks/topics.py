"""Checks every topic before the worker starts: existence, access, partitions, size limit.

The service's own topics are created if they are missing and that is allowed.  The input topic
belongs to the pods, and the output topic to its readers: by default a missing one is an error,
since the name may be wrong.  The input topic may have any number of partitions, which limits how
many workers can share the load.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from app.kafka.checks.access import kafka_error
from app.kafka.checks.required import RequiredTopic, required_topics
from app.kafka.connection import KafkaConnection, admin_client
from app.kafka.errors import TopicError
from app.settings import KafkaSettings

__all__ = ["check_topics"]

logger = structlog.get_logger("butler_writer")

#: Partitions of the input topic if the worker creates it, and so the number of workers that can
#: share the load.
NEW_INPUT_PARTITIONS = 6

#: Seconds to wait for a broker's answer to a request.
_REQUEST_TIMEOUT = 10.0


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
    async with admin_client(connection, _REQUEST_TIMEOUT) as admin:
        existing = set(await admin.list_topics())
        missing = [topic for topic in required if topic.name not in existing]
        foreign = [topic.name for topic in missing if not topic.is_own]
        if foreign and not settings.declare_input_output:
            raise TopicError(
                f"there is no topic {' and no topic '.join(foreign)}; check KAFKA_TOPIC and "
                "KAFKA_OUTPUT_TOPIC, or set BUTLER_WRITER_KAFKA_DECLARE_INPUT_OUTPUT=true to "
                "create them"
            )
        if missing and not settings.declare_topics:
            raise TopicError(
                f"missing topics: {', '.join(topic.name for topic in missing)}; create them or set "
                "BUTLER_WRITER_KAFKA_DECLARE_TOPICS=true"
            )
        if missing:
            await _create(admin, missing, settings.replication_factor)
        await _check_partitions(admin, required)
        await _check_sizes(admin, required)


async def _create(
    admin: AIOKafkaAdminClient, missing: Iterable[RequiredTopic], replication_factor: int | None
) -> None:
    cluster = await admin.describe_cluster()
    factor = replication_factor or min(3, len(cluster["brokers"]))
    response = await admin.create_topics(
        [
            NewTopic(
                topic.name,
                topic.partitions or (1 if topic.is_own else NEW_INPUT_PARTITIONS),
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


async def _check_partitions(admin: AIOKafkaAdminClient, required: list[RequiredTopic]) -> None:
    found: dict[str, Any] = {
        topic["topic"]: topic
        for topic in await admin.describe_topics([topic.name for topic in required])
    }
    for topic in required:
        if code := found[topic.name]["error_code"]:  # just created, not yet known to every broker
            raise for_code(code)(topic.name)
        partitions = len(found[topic.name]["partitions"])
        if topic.partitions is not None and partitions != topic.partitions:
            raise TopicError(
                f"topic {topic.name} has {partitions} partitions but must have {topic.partitions}; "
                "delete it and create it again"
            )


async def _check_sizes(admin: AIOKafkaAdminClient, required: list[RequiredTopic]) -> None:
    limited = {topic.name: topic for topic in required if topic.largest_message is not None}
    responses = await admin.describe_configs(
        # Ask for all settings: the embedded broker closes the connection if asked for only one.
        [ConfigResource(ConfigResourceType.TOPIC, name) for name in limited]
    )
    for response in responses:
        for code, _message, _type, name, entries in response.resources:
            if code:  # the user may not ask, or the broker has no such setting
                logger.warning("size limit of topic not checked", topic=name)
                continue
            limits = [int(entry[1]) for entry in entries if entry[0] == "max.message.bytes"]
            if limits:
                _check_size(limited[name], limits[0])


def _check_size(topic: RequiredTopic, limit: int) -> None:
    largest = topic.largest_message or 0
    if limit >= largest:
        return
    remedy = (
        f"topic {topic.name} accepts messages of up to {limit} bytes; set its max.message.bytes to "
        f"at least {largest}, or lower BUTLER_WRITER_KAFKA_MAX_MESSAGE_BYTES"
    )
    if topic.is_own:
        raise TopicError(remedy)
    # The brokers refuse larger events to the pods; the worker itself can do its work.
    logger.warning("the input topic refuses large events", topic=topic.name, remedy=remedy)
