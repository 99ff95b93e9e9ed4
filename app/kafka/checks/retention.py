"""Checks that a topic keeps its messages for as long as they are needed."""

from __future__ import annotations

from aiokafka.errors import KafkaError

from app.kafka.checks.access import kafka_error
from app.kafka.checks.found_topics import find_topics
from app.kafka.checks.topics import REQUEST_TIMEOUT
from app.kafka.connection import KafkaConnection, admin_client

__all__ = ["retention_problem"]

_HOUR_MS = 3_600_000


async def retention_problem(connection: KafkaConnection, topic: str, hours: float) -> str | None:
    """Return why a topic may remove messages too early, with the remedy; `None` if it does not.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to ask.
    topic : `str`
        The topic.
    hours : `float`
        For how long its messages are needed.

    Raises
    ------
    UnavailableError
        If the brokers do not answer at this moment.
    """
    try:
        async with admin_client(connection, REQUEST_TIMEOUT) as admin:
            found = await find_topics(admin, [topic], with_config=[topic])
    except (KafkaError, OSError) as exc:
        raise kafka_error(connection, exc) from exc
    config = found[topic].config
    if config is None or "retention.ms" not in config:
        return f"the retention of topic {topic} is not known; grant DESCRIBE_CONFIGS on it"
    kept = int(config["retention.ms"]) / _HOUR_MS
    if 0 <= kept <= hours:
        return (
            f"topic {topic} keeps messages for {kept:g} h, and the longest embargo is {hours:g} h: "
            f"what waits would be lost; set its retention.ms to more than {hours * _HOUR_MS:.0f}"
        )
    if int(config.get("retention.bytes", "-1")) >= 0:
        return (
            f"topic {topic} has a limit on its size, by which it may remove what waits; set its "
            "retention.bytes to -1"
        )
    return None
