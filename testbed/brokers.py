"""Chooses the Kafka broker."""

import os

from .availability import ServerUnavailableError
from .cluster import Cluster
from .embedded import EmbeddedBroker
from .kafka import ApacheKafka
from .kafka_jars import find_java, kafka_jars

__all__ = ["choose", "why_not_apache_kafka"]

_ADDRESS = "BUTLER_WRITER_TEST_KAFKA"


def choose() -> Cluster:
    """Return a cluster, to be used as a context manager.

    It is Apache Kafka at the address in ``BUTLER_WRITER_TEST_KAFKA``; if that is not set, a
    private node; if that cannot run, the embedded broker.
    """
    if address := os.environ.get(_ADDRESS):
        return Cluster(address)
    return EmbeddedBroker() if why_not_apache_kafka() else ApacheKafka()


def why_not_apache_kafka() -> str | None:
    """Return why `choose` cannot use Apache Kafka on this machine; None if it can."""
    if os.environ.get(_ADDRESS):
        return None
    try:
        find_java()
        kafka_jars()
    except ServerUnavailableError as reason:
        return str(reason)
    return None
