"""A worker that has nothing to write says on ``/readyz`` what does not answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.cluster import Cluster
from testbed.kafka import ApacheKafka
from testbed.postgresql import PostgreSQL
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.support.deployment import Deployment
from tests.support.events import Night
from tests.support.flow import check_all_written


def wait_for_reason(worker: Worker, start: str | None) -> None:
    """Wait until the worker is ready, or is not for a reason that starts in this way."""

    def found() -> bool:
        reason = worker.state()["not_ready"]
        return (start is None and reason is None) or str(reason).startswith(str(start))

    wait_until(found, 30, lambda: f"{start}: {worker.state()['not_ready']}")
    assert worker.status("/readyz") == (200 if start is None else 503)


@pytest.mark.kafka
def test_an_idle_worker_is_not_ready_while_kafka_is_away(
    private_kafka: ApacheKafka, topic_name: str, tmp_path: Path
) -> None:
    deployment = Deployment(private_kafka, topic_name, tmp_path)
    with deployment.worker() as worker:
        worker.wait_ready()

        private_kafka.kill()
        wait_for_reason(worker, "Kafka does not answer: ")
        assert worker.status("/livez") == 200

        private_kafka.start()
        wait_for_reason(worker, None)


@pytest.mark.kafka
def test_an_idle_worker_is_not_ready_while_there_is_no_input_topic(
    kafka: Cluster, topic_name: str, tmp_path: Path
) -> None:
    deployment = Deployment(kafka, topic_name, tmp_path)
    with deployment.worker() as worker:
        worker.wait_ready()
        kafka.admin.delete_topics([topic_name])[topic_name].result(20)
        wait_for_reason(worker, f"there is no topic {topic_name}: it was deleted")
        kafka.create_topic(topic_name)
        wait_for_reason(worker, None)


@pytest.mark.postgresql
def test_an_idle_worker_is_not_ready_while_the_database_is_away_or_frozen_and_ends_in_time(
    broker: Cluster, private_postgresql: PostgreSQL, topic_name: str, tmp_path: Path
) -> None:
    database = private_postgresql.create_database("butler")
    deployment = Deployment(broker, topic_name, tmp_path, database=database)
    event = Night(deployment.root).event()
    with deployment.worker() as worker:
        worker.wait_ready()

        private_postgresql.stop()
        wait_for_reason(worker, "the database does not answer: OperationalError: ")
        private_postgresql.start()
        wait_for_reason(worker, None)

        private_postgresql.freeze()
        wait_for_reason(worker, "the database does not answer: no answer within")
        private_postgresql.thaw()
        wait_for_reason(worker, None)

        deployment.send(event)
        deployment.wait_done()
        private_postgresql.freeze()
        wait_for_reason(worker, "the database does not answer: ")
        worker.term()
        assert worker.wait(30) == 0
        private_postgresql.thaw()
    check_all_written(deployment, [event])
