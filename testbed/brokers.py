"""The one place that decides which Kafka broker is used."""

import os

from .availability import PartUnavailableError
from .cluster import Cluster
from .embedded import EmbeddedBroker
from .kafka import ApacheKafka
from .kafka_jars import find_java, kafka_jars

__all__ = ["choose", "why_not_apache_kafka"]

_ADDRESS = "BUTLER_WRITER_TEST_KAFKA"


def choose() -> Cluster:
    """Return a cluster to enter.

    That is Apache Kafka at the address in ``BUTLER_WRITER_TEST_KAFKA``; without one a private
    node; where that cannot run, the embedded broker.
    """
    if address := os.environ.get(_ADDRESS):
        return Cluster(address)
    return EmbeddedBroker() if why_not_apache_kafka() else ApacheKafka()


def why_not_apache_kafka() -> str | None:
    """Return what keeps `choose` from Apache Kafka on this machine, None if nothing does."""
    if os.environ.get(_ADDRESS):
        return None
    try:
        find_java()
        kafka_jars()
    except PartUnavailableError as reason:
        return str(reason)
    return None
