"""What a worker waits for at its start, for how long, and what it does not wait for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer

from testbed.cluster import Cluster
from testbed.embedded import EmbeddedBroker
from testbed.postgresql import PostgreSQL
from tests.support.deployment import Deployment

#: Records of a changelog that took a worker 35 s to recover.
MANY = 146_000


@pytest.mark.slow
@pytest.mark.postgresql
def test_a_refused_login_and_a_missing_database_end_the_worker_at_once(
    embedded_broker: EmbeddedBroker, postgresql_url: str, topic_name: str, tmp_path: Path
) -> None:
    deployment = Deployment(embedded_broker, topic_name, tmp_path, database=postgresql_url)
    config = deployment.root / "butler.yaml"
    right = config.read_text()
    for wrong in (
        right.replace(postgresql_url, f"{postgresql_url}-gone"),
        right.replace("postgres@", "nobody@"),
    ):
        assert wrong != right
        config.write_text(wrong)
        with deployment.worker() as worker:
            assert worker.wait() == 1
            assert "does not exist" in worker.log_text().splitlines()[-1]
            assert "cannot open the repository" in worker.log_text().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.postgresql
def test_the_wait_for_the_database_has_a_limit(
    embedded_broker: EmbeddedBroker,
    private_postgresql: PostgreSQL,
    topic_name: str,
    tmp_path: Path,
) -> None:
    url = private_postgresql.create_database("away")
    deployment = Deployment(embedded_broker, topic_name, tmp_path, database=url)
    private_postgresql.stop()
    with deployment.worker(BUTLER_WRITER_START_WAIT_SECONDS="1.5") as worker:
        assert worker.wait() == 1
        assert (
            worker.log_text()
            .splitlines()[-1]
            .startswith(
                "butler-writer: gave up after BUTLER_WRITER_START_WAIT_SECONDS=1.5; the database "
                "does not answer: cannot open the repository"
            )
        )


@pytest.mark.slow
@pytest.mark.kafka
def test_a_worker_is_ready_as_soon_with_a_long_changelog(
    kafka: Cluster,
    topic_name: str,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    deployment = Deployment(kafka, topic_name, tmp_path)
    changelog = f"{deployment.group}-chains-changelog"

    def seconds_to_ready() -> float:
        started = time.monotonic()
        with deployment.worker() as worker:
            worker.wait_ready(120)
            seconds = time.monotonic() - started
            worker.wait_for_log("chains restored", 120)
            worker.term()
            assert worker.wait() == 0
        return seconds

    # Not compacted while the test runs.
    deployment.cluster.create_topic(changelog, cleanup_policy="compact")
    seconds_to_ready()  # the first one makes the other topics
    empty = min(seconds_to_ready() for _ in range(2))
    runs = [
        {"run": f"c/run{n}", "first_write": 1.0, "last_write": 2.0, "datasets": 9, "events": n}
        for n in range(8)
    ]
    producer = Producer({"bootstrap.servers": deployment.cluster.bootstrap, "linger.ms": 50})
    for number in range(MANY):
        chain = f"c{number % 20}"
        state = json.dumps({"chain": chain, "runs": runs}).encode()
        producer.produce(changelog, state, key=json.dumps(chain).encode())
        if number % 1000 == 0:
            producer.flush(60)
    assert producer.flush(60) == 0
    assert deployment.cluster.end_offsets(changelog)[0] >= MANY

    long = min(seconds_to_ready() for _ in range(2))

    record_property("figure", f"ready after {empty:.1f} s, with {MANY} records {long:.1f} s")
    assert long < empty + 3
