"""The topics that a worker needs, and what it requires of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from app.kafka.checks.access_rights import Operation, Right
from app.settings import MIB, KafkaSettings, ReplicaKafkaSettings

__all__ = [
    "TABLE_PARTITIONS",
    "RequiredTopic",
    "all_rights",
    "all_topics",
    "product_topic",
    "remedy_of_missing",
    "required_operations",
    "required_topics",
]

#: One partition is enough for a few runs a day, and for what waits: an entry for each message.
#: Faust requires that the chain updates and the changelog of their table have the same number.
TABLE_PARTITIONS = 1

#: Partitions of the input topic if the worker creates it, and so the number of workers that can
#: share the load; and of the product log, whose readers share it.
_MANY_PARTITIONS = 6

_TWO_WEEKS_MS = 14 * 24 * 3600 * 1000

#: A changelog keeps the last value of each key.  By default, Kafka compacts only segments that
#: are full (1 GiB) or a week old, and only once half of the log is outdated: never in a night.
_CHANGELOG = MappingProxyType(
    {
        "cleanup.policy": "compact",
        "segment.bytes": str(4 * MIB),
        "segment.ms": str(10 * 60 * 1000),
        "min.cleanable.dirty.ratio": "0.1",
        "max.compaction.lag.ms": str(60 * 60 * 1000),
    }
)


@dataclass(frozen=True, slots=True)
class RequiredTopic:
    """A topic, and what the worker requires of it.

    ``new_partitions`` is their number if the worker creates the topic.
    """

    name: str
    operations: tuple[Operation, ...]
    is_own: bool = True
    is_optional: bool = False
    partitions: int | None = None
    new_partitions: int = 1
    largest_message: int | None = None
    is_compacted: bool = False
    config: Mapping[str, str] = field(default_factory=dict)


def required_topics(settings: KafkaSettings) -> list[RequiredTopic]:
    """Return the topics that a worker needs, in the order in which they are checked."""
    # A dead letter consists of its event and headers.
    largest_letter = settings.max_message_bytes + MIB
    announced = RequiredTopic(
        settings.output_topic,
        (Operation.WRITE,),
        is_own=False,
        new_partitions=_MANY_PARTITIONS,
    )
    return [
        RequiredTopic(
            settings.topic,
            (Operation.READ,),
            is_own=False,
            new_partitions=_MANY_PARTITIONS,
            largest_message=settings.max_message_bytes,
            config={"max.message.bytes": str(settings.max_message_bytes + MIB)},
        ),
        *([announced] if settings.announces else []),
        RequiredTopic(
            settings.dead_letter_topic,
            (Operation.WRITE,),
            largest_message=largest_letter,
            config={
                "max.message.bytes": str(largest_letter),
                "retention.ms": str(_TWO_WEEKS_MS),
            },
        ),
        RequiredTopic(
            settings.chain_update_topic,
            (Operation.READ, Operation.WRITE),
            partitions=TABLE_PARTITIONS,
        ),
        RequiredTopic(
            settings.changelog_topic,
            (Operation.READ, Operation.WRITE),
            partitions=TABLE_PARTITIONS,
            is_compacted=True,
            config=_CHANGELOG,
        ),
        *_waiting_topics(settings),
    ]


def _waiting_topics(settings: KafkaSettings) -> Iterator[RequiredTopic]:
    """Yield the changelog of what waits, if a downstream repository is filled."""
    if isinstance(settings, ReplicaKafkaSettings):
        yield RequiredTopic(
            settings.waiting_topic,
            (Operation.READ, Operation.WRITE),
            partitions=TABLE_PARTITIONS,
            is_compacted=True,
            config=_CHANGELOG,
        )


def product_topic(settings: KafkaSettings) -> RequiredTopic | None:
    """Return the topic of the product log, which is optional; `None` if it is switched off."""
    if settings.product_topic is None:
        return None
    return RequiredTopic(
        settings.product_topic,
        (Operation.WRITE,),
        is_optional=True,
        new_partitions=_MANY_PARTITIONS,
        config={
            "max.message.bytes": str(settings.max_message_bytes + MIB),
            "retention.ms": str(_TWO_WEEKS_MS),
            "compression.type": "zstd",
        },
    )


def all_topics(settings: KafkaSettings) -> list[RequiredTopic]:
    """Return the topics that a worker needs, and the optional one."""
    optional = product_topic(settings)
    return required_topics(settings) + ([optional] if optional is not None else [])


def remedy_of_missing(settings: KafkaSettings) -> str:
    """Return what to do about an input or output topic that is missing."""
    if isinstance(settings, ReplicaKafkaSettings):
        return (
            "it is the product log: check KAFKA_TOPIC, which is that of the source's workers, and "
            "that their log is on"
        )
    return (
        "check KAFKA_TOPIC and KAFKA_OUTPUT_TOPIC, or set "
        "BUTLER_WRITER_KAFKA_DECLARE_INPUT_OUTPUT=true to create what is missing"
    )


def required_operations(settings: KafkaSettings) -> dict[str, tuple[Operation, ...]]:
    """Return the operations that a worker needs on each topic.

    Parameters
    ----------
    settings : `~app.settings.KafkaSettings`
        Names of the topics.
    """
    return {topic.name: topic.operations for topic in required_topics(settings)}


def all_rights(settings: KafkaSettings) -> dict[Right, str]:
    """Return the rights that workers and commands need, and which of them need it.

    Parameters
    ----------
    settings : `~app.settings.KafkaSettings`
        Names of the topics and of the group.
    """
    topics = all_topics(settings)
    rights = {
        Right(operation, "topic", topic.name): "the product log" if topic.is_optional else "workers"
        for topic in topics
        for operation in topic.operations
    }
    rights[Right(Operation.READ, "group", settings.group)] = "workers"
    rights[Right(Operation.READ, "topic", settings.dead_letter_topic)] = (
        "dead-letters, audit, leftovers, status and rewind"
    )
    rights[Right(Operation.WRITE, "topic", settings.topic)] = "dead-letters replay"
    for topic in topics:
        rights[Right(Operation.DESCRIBE_CONFIGS, "topic", topic.name)] = "check"
    return rights
