"""The consumer lag, and the age of the oldest event that is not acked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from confluent_kafka import Producer
from prometheus_client.parser import text_string_to_metric_families

from testbed.cluster import Cluster
from testbed.postgresql import PostgreSQL
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.support.deployment import Deployment
from tests.support.events import Night, encode

SETTINGS = {"BUTLER_WRITER_RETRY_WAIT_MAX": "1"}


def gauge(worker: Worker, name: str) -> dict[str, float]:
    """Return the series of a gauge, by the value of the label."""
    return {
        next(iter(sample.labels.values()), ""): sample.value
        for family in text_string_to_metric_families(worker.page("/metrics"))
        for sample in family.samples
        if sample.name == f"butler_writer_{name}"
    }


def lag(*workers: Worker) -> float:
    return sum(sum(gauge(worker, "consumer_lag").values()) for worker in workers)


def wait_for_lag(expected: float, workers: Sequence[Worker], why: str) -> None:
    """Wait until the lag is right, and check that the next looks at the log's end agree."""
    wait_until(
        lambda: lag(*workers) == expected, 60, lambda: f"a lag of {expected}, not {lag(*workers)}"
    )
    until = time.monotonic() + 6  # longer than the time between two looks
    wait_until(
        lambda: lag(*workers) != expected or time.monotonic() > until, 30, "a look at the end"
    )
    assert lag(*workers) == expected, why


def missing(deployment: Deployment) -> int:
    """Return how many offsets of the log are not committed."""
    return sum(deployment.cluster.end_offsets(deployment.topic).values()) - deployment.committed()


@pytest.fixture
def on_private_database(
    kafka: Cluster, private_postgresql: PostgreSQL, topic_name: str, tmp_path: Path
) -> Deployment:
    database = private_postgresql.create_database("butler")
    return Deployment(kafka, topic_name, tmp_path, database=database, settings=SETTINGS)


def test_while_the_database_is_stopped_the_lag_is_what_was_sent(
    on_private_database: Deployment, private_postgresql: PostgreSQL
) -> None:
    """Also what the worker has not fetched, because it holds enough."""
    deployment = on_private_database
    night = Night(deployment.root)
    events = [night.event(visit, detector) for visit in range(1, 6) for detector in range(8)]
    size = len(encode(events[0]))
    limits = {
        "BUTLER_WRITER_WINDOW_BYTES": str(2 * size),
        "BUTLER_WRITER_MAX_BYTES_HELD": str(4 * size),
    }
    with deployment.worker(**limits) as worker:
        worker.wait_ready()
        deployment.send(*events[:2])
        deployment.wait_done()
        wait_for_lag(0, [worker], "at rest")

        private_postgresql.stop()
        sent = time.monotonic()
        deployment.send(*events[2:])
        wait_for_lag(len(events) - 2, [worker], "with the database stopped")

        state = next(iter(worker.state()["partitions"].values()))
        assert state["expected"] < len(events) - 8, "more was fetched than is held"
        wait_until(
            lambda: gauge(worker, "dependency_up")["database"] == 0, 30, "the database is away"
        )
        failing = gauge(worker, "step_failing_seconds")
        assert failing["read"] + failing["write"] > 0
        assert gauge(worker, "ready") == {"": 0}
        ages = gauge(worker, "oldest_unacked_seconds")
        assert 0 < ages["0"] <= time.monotonic() - sent

        private_postgresql.start()
        deployment.wait_done()
        wait_for_lag(0, [worker], "at rest again")
        assert gauge(worker, "oldest_unacked_seconds") == {"0": 0}
        assert set(gauge(worker, "step_failing_seconds").values()) == {0}
        wait_until(
            lambda: gauge(worker, "dependency_up")["database"] == 1, 30, "the database is back"
        )


def test_the_lags_of_three_workers_add_up_to_what_is_not_committed(
    kafka: Cluster, private_postgresql: PostgreSQL, topic_name: str, tmp_path: Path
) -> None:
    database = private_postgresql.create_database("butler")
    deployment = Deployment(
        kafka, topic_name, tmp_path, database=database, partitions=4, settings=SETTINGS
    )
    night = Night(deployment.root)
    events = [night.event(visit, detector) for visit in range(1, 4) for detector in range(12)]
    with ExitStack() as stack:
        workers = [stack.enter_context(deployment.worker()) for _ in range(3)]
        for worker in workers:
            worker.wait_ready()
        wait_until(
            lambda: sum(len(worker.partitions()) for worker in workers) == 4, 60, "all partitions"
        )
        deployment.send(*events[:10])
        deployment.wait_done()
        wait_for_lag(0, workers, "at rest")

        private_postgresql.stop()
        deployment.send(*events[10:])
        wait_for_lag(len(events) - 10, workers, "with the database stopped")
        assert lag(*workers) == missing(deployment)
        labels = [label for worker in workers for label in gauge(worker, "consumer_lag")]
        assert sorted(labels) == ["0", "1", "2", "3"], "each partition of one worker only"
        assert sum(gauge(worker, "assigned_partitions")[""] for worker in workers) == 4
        assert [gauge(worker, "input_partitions") for worker in workers] == [{"": 4}] * 3

        private_postgresql.start()
        deployment.wait_done()
        wait_for_lag(0, workers, "at rest again")


def test_the_markers_of_transactions_are_no_lag(
    kafka: Cluster, topic_name: str, tmp_path: Path
) -> None:
    deployment = Deployment(kafka, topic_name, tmp_path)
    night = Night(deployment.root)
    config = {**kafka.client_config, "transactional.id": topic_name, "linger.ms": 0}
    producer = Producer(config)
    producer.init_transactions(20)

    def send(end: Callable[[float], None], *detectors: int) -> None:
        producer.begin_transaction()
        for detector in detectors:
            producer.produce(deployment.topic, encode(night.event(1, detector)))
        producer.flush(20)
        end(20)

    with deployment.worker() as worker:
        worker.wait_ready()
        send(producer.commit_transaction, 0, 1)
        deployment.wait_done()
        wait_for_lag(0, [worker], "behind the marker of a transaction")
        send(producer.abort_transaction, 2)
        deployment.wait_done()
        wait_for_lag(0, [worker], "behind a transaction that was aborted")
        assert gauge(worker, "accepted_gaps_total") == {"": 1}, "one gap that has grown"
