"""The input topic and the topic of announcements; the worker creates the others."""

from __future__ import annotations

from testbed.cluster import Cluster

__all__ = ["make_topics"]

#: The largest event, 10 MiB, and Kafka's overhead.
_LARGEST_MESSAGE = 11 * 2**20


def make_topics(
    cluster: Cluster, *, events: str, announcements: str, partitions: int = 1
) -> list[str]:
    """Create the input topic and the topic of announcements if they are missing.

    Parameters
    ----------
    cluster : `Cluster`
        The brokers.
    events, announcements : `str`
        Names of the topics.
    partitions : `int`
        Number of partitions of the input topic, and so of workers that can share the load.

    Returns
    -------
    made : `list` [`str`]
        The topics that were missing.
    """
    existing = cluster.topics()
    made = [name for name in (events, announcements) if name not in existing]
    if events in made:
        cluster.create_topic(events, partitions, max_message_bytes=_LARGEST_MESSAGE)
    if announcements in made:
        cluster.create_topic(announcements)
    return made
