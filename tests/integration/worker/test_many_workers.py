"""Several workers in one group: each dataset is written when workers die or come back."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest

from app.settings import KafkaSettings
from testbed.cluster import Cluster
from testbed.process import ChildProcess
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.support.deployment import Deployment
from tests.support.events import Night, dataset_ids, stored_ids
from tests.support.flow import check_all_written, streaming

#: Seconds until the group notices that a worker is dead.
SESSION = {"BUTLER_WRITER_KAFKA_SESSION_TIMEOUT": "6"}


@pytest.fixture
def deployment(kafka: Cluster, postgresql_url: str, topic_name: str, tmp_path: Path) -> Deployment:
    return Deployment(
        kafka, topic_name, tmp_path, database=postgresql_url, partitions=2, settings=SESSION
    )


def wait_shared(deployment: Deployment, *workers: Worker) -> None:
    """Wait until every partition is read by one of the workers."""
    everyone = sorted(f"{deployment.topic}-{n}" for n in range(deployment.partitions))
    wait_until(
        lambda: sorted(p for worker in workers for p in worker.partitions()) == everyone,
        120,
        lambda: "\n".join(
            [
                f"each partition read by one worker: {[worker.partitions() for worker in workers]}",
                *(worker.process.log_tail() for worker in workers),
            ]
        ),
    )


def wait_progress(deployment: Deployment, events: Sequence[object]) -> None:
    """Wait until the events that a stream has sent so far are finished."""
    so_far = len(events)
    wait_until(lambda: deployment.committed() > so_far, 120, "the stream is written")


def test_the_remaining_workers_write_the_events_of_a_killed_worker(
    deployment: Deployment,
) -> None:
    """One of the remaining workers was a spare worker."""
    with deployment.worker() as one, deployment.worker() as two, deployment.worker() as three:
        left = [one, two, three]
        for worker in left:
            worker.wait_ready()
        wait_shared(deployment, *left)
        assert sorted(len(worker.partitions()) for worker in left) == [0, 1, 1]
        with streaming(deployment) as events:
            for _ in range(2):
                wait_progress(deployment, events)
                busy = next(worker for worker in left if worker.partitions())
                busy.kill()
                left.remove(busy)
                wait_shared(deployment, *left)
            wait_progress(deployment, events)
        deployment.wait_done()
    check_all_written(deployment, events)


@pytest.mark.slow
def test_a_worker_frozen_in_a_transaction_blocks_no_other_and_rejoins(
    deployment: Deployment,
) -> None:
    """The server ends its session, whose locks the others need (rule bounded-database-calls)."""
    assert deployment.database is not None
    events = [Night(deployment.root).event(100, detector) for detector in range(8)]
    settings = {"BUTLER_WRITER_LOCK_TIMEOUT": "3", "BUTLER_WRITER_RETRY_WAIT_MAX": "1"}
    with deployment.worker(**settings) as one, ExitStack() as later:
        one.wait_ready()
        with psycopg.connect(deployment.database) as connection, connection.transaction():
            connection.execute("LOCK TABLE dataset IN EXCLUSIVE MODE")
            deployment.send(*events)
            wait_until(lambda: is_blocked(deployment.database), 60, "a write is under way")
            one.stop_process()
        two = later.enter_context(deployment.worker(**settings))
        wait_shared(deployment, two)
        deployment.wait_done()
        one.continue_process()
        wait_until(lambda: len(one.partitions()) == 1, 60, "the frozen worker is back")
        wait_shared(deployment, one, two)
        with streaming(deployment) as more:
            wait_until(lambda: deployment.committed() > 20, 60, "both write")
        deployment.wait_done()
    check_all_written(deployment, events + more)


def is_blocked(database: str | None) -> bool:
    """Return whether a statement waits for a lock."""
    query = (
        "SELECT FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with psycopg.connect(database or "") as connection:
        return bool(connection.execute(query).fetchall())


#: A consumer like the deployed service: it commits the first events, prints a line and stays.
PEER = """
import sys
from confluent_kafka import Consumer
servers, group, topic, count = sys.argv[1:]
consumer = Consumer({"bootstrap.servers": servers, "group.id": group, "session.timeout.ms": 10000,
                     "auto.offset.reset": "earliest", "enable.auto.commit": False})
consumer.subscribe([topic])
taken = 0
while True:
    message = consumer.poll(1)
    if message is not None and message.error() is None and taken < int(count):
        consumer.commit(message, asynchronous=False)
        taken += 1
        if taken == int(count):
            print("committed", flush=True)
"""


@contextmanager
def peer(deployment: Deployment, count: int) -> Iterator[ChildProcess]:
    """Run a member that has committed the first events; it is killed, so it never leaves."""
    process = ChildProcess(
        [
            *(sys.executable, "-c", PEER),
            *(deployment.cluster.bootstrap, deployment.group, deployment.topic, str(count)),
        ],
        log=deployment.folder / "peer.log",
    )
    try:
        wait_until(lambda: "committed" in process.log_text(), 60, process.log_tail)
        yield process
    finally:
        process.kill()


def test_a_worker_continues_at_the_offsets_of_the_deployed_service(
    kafka: Cluster, topic_name: str, tmp_path: Path
) -> None:
    """Its last member is still in the group, with another assignment protocol, and then dies."""
    group = KafkaSettings.model_fields["group"].default
    settings = {**SESSION, "BUTLER_WRITER_KAFKA_GROUP": group}
    deployment = Deployment(kafka, topic_name, tmp_path, settings=settings)
    events = [Night(deployment.root).event(1, detector) for detector in range(10)]
    deployment.send(*events)
    with ExitStack() as stack:
        with peer(deployment, 4):
            worker = stack.enter_context(deployment.worker(BUTLER_WRITER_KAFKA_GROUP=""))
            worker.wait_for_log("not in the consumer group")
        worker.wait_ready()
        deployment.wait_done()
    found = stored_ids(deployment.fresh_butler())
    assert set(found) == dataset_ids(*events[4:])
    assert len(found) == len(set(found))
