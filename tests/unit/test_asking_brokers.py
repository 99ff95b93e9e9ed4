"""What tests ask a broker that has just started is asked again.

The answers are made up: a broker gives this one only now and then, after it was killed.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from testbed.cluster import Cluster


class _Answer:
    def __init__(self, given: KafkaError | int) -> None:
        self._given = given

    def result(self, _timeout: float) -> _Answer:
        if isinstance(self._given, KafkaError):
            raise KafkaException(self._given)
        return self

    @property
    def offset(self) -> KafkaError | int:
        return self._given


class _Admin:
    def __init__(self, *given: KafkaError | int) -> None:
        self._given: Iterator[KafkaError | int] = iter(given)

    def list_offsets(self, _asked: object, **_: object) -> dict[TopicPartition, _Answer]:
        return {TopicPartition("events", 0): _Answer(next(self._given))}


class _Started(Cluster):
    def __init__(self, *given: KafkaError | int) -> None:
        super().__init__("nowhere:1")
        self.__dict__["admin"] = _Admin(*given)

    def _partitions(self, topic: str) -> set[int]:
        return {0}


def test_the_end_is_asked_again_if_the_broker_knows_an_earlier_epoch() -> None:
    cluster = _Started(KafkaError(KafkaError.UNKNOWN_LEADER_EPOCH), 7)
    assert cluster.end_offsets("events") == {0: 7}


def test_another_error_is_raised_at_once() -> None:
    cluster = _Started(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART), 7)
    with pytest.raises(KafkaException, match="UNKNOWN_TOPIC_OR_PART"):
        cluster.end_offsets("events")
