"""What the brokers say of topics, and what is wrong with one, in one line with the remedy."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

from app.kafka.checks.required import RequiredTopic

__all__ = ["FoundTopic", "find_topics", "partition_problem", "policy_problem", "size_problem"]


@dataclass(frozen=True, slots=True)
class FoundTopic:
    """A topic as it is.

    Attributes
    ----------
    partitions : `int`
        Number of its partitions.
    replicas, in_sync : `int`
        The least number of replicas, and of those that are in sync, of its partitions.
    config : `~collections.abc.Mapping` [`str`, `str`] or `None`
        Its configuration; `None` if it was not asked for, or the user may not ask.
    """

    partitions: int
    replicas: int
    in_sync: int
    config: Mapping[str, str] | None


async def find_topics(
    admin: AIOKafkaAdminClient, names: Collection[str], *, with_config: Collection[str]
) -> dict[str, FoundTopic]:
    """Ask the brokers about topics that exist.

    Parameters
    ----------
    admin : `aiokafka.admin.AIOKafkaAdminClient`
        The client to ask with.
    names : `~collections.abc.Collection` [`str`]
        The topics.
    with_config : `~collections.abc.Collection` [`str`]
        Those of them whose configuration is asked for.

    Raises
    ------
    KafkaError
        If a broker does not know a topic (yet), or does not answer.
    """
    described = await admin.describe_topics(list(names))
    for topic in described:
        if code := topic["error_code"]:  # just created, not yet known to every broker
            raise for_code(code)(topic["topic"])
    configs: dict[str, Mapping[str, str]] = {}
    responses = await admin.describe_configs(
        # Ask for all settings: the embedded broker closes the connection if asked for only one.
        [ConfigResource(ConfigResourceType.TOPIC, name) for name in with_config]
    )
    for response in responses:
        for code, _message, _type, name, entries in response.resources:
            if not code:  # the user may not ask, or the broker has no such setting
                configs[name] = {entry[0]: entry[1] for entry in entries}
    return {
        topic["topic"]: FoundTopic(
            partitions=len(partitions := topic["partitions"]),
            replicas=min((len(each["replicas"]) for each in partitions), default=0),
            in_sync=min((len(each["isr"]) for each in partitions), default=0),
            config=configs.get(topic["topic"]),
        )
        for topic in described
    }


def partition_problem(topic: RequiredTopic, found: FoundTopic) -> str | None:
    """Return what is wrong with the number of partitions."""
    if topic.partitions is None or found.partitions == topic.partitions:
        return None
    return (
        f"topic {topic.name} has {found.partitions} partitions but must have {topic.partitions}; "
        "delete it and create it again"
    )


def size_problem(topic: RequiredTopic, found: FoundTopic) -> str | None:
    """Return what is wrong with the size limit."""
    limit = (found.config or {}).get("max.message.bytes")
    if topic.largest_message is None or limit is None or int(limit) >= topic.largest_message:
        return None
    return (
        f"topic {topic.name} accepts messages of up to {limit} bytes; set its max.message.bytes to "
        f"at least {topic.largest_message}, or lower BUTLER_WRITER_KAFKA_MAX_MESSAGE_BYTES"
    )


def policy_problem(topic: RequiredTopic, found: FoundTopic) -> str | None:
    """Return what is wrong with the cleanup policy.

    A compacted topic keeps the last message of each key, and refuses messages without a key.
    """
    policy = (found.config or {}).get("cleanup.policy")
    if policy is None:
        return None
    # "compact,delete" is wrong for either kind.
    if policy == "compact" if topic.is_compacted else "compact" not in policy:
        return None
    reason = (
        "retention would remove the state of chains"
        if topic.is_compacted
        else "compaction removes messages, and refuses those without a key"
    )
    required = "compact" if topic.is_compacted else "delete"
    return (
        f"topic {topic.name} has cleanup.policy={policy}: {reason}; set its cleanup.policy to "
        f"{required}"
    )
