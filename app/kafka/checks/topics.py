"""Every topic must exist, with the right number of partitions and size limit, before work starts.

Missing topics are created where that is allowed.  The input topic is the pods': its number of
partitions is anybody's choice, and says how many workers can share the load.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_delay,
    wait_exponential,
)

from app.errors import OperatorError
from app.kafka.checks.access_rights import Operation, connect, may_pass, missing_permissions
from app.settings import MIB

if TYPE_CHECKING:
    from app.application import ButlerWriterApp

__all__ = ["CHAIN_PARTITIONS", "TopicError", "check_topics"]

logger = structlog.get_logger("butler_writer")

#: A few runs a day; Faust needs the chain updates and the table's changelog to agree in this.
CHAIN_PARTITIONS = 1

#: How long the brokers may be away when a worker starts, in seconds.
PATIENCE = 60.0


class TopicError(OperatorError):
    """A topic is not as it must be, or the brokers do not let the user work with it."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A topic as the worker needs it."""

    name: str
    needs: tuple[Operation, ...]
    partitions: int | None = None
    largest_message: int | None = None
    config: Mapping[str, str] = field(default_factory=dict)


async def check_topics(service: ButlerWriterApp) -> None:
    """Create the missing topics if allowed, and check them all.

    Raises
    ------
    TopicError
        If the brokers cannot be reached, do not let the user in or to the topics, or a topic is
        not as it must be.
    """
    kafka = service.settings.kafka
    try:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(may_pass),
            wait=wait_exponential(max=5),
            stop=stop_after_delay(PATIENCE),
            before_sleep=_note,
            reraise=True,
        ):
            with attempt:
                await _check_once(service)
    except (KafkaError, OSError) as exc:
        raise TopicError(f"Kafka at {kafka.cluster}: {exc or repr(exc)}") from exc


def _note(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    logger.warning("Kafka does not answer, will be asked again", error=repr(error))


async def _check_once(service: ButlerWriterApp) -> None:
    kafka = service.settings.kafka
    wanted = _wanted(service)
    security = credentials_to_aiokafka_auth(service.conf.broker_credentials, None)
    with closing(await connect(kafka.brokers, security)) as connection:
        needs = {topic.name: topic.needs for topic in wanted}
        if denied := await missing_permissions(connection, needs, kafka.group):
            raise TopicError(
                f"Kafka user {kafka.username or 'ANONYMOUS'} lacks {', '.join(denied)}"
            )
    admin = AIOKafkaAdminClient(
        bootstrap_servers=kafka.brokers, request_timeout_ms=10_000, **security
    )
    await admin.start()
    try:
        missing = [topic for topic in wanted if topic.name not in await admin.list_topics()]
        if missing and not kafka.declare_topics:
            raise TopicError(f"missing topics: {', '.join(topic.name for topic in missing)}")
        if missing:
            await _create(admin, missing, kafka.replication_factor)
        await _check_partitions(admin, wanted)
        await _check_sizes(admin, wanted)
    finally:
        await admin.close()


def _wanted(service: ButlerWriterApp) -> list[_Wanted]:
    kafka = service.settings.kafka
    # A dead letter is its event and headers.
    letter = kafka.max_message_bytes + MIB
    return [
        _Wanted(kafka.topic, (Operation.READ,)),
        _Wanted(kafka.output_topic, (Operation.WRITE,)),
        _Wanted(
            kafka.dead_letter_topic,
            (Operation.WRITE,),
            largest_message=letter,
            config={"max.message.bytes": str(letter), "retention.ms": str(14 * 24 * 3600 * 1000)},
        ),
        _Wanted(
            kafka.chain_update_topic,
            (Operation.READ, Operation.WRITE),
            partitions=CHAIN_PARTITIONS,
        ),
        _Wanted(
            f"{kafka.group}-chains-changelog",
            (Operation.READ, Operation.WRITE),
            partitions=CHAIN_PARTITIONS,
            config={"cleanup.policy": "compact"},
        ),
    ]


async def _create(
    admin: AIOKafkaAdminClient, missing: Iterable[_Wanted], replication_factor: int | None
) -> None:
    cluster = await admin.describe_cluster()
    factor = replication_factor or min(3, len(cluster["brokers"]))
    response = await admin.create_topics(
        [
            NewTopic(topic.name, topic.partitions or 1, factor, topic_configs=dict(topic.config))
            for topic in missing
        ]
    )
    for name, code, *message in response.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise TopicError(f"topic {name} cannot be created: {error.__name__} {message}")
        logger.info("topic created", topic=name, replication_factor=factor)


async def _check_partitions(admin: AIOKafkaAdminClient, wanted: list[_Wanted]) -> None:
    found: dict[str, Any] = {
        topic["topic"]: topic
        for topic in await admin.describe_topics([topic.name for topic in wanted])
    }
    for topic in wanted:
        if code := found[topic.name]["error_code"]:  # just created, and not known to every broker
            raise for_code(code)(topic.name)
        partitions = len(found[topic.name]["partitions"])
        if topic.partitions is not None and partitions != topic.partitions:
            raise TopicError(
                f"topic {topic.name} has {partitions} partitions, not {topic.partitions}"
            )


async def _check_sizes(admin: AIOKafkaAdminClient, wanted: list[_Wanted]) -> None:
    limited = {topic.name: topic for topic in wanted if topic.largest_message is not None}
    responses = await admin.describe_configs(
        # All settings: the embedded broker hangs up when asked for one.
        [ConfigResource(ConfigResourceType.TOPIC, name) for name in limited]
    )
    for response in responses:
        for code, _message, _type, name, entries in response.resources:
            if code:  # not allowed to ask, or a broker that keeps no such setting
                logger.warning("size limit of topic not checked", topic=name)
                continue
            limits = [int(entry[1]) for entry in entries if entry[0] == "max.message.bytes"]
            needed = limited[name].largest_message or 0
            if limits and limits[0] < needed:
                raise TopicError(
                    f"topic {name} takes messages of {limits[0]} bytes; "
                    f"max.message.bytes must be at least {needed}"
                )
