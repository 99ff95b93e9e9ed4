"""A step that hangs is visible, and ends the worker before long (rule stuck-workers-end)."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.telemetry.labels import Step
from testbed.cluster import Cluster
from testbed.kafka import ApacheKafka
from testbed.postgresql import PostgreSQL
from testbed.s3 import S3Door
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.support.buckets import Bucket
from tests.support.deployment import Deployment
from tests.support.events import Night
from tests.support.flow import check_all_written

SETTINGS = {
    "BUTLER_WRITER_STEP_WARNING_SECONDS": "1",
    "BUTLER_WRITER_RETRY_WAIT_MAX": "1",
}


@pytest.fixture
def deployment(
    kafka: Cluster, private_postgresql: PostgreSQL, topic_name: str, tmp_path: Path
) -> Deployment:
    database = private_postgresql.create_database("butler")
    return Deployment(kafka, topic_name, tmp_path, database=database, settings=dict(SETTINGS))


@pytest.fixture
def on_files(broker: Cluster, topic_name: str, tmp_path: Path) -> Deployment:
    """A deployment that needs neither PostgreSQL nor Apache Kafka."""
    return Deployment(broker, topic_name, tmp_path, settings=dict(SETTINGS))


def running_seconds(worker: Worker) -> dict[str, float]:
    """Return for how long each step has been running."""
    return {
        sample.labels["step"]: sample.value
        for family in text_string_to_metric_families(worker.page("/metrics"))
        for sample in family.samples
        if sample.name == "butler_writer_step_running_seconds"
    }


@pytest.mark.kafka
@pytest.mark.postgresql
def test_a_worker_is_not_ready_while_its_database_is_frozen(
    deployment: Deployment, private_postgresql: PostgreSQL
) -> None:
    events = [Night(deployment.root).event(1, detector) for detector in range(3)]
    with deployment.worker() as worker:
        worker.wait_ready()
        assert running_seconds(worker) == {step.value: 0 for step in Step}

        private_postgresql.freeze()
        deployment.send(*events)
        worker.wait_for_log("a step is slow")

        assert worker.status("/readyz") == 503
        assert "has been running for" in worker.state()["not_ready"]
        assert max(running_seconds(worker).values()) > 1
        assert worker.status("/livez") == 200

        private_postgresql.thaw()
        deployment.wait_done()
        wait_until(lambda: worker.status("/readyz") == 200, 30, "the worker is ready again")
        worker.wait_for_log("a slow step has ended")
    check_all_written(deployment, events)


@pytest.mark.kafka
@pytest.mark.postgresql
def test_a_worker_that_can_write_no_event_is_not_ready(
    deployment: Deployment, private_postgresql: PostgreSQL
) -> None:
    """No step fails for long: the events wait apart, since others might be written."""
    events = [Night(deployment.root).event(1, detector) for detector in range(3)]
    with deployment.worker() as worker, private_postgresql.connect("butler") as connection:
        worker.wait_ready()
        connection.execute("ALTER TABLE visit RENAME TO away")
        deployment.send(*events)
        wait_until(
            lambda: "no event was finished for" in (worker.state()["not_ready"] or ""),
            30,
            lambda: f"the worker is not ready, not {worker.state()['not_ready']}",
        )
        assert "visit" in worker.state()["not_ready"]
        connection.execute("ALTER TABLE away RENAME TO visit")
        deployment.wait_done()
        wait_until(lambda: worker.status("/readyz") == 200, 30, "the worker is ready again")
    check_all_written(deployment, events)


@pytest.mark.kafka
@pytest.mark.postgresql
@pytest.mark.slow
def test_a_worker_ends_when_a_step_outlasts_its_maximum(
    deployment: Deployment, private_postgresql: PostgreSQL
) -> None:
    events = [Night(deployment.root).event(1, detector) for detector in range(3)]
    with deployment.worker(BUTLER_WRITER_STEP_MAX_SECONDS="4") as worker:
        worker.wait_ready()
        private_postgresql.freeze()
        deployment.send(*events)

        assert worker.wait(60) == 1

        last = json.loads(worker.log_text().splitlines()[-1])
        assert last["event"] == "a step hangs, ending the worker"
        assert last["level"] == "critical"
        assert "has been running for" in last["reason"]

        private_postgresql.thaw()
        worker.start()
        deployment.wait_done()
    check_all_written(deployment, events)


def check_that_it_hangs(worker: Worker, step: Step, reason: str) -> None:
    """Check that a step's slowness, or the failure of its call, is visible."""
    worker.wait_for_log(f'"step": "{step}".*"event": "a step is slow"')
    assert worker.status("/readyz") == 503
    assert f"{step} has been running for" in worker.state()["not_ready"]
    assert worker.status("/livez") == 200
    if reason:
        worker.wait_for_log(reason, 60)


def check_that_it_ends(worker: Worker, step: Step) -> None:
    """Check that a worker ends because of a step that hangs."""
    assert worker.wait(60) == 1
    last = json.loads(worker.log_text().splitlines()[-1])
    assert last["event"] == "a step hangs, ending the worker"
    assert last["reason"].startswith(f"{step} has been running for")


@pytest.mark.slow
def test_a_list_directory_that_hangs_is_visible_and_ends_the_worker(
    on_files: Deployment, bucket: Bucket, s3_door: S3Door
) -> None:
    bucket.hold_lists_of(on_files)
    events = [Night(on_files.root).event(1, detector) for detector in range(3)]
    settings = {"BUTLER_WRITER_STEP_MAX_SECONDS": "4", "S3_ENDPOINT_URL": s3_door.url}
    with on_files.worker(**settings) as worker:
        worker.wait_ready()
        s3_door.freeze()
        on_files.send(*events)
        check_that_it_hangs(worker, Step.ANNOUNCE, "")
        check_that_it_ends(worker, Step.ANNOUNCE)
        assert on_files.committed() == 0

        s3_door.thaw()
        worker.start()
        on_files.wait_done()
    check_all_written(on_files, events)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_list_directory_that_hangs_is_given_up_and_takes_one_thread(
    on_files: Deployment, bucket: Bucket, s3_door: S3Door
) -> None:
    """The write has a limit of its own, below the step's."""
    bucket.hold_lists_of(on_files)
    events = [Night(on_files.root).event(1, detector) for detector in range(3)]
    with on_files.worker(S3_ENDPOINT_URL=s3_door.url) as worker:
        worker.wait_ready()
        s3_door.freeze()
        on_files.send(*events)
        worker.wait_for_log("OUTPUT_DATASET_LIST_DIRECTORY did not respond", 90)
        assert "announce is failing" in worker.state()["not_ready"]
        threads = psutil.Process(worker.process.pid).num_threads()
        time.sleep(5)  # enough for further attempts
        assert psutil.Process(worker.process.pid).num_threads() == threads

        worker.term()
        assert worker.wait(40) == 0  # what hangs does not keep it from ending
        s3_door.thaw()
        worker.start()
        on_files.wait_done()
    check_all_written(on_files, events)


@pytest.mark.slow
def test_a_store_that_hangs_in_the_file_check_is_visible_and_ends_the_worker(
    on_files: Deployment, bucket: Bucket, s3_door: S3Door
) -> None:
    bucket.hold_artifacts_of(on_files)
    events = [Night().event(1, detector) for detector in range(3)]
    for event in events:
        bucket.upload(event)
    with on_files.worker(
        S3_ENDPOINT_URL=s3_door.url,
        BUTLER_WRITER_STEP_MAX_SECONDS="6",
        BUTLER_WRITER_FILE_CHECK_TIMEOUT="2",
    ) as worker:
        worker.wait_ready()
        s3_door.freeze()
        on_files.send(*events)
        check_that_it_hangs(worker, Step.READ, "did not respond for 30 artifacts within 2 s")
        # Ten attempts take all threads; the next one waits for one of them.
        check_that_it_ends(worker, Step.READ)

        s3_door.thaw()
        worker.start()
        on_files.wait_done()
    check_all_written(on_files, events)


@pytest.mark.slow
def test_a_staging_store_that_hangs_is_visible_and_its_events_are_written_later(
    on_files: Deployment, bucket: Bucket, s3_door: S3Door
) -> None:
    staging = f"s3://{bucket.name}/staging/"
    on_files.settings.update(bucket.server.environment)
    on_files.settings["BUTLER_WRITER_STAGING_ROOTS"] = staging
    events = [Night().event(1, detector, staging=staging) for detector in range(3)]
    for event in events:
        bucket.upload(event, prefix="staging/")
    with on_files.worker(S3_ENDPOINT_URL=s3_door.url, BUTLER_WRITER_STAGING_TIMEOUT="3") as worker:
        worker.wait_ready()
        s3_door.freeze()
        on_files.send(*events)
        check_that_it_hangs(worker, Step.READ, "did not respond for 30 artifacts within 3 s")
        s3_door.thaw()
        on_files.wait_done()
        wait_until(lambda: worker.status("/readyz") == 200, 30, "the worker is ready again")
    check_all_written(on_files, events)


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("step", [Step.ANNOUNCE, Step.SET_ASIDE], ids=str)
def test_a_frozen_broker_is_visible_and_nothing_is_lost(
    private_kafka: ApacheKafka, topic_name: str, tmp_path: Path, step: Step
) -> None:
    """The broker has delivered the events, and freezes before it has what they lead to."""
    deployment = Deployment(private_kafka, topic_name, tmp_path, settings=dict(SETTINGS))
    night = Night(deployment.root)
    bad = [b"no event"] * 2 if step is Step.SET_ASIDE else []
    events = [] if bad else [night.event(1, detector) for detector in range(3)]
    with deployment.worker(BUTLER_WRITER_WINDOW_SECONDS="5") as worker:
        worker.wait_ready()
        deployment.send(*events)
        for value in bad:
            private_kafka.produce(topic_name, value)
        sent = len(events) + len(bad)
        wait_until(lambda: receipts(worker) == sent, 10, "the events are received")
        private_kafka.freeze()
        check_that_it_hangs(worker, step, f'"step": "{step}".*"event": "step failed, will retry"')
        wait_until(lambda: "Kafka" in worker.state()["not_ready"], 20, "Kafka is named")
        assert worker.process.returncode is None
        private_kafka.thaw()
        deployment.wait_done(120)
        wait_until(lambda: worker.status("/readyz") == 200, 60, "the worker is ready again")
    if events:
        check_all_written(deployment, events)
    assert len(deployment.dead_letters()) == len(bad)


def receipts(worker: Worker) -> int:
    """Return how many events a worker has received."""
    found = re.search(
        r'^butler_writer_receipts_total{receipt="expected"} (\d+)',
        worker.page("/metrics"),
        re.MULTILINE,
    )
    return int(found[1]) if found else 0
