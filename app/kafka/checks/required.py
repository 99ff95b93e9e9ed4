"""The topics that a worker needs, and what it requires of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from app.kafka.checks.access_rights import Operation, Right
from app.settings import MIB, KafkaSettings

__all__ = [
    "CHAIN_PARTITIONS",
    "RequiredTopic",
    "all_rights",
    "required_operations",
    "required_topics",
]

#: One partition is enough for a few runs a day.  Faust requires that the chain updates and the
#: changelog of the table have the same number.
CHAIN_PARTITIONS = 1

_DEAD_LETTER_RETENTION_MS = 14 * 24 * 3600 * 1000


#: The changelog keeps the last state of each chain.  By default, Kafka compacts only segments that
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
    """A topic, and what the worker requires of it."""

    name: str
    operations: tuple[Operation, ...]
    is_own: bool = True
    partitions: int | None = None
    largest_message: int | None = None
    is_compacted: bool = False
    config: Mapping[str, str] = field(default_factory=dict)


def required_topics(settings: KafkaSettings) -> list[RequiredTopic]:
    """Return the topics that a worker needs, in the order in which they are checked."""
    # A dead letter consists of its event and headers.
    largest_letter = settings.max_message_bytes + MIB
    announced = [RequiredTopic(settings.output_topic, (Operation.WRITE,), is_own=False)]
    return [
        RequiredTopic(
            settings.topic,
            (Operation.READ,),
            is_own=False,
            largest_message=settings.max_message_bytes,
            config={"max.message.bytes": str(settings.max_message_bytes + MIB)},
        ),
        *(announced if settings.announces else ()),
        RequiredTopic(
            settings.dead_letter_topic,
            (Operation.WRITE,),
            largest_message=largest_letter,
            config={
                "max.message.bytes": str(largest_letter),
                "retention.ms": str(_DEAD_LETTER_RETENTION_MS),
            },
        ),
        RequiredTopic(
            settings.chain_update_topic,
            (Operation.READ, Operation.WRITE),
            partitions=CHAIN_PARTITIONS,
        ),
        RequiredTopic(
            settings.changelog_topic,
            (Operation.READ, Operation.WRITE),
            partitions=CHAIN_PARTITIONS,
            is_compacted=True,
            config=_CHANGELOG,
        ),
    ]


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
    topics = required_topics(settings)
    rights = {
        Right(operation, "topic", topic.name): "workers"
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
