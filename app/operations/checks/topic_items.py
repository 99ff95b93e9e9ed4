"""Checks of the topics; their retention and their replicas are notes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from app.kafka.checks.found_topics import (
    FoundTopic,
    find_topics,
    partition_problem,
    policy_problem,
    size_problem,
)
from app.kafka.checks.required import RequiredTopic, all_topics, remedy_of_missing
from app.kafka.connection import KafkaConnection, admin_client
from app.operations.checks.items import Item, Verdict
from app.settings import KafkaSettings

__all__ = ["topic_items"]

#: Seconds to wait for a broker's answer.
_TIMEOUT = 10.0

#: What keeps events when one broker is lost.
_REPLICAS, _IN_SYNC = 3, 2

_DAY_MS = 24 * 3600 * 1000


async def topic_items(
    connection: KafkaConnection, settings: KafkaSettings, may_create: Mapping[str, bool]
) -> list[Item]:
    """Check all topics.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to ask.
    settings : `~app.settings.KafkaSettings`
        Names and limits of the topics.
    may_create : `~collections.abc.Mapping` [`str`, `bool`]
        Whether the user may create each topic.

    Raises
    ------
    KafkaError, OSError
        If the brokers cannot be asked.
    """
    topics = all_topics(settings)
    async with admin_client(connection, _TIMEOUT) as admin:
        existing = set(await admin.list_topics())
        names = [topic.name for topic in topics if topic.name in existing]
        found = await find_topics(admin, names, with_config=names) if names else {}
    items: list[Item] = []
    for topic in topics:
        if topic.name in found:
            own = [*_items_of(topic, found[topic.name], found.get(settings.topic))]
        else:
            own = [_missing(topic, settings, may_create=may_create[topic.name])]
        items += map(_as_note, own) if topic.is_optional else own
    return items


def _as_note(item: Item) -> Item:
    """Return an item of the optional topic: whatever is wrong with it, a worker runs."""
    if item.verdict is not Verdict.WRONG:
        return item
    return Item(item.name, Verdict.OK, f"note: the product log is off: {item.detail}")


def _missing(topic: RequiredTopic, settings: KafkaSettings, *, may_create: bool) -> Item:
    is_created = settings.declare_topics and (topic.is_own or settings.declare_input_output)
    name = f"topic {topic.name}"
    if is_created and may_create:
        return Item(name, Verdict.OK, "note: it is missing, and the first worker creates it")
    reason = f"there is no topic {topic.name}, or the user may not DESCRIBE it; "
    if is_created:
        reason += "create it, or grant the user CREATE on it"
    elif topic.is_own:
        reason += "create it, or set BUTLER_WRITER_KAFKA_DECLARE_TOPICS=true"
    else:
        reason += remedy_of_missing(settings)
    return Item(name, Verdict.WRONG, reason)


def _items_of(
    topic: RequiredTopic, found: FoundTopic, of_input: FoundTopic | None
) -> Iterator[Item]:
    name = f"topic {topic.name}"
    problem = partition_problem(topic, found)
    yield Item(name, *_judged(problem, f"{found.partitions} partitions"))
    if found.config is None:
        yield Item(
            f"{name}: configuration",
            Verdict.NOT_CHECKED,
            f"the user may not ask; grant DESCRIBE_CONFIGS on topic {topic.name}",
            counts=False,
        )
    else:
        config = found.config
        if topic.largest_message is not None:
            limit = f"{config.get('max.message.bytes')} bytes"
            yield Item(f"{name}: size limit", *_judged(size_problem(topic, found), limit))
        policy = str(config.get("cleanup.policy"))
        yield Item(f"{name}: cleanup.policy", *_judged(policy_problem(topic, found), policy))
        if not topic.is_compacted:
            yield Item(f"{name}: retention", Verdict.OK, _retention(config, of_input))
    yield Item(f"{name}: replicas", Verdict.OK, _replicas(found))


def _judged(problem: str | None, detail: str) -> tuple[Verdict, str]:
    return (Verdict.OK, detail) if problem is None else (Verdict.WRONG, problem)


def _retention(config: Mapping[str, str], of_input: FoundTopic | None) -> str:
    kept = _kept(config)
    events = _kept(of_input.config) if of_input is not None and of_input.config else None
    if kept is None:
        return "without end"
    if events is None or kept >= events:
        return f"{kept / _DAY_MS:.3g} days"
    return (
        f"note: {kept / _DAY_MS:.3g} days, but the input topic keeps events for "
        f"{events / _DAY_MS:.3g} days; raise its retention.ms"
    )


def _kept(config: Mapping[str, str]) -> int | None:
    """Return for how many milliseconds messages are kept, or `None` if for ever or not known."""
    kept = int(config.get("retention.ms") or -1)
    return None if kept < 0 else kept


def _replicas(found: FoundTopic) -> str:
    least = int((found.config or {}).get("min.insync.replicas") or 1)
    text = f"{found.replicas} replicas, {found.in_sync} in sync, min.insync.replicas={least}"
    if found.in_sync < found.replicas:
        return f"note: {text}; a broker is away, or has not caught up"
    if found.replicas < _REPLICAS or least < _IN_SYNC:
        return (
            f"note: {text}; only {_REPLICAS} replicas and min.insync.replicas={_IN_SYNC} keep "
            "every message when a broker is lost"
        )
    if least >= found.replicas:
        return f"note: {text}; while one broker is away nothing can be sent"
    return text
