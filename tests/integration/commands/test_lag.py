"""The lag that ``status`` shows, and setting the committed offsets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CoordinatorLoadInProgressError
from confluent_kafka import Consumer, Producer

from app.kafka.connection import KafkaConnection
from app.kafka.group.members import describe_group
from app.kafka.group.offsets import GroupInUseError, committed_offsets, set_committed
from app.operations.offsets.rewinding import check_stopped
from app.operations.status.lag import PartitionLag, measure_lag
from app.settings import KafkaSettings
from testbed.cluster import Cluster
from testbed.waiting import wait_until
from tests.support.checked import settings_from

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(kafka: Cluster, topic_name: str) -> Iterator[KafkaSettings]:
    """The settings of a group that has no member, and of its topic with two partitions."""
    kafka.create_topic(topic_name, 2)
    environment = {
        "KAFKA_CLUSTER": kafka.bootstrap,
        "KAFKA_TOPIC": topic_name,
        "BUTLER_WRITER_KAFKA_GROUP": f"group-{topic_name}",
    }
    with settings_from(environment) as found:
        yield found.kafka


def transaction(kafka: Cluster, topic: str, *, events: int) -> Producer:
    """Send events to partition 0 in a transaction that is left open."""
    pod = Producer({**kafka.client_config, "transactional.id": topic})
    pod.init_transactions(20)
    pod.begin_transaction()
    for _ in range(events):
        pod.produce(topic, b"event", partition=0)
    pod.flush(20)
    return pod


async def lags(settings: KafkaSettings) -> list[PartitionLag]:
    return await measure_lag(KafkaConnection.of(settings), settings)


async def test_the_lag_counts_events_up_to_the_last_one(
    kafka: Cluster, settings: KafkaSettings
) -> None:
    assert [each.lag for each in await lags(settings)] == [0, 0]
    for _ in range(7):
        kafka.produce(settings.topic, b"event", partition=0)
    kafka.commit(settings.group, settings.topic, 0)
    first, second = await lags(settings)
    assert (first.lag, first.committed, first.end) == (7, 0, 7)
    assert first.oldest is not None
    assert (second.lag, second.oldest) == (0, None)


async def test_open_transactions_and_markers_at_the_end_are_no_lag(
    kafka: Cluster, settings: KafkaSettings
) -> None:
    kafka.produce(settings.topic, b"event", partition=0)
    pod = transaction(kafka, settings.topic, events=2)
    assert (await lags(settings))[0].lag == 1
    pod.commit_transaction(20)
    assert (await lags(settings))[0].lag == 3  # the marker has offset 3
    await set_committed(KafkaConnection.of(settings), settings.topic, {0: 3})
    at_the_marker, _ = await lags(settings)
    assert (at_the_marker.committed, at_the_marker.end, at_the_marker.lag) == (3, 4, 0)
    assert at_the_marker.oldest is None


async def test_the_lag_counts_from_where_a_worker_starts(
    kafka: Cluster, settings: KafkaSettings
) -> None:
    for _ in range(3):
        kafka.produce(settings.topic, b"event", partition=0)
    pod = transaction(kafka, settings.topic, events=2)
    connection = KafkaConnection.of(settings)
    # A worker of an earlier release has read the events of the open transaction.
    await set_committed(connection, settings.topic, {0: 5})
    behind, _ = await lags(settings)
    assert (behind.committed, behind.end, behind.lag, behind.oldest) == (5, 3, 0, None)
    # The log went back: it does not hold the committed offset.
    await set_committed(connection, settings.topic, {0: 1000})
    assert (await lags(settings))[0].lag == 3
    pod.abort_transaction(20)


async def test_the_offsets_are_asked_for_once_the_coordinator_has_started(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer is imitated: a real one lasts for milliseconds."""
    connection = KafkaConnection.of(settings)
    await set_committed(connection, settings.topic, {0: 0, 1: 0})
    describe = AIOKafkaAdminClient.describe_consumer_groups
    answers = [CoordinatorLoadInProgressError, CoordinatorLoadInProgressError]

    async def starting(client: Any, groups: list[str]) -> Any:
        if answers:
            raise answers.pop()
        return await describe(client, groups)

    monkeypatch.setattr(AIOKafkaAdminClient, "describe_consumer_groups", starting)
    assert await committed_offsets(connection, settings.topic) == {0: 0, 1: 0}
    assert answers == []


async def test_the_offsets_of_a_group_with_members_are_not_set(
    kafka: Cluster, settings: KafkaSettings
) -> None:
    connection = KafkaConnection.of(settings)
    kafka.produce(settings.topic, b"event", partition=0)
    await set_committed(connection, settings.topic, {0: 1})
    assert await committed_offsets(connection, settings.topic) == {0: 1}
    await check_stopped(connection)
    member = Consumer({**kafka.client_config, "group.id": settings.group})
    member.subscribe([settings.topic])
    try:
        wait_until(lambda: member.poll(0.1) or member.assignment(), 30, "an assignment")
        group = await describe_group(connection)
        assert group.is_foreign
        assert group.members[0].partitions == {settings.topic: [0, 1]}
        with pytest.raises(GroupInUseError, match="stop all workers first"):
            await check_stopped(connection)
        with pytest.raises(GroupInUseError, match="has members now; stop all workers first"):
            await set_committed(connection, settings.topic, {0: 0})
    finally:
        member.close()
    assert await committed_offsets(connection, settings.topic) == {0: 1}
