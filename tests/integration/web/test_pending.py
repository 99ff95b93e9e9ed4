"""The first pending events, asked of Kafka for partitions whose worker does not say."""

from __future__ import annotations

import time
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from confluent_kafka import Producer

from app.kafka.connection import KafkaConnection
from app.kafka.group import pending
from app.kafka.group.pending import PendingEvents
from app.settings import KafkaSettings
from testbed.cluster import Cluster

PARTITIONS = 20


@pytest.fixture
def settings(broker: Cluster, topic_name: str) -> KafkaSettings:
    broker.create_topic(topic_name, PARTITIONS, max_message_bytes=12 * 2**20)
    return KafkaSettings(KAFKA_CLUSTER=broker.bootstrap, KAFKA_TOPIC=topic_name)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Partition and offset of all messages that are decoded."""
    found: list[tuple[int, int]] = []
    getmany = AIOKafkaConsumer.getmany

    async def counted(self: AIOKafkaConsumer, *args: Any, **kwargs: Any) -> Any:
        answer = await getmany(self, *args, **kwargs)
        found.extend((each.partition, each.offset) for m in answer.values() for each in m)
        return answer

    monkeypatch.setattr(AIOKafkaConsumer, "getmany", counted)
    monkeypatch.setattr(pending, "_TIMEOUT", 20.0)
    return found


async def test_the_time_of_the_first_pending_event_is_read_once(
    broker: Cluster, settings: KafkaSettings, decoded: list[tuple[int, int]]
) -> None:
    for _ in range(3):
        for partition in range(PARTITIONS):
            broker.produce(settings.topic, b"event", partition=partition)
    broker.produce(settings.topic, b"x" * 8_000_000, partition=0)  # more than a usual fetch
    events = PendingEvents(KafkaConnection.of(settings), settings)
    ranges = dict.fromkeys(range(PARTITIONS), (1, 3)) | {0: (3, 4)}
    found = await events.look(ranges)
    assert sorted(decoded) == [(0, 3), *((n, 1) for n in range(1, 16))]  # no more in one look
    found = await events.look(ranges)
    assert sorted(found) == list(range(PARTITIONS))
    for each in found.values():
        assert each.sent_at == pytest.approx(time.time(), abs=60)
    decoded.clear()
    assert await events.look(ranges | {1: (1, 9)}) == found  # more events arrive behind it
    assert decoded == []
    again = await events.look({1: (2, 3)})  # the first one is finished
    assert decoded == [(1, 2)]
    assert sorted(again) == [1]


@pytest.mark.kafka
async def test_a_range_with_markers_of_transactions_only_has_no_pending_event(
    kafka: Cluster, settings: KafkaSettings, decoded: list[tuple[int, int]]
) -> None:
    pod = Producer({**kafka.client_config, "transactional.id": settings.topic})
    pod.init_transactions(20)
    pod.begin_transaction()
    pod.produce(settings.topic, b"event", partition=0)
    pod.commit_transaction(20)
    events = PendingEvents(KafkaConnection.of(settings), settings)
    found = await events.look({0: (1, 2)})
    assert found[0].sent_at is None
    assert decoded == []
    kafka.produce(settings.topic, b"event", partition=0)
    found = await events.look({0: (1, 3)})
    assert found[0].sent_at is not None


async def test_brokers_that_are_away_leave_it_unknown(topic_name: str) -> None:
    settings = KafkaSettings(KAFKA_CLUSTER="127.0.0.1:1", KAFKA_TOPIC=topic_name)
    events = PendingEvents(KafkaConnection.of(settings), settings)
    assert await events.look({0: (0, 1)}) == {}
