"""The pages of a worker: probes, metrics and state."""

from __future__ import annotations

import json
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.intake.received import MESSAGE_OVERHEAD
from testbed.cluster import Cluster
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.support.deployment import Deployment
from tests.support.events import Night, encode

SETTINGS = {
    # Four events make a window, however long they take.
    "BUTLER_WRITER_WINDOW_EVENTS": "4",
    "BUTLER_WRITER_WINDOW_SECONDS": "600",
    "BUTLER_WRITER_RETRY_WAIT_MAX": "0.5",
    "WRITER_DEBUG_LEVEL": "chatty",
    "BUTLER_WRITER_WINDOW_SECOND": "600",
}


@pytest.fixture
def deployment(broker: Cluster, topic_name: str, tmp_path: Path) -> Deployment:
    return Deployment(broker, topic_name, tmp_path, settings=SETTINGS)


@pytest.fixture
def worker(deployment: Deployment) -> Iterator[Worker]:
    with deployment.worker() as worker:
        worker.wait_ready()
        yield worker


def get(worker: Worker, path: str) -> tuple[int, str, str]:
    """Return a page's status, content type and text."""
    try:
        with urllib.request.urlopen(worker.url + path, timeout=10) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def readiness(worker: Worker) -> tuple[int, str | None]:
    """Return the status and the reason of ``/readyz``."""
    status, _, text = get(worker, "/readyz")
    page = json.loads(text)
    assert page["ready"] is (status == 200)
    return status, page["reason"]


def metrics(worker: Worker) -> dict[str, float]:
    """Return each sample by its name, with the label's value if it has one."""
    status, content_type, text = get(worker, "/metrics")
    assert status == 200
    assert content_type.startswith("text/plain")
    return {
        ":".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def send(deployment: Deployment, first: int, count: int) -> int:
    """Send the events of some detectors; return their size."""
    night = Night(deployment.root)
    events = [night.event(1, detector) for detector in range(first, first + count)]
    deployment.send(*events)
    return sum(len(encode(event)) for event in events)


def held(worker: Worker) -> int:
    """Return how many events of the one partition are held."""
    return sum(int(partition["held"]) for partition in worker.state()["partitions"].values())


def test_an_open_window_is_in_the_state_until_it_is_flushed(
    deployment: Deployment, worker: Worker
) -> None:
    before = worker.state()
    assert before["open_window"] is None
    assert before["last_flush"] is None
    assert before["last_error"] is None
    partition = f"{deployment.topic}-0"
    fresh = {"start": 0, "expected": 0, "held": 0, "acked_to": 0}
    assert before["partitions"] == {partition: fresh}

    size = send(deployment, 0, 3) + 3 * MESSAGE_OVERHEAD
    wait_until(lambda: held(worker) == 3, 30, "three events in the ledger")

    during = worker.state()
    assert during["open_window"] == {"events": 3, "bytes": size}
    assert during["windows_in_flight"] == 0
    assert during["bytes_held"] == size
    assert during["partitions"] == {partition: fresh | {"expected": 3, "held": 3}}
    assert metrics(worker)["butler_writer_bytes_held"] == size

    size += send(deployment, 3, 1) + MESSAGE_OVERHEAD
    deployment.wait_done()

    after = worker.state()
    assert after["open_window"] is None
    assert after["bytes_held"] == 0
    assert after["partitions"] == {partition: fresh | {"expected": 4, "acked_to": 4}}
    assert after["not_ready"] is None
    assert after["last_error"] is None
    flush = after["last_flush"]
    assert before["started_at"] < flush["at"]
    assert {name: flush[name] for name in ("events", "datasets", "inserted", "bytes", "acked")} == {
        "events": 4,
        "datasets": 40,
        "inserted": 40,
        "bytes": size,
        "acked": 4,
    }


def test_metrics_count_what_was_flushed(deployment: Deployment, worker: Worker) -> None:
    send(deployment, 0, 4)
    send(deployment, 0, 3)  # again
    deployment.cluster.produce(deployment.topic, b"no event")
    deployment.wait_done()

    found = metrics(worker)

    expected = {
        "butler_writer_windows_total": 2,
        "butler_writer_events_total:written": 7,
        "butler_writer_events_total:dead": 1,
        "butler_writer_receipts_total:expected": 8,
        "butler_writer_datasets_total:inserted": 40,
        "butler_writer_datasets_total:already_there": 30,
        "butler_writer_dead_letters_total:invalid_event": 1,
        "butler_writer_bytes_held": 0,
        "butler_writer_bytes_ahead": 0,
        "butler_writer_flush_seconds_count:write": 2,
        "butler_writer_flush_seconds_count:announce": 2,
    }
    assert {name: found.get(name) for name in expected} == expected


def test_an_unknown_log_level_means_info_and_unknown_names_are_warned_about(
    worker: Worker,
) -> None:
    lines = [json.loads(line) for line in worker.log_text().splitlines() if line[0] == "{"]

    # Warnings and errors are logged on every level; a broker that has just started causes some.
    levels = {line["level"] for line in lines}
    assert "info" in levels
    assert "debug" not in levels
    warnings = [line["reason"] for line in lines if line["event"] == "a variable has no effect"]
    assert warnings == [
        (
            "BUTLER_WRITER_WINDOW_SECOND is unknown and has no effect; "
            "did you mean BUTLER_WRITER_WINDOW_SECONDS?"
        ),
        (
            "WRITER_DEBUG_LEVEL='chatty' is unknown, INFO is used; "
            "set DEBUG, INFO, WARNING, ERROR or CRITICAL"
        ),
    ]


def test_a_failing_step_is_reported_until_it_succeeds(
    deployment: Deployment, worker: Worker
) -> None:
    deployment.lists.rmdir()
    deployment.lists.write_text("no folder")
    send(deployment, 0, 4)
    wait_until(lambda: readiness(worker)[0] == 503, 30, "the worker is not ready")

    _, reason = readiness(worker)
    state = worker.state()
    assert reason is not None
    assert reason.startswith("announce is failing: NotADirectoryError: ")
    assert state["not_ready"] == reason
    assert state["last_error"]["step"] == "announce"
    assert state["last_error"]["error"] in reason
    assert state["windows_in_flight"] == 1
    found = metrics(worker)
    assert found["butler_writer_retries_total:announce"] >= 1
    assert found["butler_writer_step_failing_seconds:announce"] > 0
    assert found["butler_writer_step_failing_seconds:write"] == 0
    assert found["butler_writer_dependency_up:datastore"] == 0
    assert found["butler_writer_dependency_up:database"] == 1
    assert found["butler_writer_ready"] == 0
    assert get(worker, "/livez")[0] == 200

    deployment.lists.unlink()
    deployment.wait_done()

    assert readiness(worker) == (200, None)
    found = metrics(worker)
    assert found["butler_writer_step_failing_seconds:announce"] == 0
    assert found["butler_writer_dependency_up:datastore"] == 1
    assert found["butler_writer_ready"] == 1
    state = worker.state()
    assert state["last_error"]["step"] == "announce"
    assert state["last_flush"]["at"] > state["last_error"]["at"]


@pytest.mark.kafka
def freeze_between_writes(worker: Worker, deployment: Deployment) -> bool:
    """Freeze a worker, unless it has locked the repository: then no other could use that."""
    worker.stop_process()
    with closing(sqlite3.connect(deployment.root / "gen3.sqlite3", timeout=0.5)) as database:
        try:
            database.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            worker.continue_process()
            return False
    return True


def test_a_worker_is_ready_with_partitions_and_as_a_spare_worker(
    kafka: Cluster, deployment: Deployment, worker: Worker, tmp_path: Path
) -> None:
    deployment.lists.rmdir()
    deployment.lists.write_text("no folder")
    send(deployment, 0, 4)
    wait_until(lambda: readiness(worker)[0] == 503, 30, "the first worker's failure")
    wait_until(lambda: freeze_between_writes(worker, deployment), 30, "a moment without a lock")

    with deployment.worker(OUTPUT_DATASET_LIST_DIRECTORY=str(tmp_path / "others")) as other:
        wait_until(lambda: other.status("/livez") == 200, 30, "the other worker's pages")
        # The group, and so the other worker, waits for its silent member.
        wait_until(
            lambda: readiness(other) == (503, "waiting for partitions to be assigned"),
            30,
            lambda: f"the other worker to wait for partitions, not {readiness(other)}",
        )
        assert other.state()["partitions"] == {}
        other.wait_ready()
        assert list(other.state()["partitions"]) == [f"{deployment.topic}-0"]
        deployment.wait_done()

        worker.continue_process()
        worker.wait_for_log("window abandoned")
        both = (worker, other)
        wait_until(
            lambda: [readiness(each)[0] for each in both] == [200, 200],
            60,
            lambda: f"both ready: {[readiness(each) for each in both]}",
        )
        assert sorted(len(each.state()["partitions"]) for each in both) == [0, 1]
        assert [metrics(each)["butler_writer_bytes_held"] for each in both] == [0, 0]
