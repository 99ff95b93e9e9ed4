"""The product log of a real worker: what is in it, and when it is off."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AclOperation, ResourceType
from prometheus_client.parser import text_string_to_metric_families

from testbed.cluster import Cluster
from testbed.kafka import ApacheKafka
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.support.access_rules import LOGIN, grant
from tests.support.deployment import Deployment
from tests.support.events import Night, dataset_ids
from tests.support.flow import check_all_written

OFF = "the product log is off"


@pytest.fixture
def deployment(kafka: Cluster, topic_name: str, tmp_path: Path) -> Deployment:
    return Deployment(kafka, topic_name, tmp_path)


def metric(worker: Worker, name: str) -> float:
    for family in text_string_to_metric_families(worker.page("/metrics")):
        for sample in family.samples:
            if sample.name == f"butler_writer_{name}":
                return sample.value
    raise AssertionError(f"there is no metric {name}")


def reasons(worker: Worker) -> list[str]:
    """Return the reasons that a worker's log gives for a log that is off."""
    lines = [json.loads(line) for line in worker.log_text().splitlines()]
    return [line["reason"] for line in lines if line["event"] == OFF]


def as_strings(*events: dict[str, Any]) -> set[str]:
    return {str(dataset_id) for dataset_id in dataset_ids(*events)}


def test_what_is_written_is_in_the_log_once(deployment: Deployment) -> None:
    """The worker creates the topic."""
    events = [Night(deployment.root).event(1, detector) for detector in range(6)]
    with deployment.worker() as worker:
        worker.wait_ready()
        assert metric(worker, "product_log_enabled") == 1
        deployment.send(*events)
        deployment.cluster.produce(deployment.topic, b"no event")
        deployment.wait_done()
        sent = metric(worker, "product_messages_total")
        assert metric(worker, "product_bytes_total") > 1000 * sent
        assert reasons(worker) == []
    products = deployment.products()
    assert len(products) == sent
    assert Counter(deployment.logged_ids()) == Counter(as_strings(*events))
    assert deployment.cluster.topics()[deployment.product_topic] == 6
    announced = {json.loads(m.value or b"")["batch_id"] for m in deployment.announcements()}
    assert {message.batch_id for message in products} == announced
    check_all_written(deployment, events, dead_letters=1)


@pytest.mark.slow
def test_redelivered_datasets_are_in_the_log_again(deployment: Deployment) -> None:
    events = [Night(deployment.root).event(1, detector) for detector in range(4)]
    deployment.send(*events)
    with deployment.worker() as worker:
        deployment.wait_done()
        worker.term()
        assert worker.wait() == 0
    first = deployment.products()
    deployment.commit(0)
    with deployment.worker():
        deployment.wait_done()
    assert Counter(deployment.logged_ids()) == Counter([*as_strings(*events)] * 2)
    again = deployment.products()[len(first) :]
    assert min(m.committed_at for m in again) > max(m.committed_at for m in first)
    check_all_written(deployment, events)


@pytest.mark.kafka
def test_a_window_is_divided_if_the_topic_takes_only_smaller_messages(
    kafka: ApacheKafka, deployment: Deployment
) -> None:
    kafka.create_topic(deployment.product_topic, max_message_bytes=300_000)
    night = Night(deployment.root)
    events = [night.event(visit, detector) for visit in range(1, 13) for detector in range(12)]
    deployment.send(*events)
    with deployment.worker(BUTLER_WRITER_WINDOW_SECONDS="20", BUTLER_WRITER_LANES="1") as worker:
        deployment.wait_done(120)
        assert "step failed" not in worker.log_text()
    products = deployment.products()
    assert max(message.records_in_batch for message in products) > 1
    assert Counter(deployment.logged_ids()) == Counter(as_strings(*events))


@pytest.mark.slow
def test_without_its_topic_the_log_is_off_until_the_next_start(deployment: Deployment) -> None:
    night = Night(deployment.root)
    with deployment.worker(BUTLER_WRITER_PRODUCTS_TOPIC="") as worker:  # it creates the others
        worker.wait_ready()
        assert metric(worker, "product_log_enabled") == 0
        assert reasons(worker) == []
    assert deployment.product_topic not in deployment.cluster.topics()
    deployment.settings["BUTLER_WRITER_KAFKA_DECLARE_TOPICS"] = "false"
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(night.event(1, 0))
        deployment.wait_done()
        assert metric(worker, "product_log_enabled") == 0
        (reason,) = reasons(worker)
        assert reason.startswith(f"there is no topic {deployment.product_topic}; create it ")
        deployment.cluster.create_topic(deployment.product_topic)
        deployment.send(night.event(1, 1))
        deployment.wait_done()
    assert deployment.logged_ids() == []
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(night.event(1, 2))
        deployment.wait_done()
        assert metric(worker, "product_log_enabled") == 1
    assert set(deployment.logged_ids()) == as_strings(night.event(1, 2))
    check_all_written(deployment, [night.event(1, detector) for detector in range(3)])


@pytest.mark.kafka
def test_without_the_right_the_log_is_off(
    secure_kafka: ApacheKafka, topic_name: str, tmp_path: Path
) -> None:
    deployment = Deployment(secure_kafka, topic_name, tmp_path, settings=dict(LOGIN))
    grant(secure_kafka, deployment)
    night = Night(deployment.root)
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(night.event(1, 0))
        deployment.wait_done()
        assert metric(worker, "product_log_enabled") == 0
        (reason,) = reasons(worker)
        name = deployment.product_topic
        assert f"topic {name} cannot be created: TopicAuthorizationFailedError" in reason
    secure_kafka.create_topic(name)
    secure_kafka.allow("writer", AclOperation.DESCRIBE, ResourceType.TOPIC, name)
    with deployment.worker() as worker:
        worker.wait_ready()
        (reason,) = reasons(worker)
        lacks = f"Kafka user writer lacks WRITE on topic {name}; "
        assert reason == f"{lacks}grant the access rules listed in README.md"
    grant(secure_kafka, deployment, optional=True)
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(night.event(1, 1))
        deployment.wait_done()
        assert metric(worker, "product_log_enabled") == 1
        assert reasons(worker) == []
    assert set(deployment.logged_ids()) == as_strings(night.event(1, 1))


@pytest.mark.kafka
def test_events_wait_while_a_log_that_was_on_cannot_be_written(
    secure_kafka: ApacheKafka, topic_name: str, tmp_path: Path
) -> None:
    deployment = Deployment(secure_kafka, topic_name, tmp_path, settings=dict(LOGIN))
    grant(secure_kafka, deployment, optional=True)
    night = Night(deployment.root)
    right = (AclOperation.WRITE, ResourceType.TOPIC, deployment.product_topic)
    with deployment.worker(BUTLER_WRITER_RETRY_WAIT_MAX="1") as worker:
        worker.wait_ready()
        deployment.send(night.event(1, 0))
        deployment.wait_done()
        secure_kafka.forbid("writer", *right)
        deployment.send(night.event(1, 1))

        def fails() -> bool:
            return "log_products is failing" in (worker.state()["not_ready"] or "")

        wait_until(fails, 30, lambda: str(worker.state()["not_ready"]))
        assert deployment.committed() == 1
        assert set(deployment.announced_ids()) == as_strings(night.event(1, 0), night.event(1, 1))
        secure_kafka.allow("writer", *right)
        deployment.wait_done(120)
    assert set(deployment.logged_ids()) == as_strings(night.event(1, 0), night.event(1, 1))
