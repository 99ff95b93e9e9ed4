"""The topics that pods and publication share; the worker makes its own."""

from __future__ import annotations

from testbed.cluster import Cluster

__all__ = ["make_topics"]

#: The largest event, 10 MiB, and room for what Kafka puts around it.
_LARGEST_MESSAGE = 11 * 2**20


def make_topics(
    cluster: Cluster, *, events: str, announcements: str, partitions: int = 1
) -> list[str]:
    """Make the input topic and the topic of announcements, where they are missing.

    Parameters
    ----------
    cluster : `Cluster`
        The brokers.
    events, announcements : `str`
        Names of the topics.
    partitions : `int`
        Of the input topic: so many workers can share the load.

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
