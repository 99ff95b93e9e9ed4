"""The durability rules (docs/durability.md), with real servers."""

from __future__ import annotations

import json
import re
import time
from contextlib import ExitStack
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka import Producer

from app.intake.received import MESSAGE_OVERHEAD
from models.dead_letter import DeadLetter
from testbed.cluster import Cluster
from testbed.kafka import ApacheKafka
from testbed.postgresql import PostgreSQL
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.support.deployment import Deployment
from tests.support.events import Night, dataset_ids, encode, stored_ids
from tests.support.flow import check_all_written, locked

FAULTS = str(Path(__file__).parents[2] / "support" / "faults")


@pytest.fixture
def deployment(kafka: Cluster, topic_name: str, tmp_path: Path) -> Deployment:
    return Deployment(kafka, topic_name, tmp_path)


@pytest.fixture
def on_postgresql(
    kafka: Cluster, postgresql_url: str, topic_name: str, tmp_path: Path
) -> Deployment:
    return Deployment(kafka, topic_name, tmp_path, database=postgresql_url, partitions=2)


def held(worker: Worker) -> int:
    """Return how many events a worker has received and not written."""
    return sum(partition["held"] for partition in worker.state()["partitions"].values())


def wait_not_ready(worker: Worker, pattern: str) -> None:
    """Wait until a worker is not ready, for a reason that matches a pattern."""

    def matches() -> bool:
        return re.search(pattern, str(worker.state()["not_ready"])) is not None

    wait_until(matches, 60, lambda: f"{pattern}: {worker.state()['not_ready']}")
    assert worker.status("/readyz") == 503


def flushing(worker: Worker) -> bool:
    """Return whether a worker is flushing a window."""
    return int(worker.state()["windows_in_flight"]) > 0


def test_nothing_is_committed_past_an_event_that_is_not_written(
    deployment: Deployment,
) -> None:
    """Not even after Faust has noted a gap, because it lost events that were then read again."""
    night = Night(deployment.root)
    events = [night.event(1, detector) for detector in range(8)]
    late = deployment.root / events[4]["datasets"][0]["path"]
    content = late.read_bytes()
    late.unlink()
    settings = {
        "PYTHONPATH": FAULTS,
        "LOSE_FETCHED": "2,3,4,5,6",
        "BUTLER_WRITER_WINDOW_EVENTS": "1",
        "BUTLER_WRITER_KAFKA_COMMIT_INTERVAL": "0.2",
        "BUTLER_WRITER_MISSING_FILE_TRIES": "10000",
        "BUTLER_WRITER_MISSING_FILE_WAIT": "0.1",
    }
    with deployment.worker(**settings) as worker:
        worker.wait_ready()
        deployment.send(*events)
        wait_until(lambda: deployment.committed() >= 4, 60, "the events before it are finished")
        time.sleep(1)  # five more commits
        assert deployment.committed() == 4
        late.write_bytes(content)
        deployment.wait_done()
    check_all_written(deployment, events)


def test_events_lost_inside_faust_are_read_again(
    deployment: Deployment,
) -> None:
    """Events are lost before the first commit, after it, and at the end of the log."""
    night = Night(deployment.root)
    events = [night.event(1, detector) for detector in range(12)]
    with deployment.worker(PYTHONPATH=FAULTS, LOSE_QUEUED="2,3,8,11") as worker:
        worker.wait_ready()
        deployment.send(*events[:7])
        deployment.wait_done()
        deployment.send(*events[7:])
        deployment.wait_done()
        assert worker.state()["accepted_gaps"] == 0
    check_all_written(deployment, events)


def test_bad_events_of_every_kind_are_set_aside_and_the_others_are_written(
    deployment: Deployment,
) -> None:
    night = Night(deployment.root)
    good = [night.event(1, detector) for detector in range(6)]
    absent = night.event(2, 0)
    (deployment.root / absent["datasets"][3]["path"]).unlink()
    limit = 100_000
    too_large = b" " * (limit + 2 * 2**20)  # the dead letters accept the limit and 1 MiB
    bad: dict[bytes | None, tuple[str, str]] = {
        b"{not JSON": ("invalid_event", "not JSON"),
        b"\xff\x00": ("invalid_event", "not JSON"),
        b"[1, 2]": ("invalid_event", "not a JSON object but list"),
        b'{"type": "pp-output"}': ("invalid_event", "dimension_records"),
        b'{"type": "alert"}': ("invalid_event", "type is 'alert'"),
        None: ("invalid_event", "no value"),
        b" " * (limit + 1): ("over_limit", f"more than the limit of {limit}"),
        too_large: ("over_limit", f"more than the limit of {limit}"),
        encode(absent): ("missing_file", absent["datasets"][3]["path"]),
    }
    sent = {}
    odd_headers: list[tuple[str, Any]] = [("replays", None), ("replays", b"9" * 5000)]
    pod = Producer(deployment.cluster.client_config)
    for header in odd_headers:
        pod.produce(deployment.topic, encode(good[0]), headers=[header])
    pod.flush(20)
    for n, value in enumerate(bad):
        deployment.send(good[n % len(good)])
        key = b"\xffkey" if n % 2 or value is None else None
        sent[deployment.cluster.produce(deployment.topic, value, key=key)[1]] = (key, value)
    deployment.send(*good)
    settings = {"BUTLER_WRITER_KAFKA_MAX_MESSAGE_BYTES": str(limit)}
    with deployment.worker(**settings) as worker:
        worker.wait_ready()
        deployment.wait_done()
        log = [json.loads(line) for line in worker.log_text().splitlines() if line[:1] == "{"]
    letters = deployment.dead_letters()
    assert len(letters) == len(bad)
    for letter in letters:
        parsed = DeadLetter.from_headers(dict(letter.headers))
        key, value = sent.pop(parsed.offset)
        error_class, reason = bad[value]
        assert (parsed.topic, parsed.partition) == (deployment.topic, 0)
        assert parsed.error_class == error_class
        assert reason in parsed.reason
        assert datetime.fromisoformat(parsed.time).tzinfo is not None
        (line,) = [
            x for x in log if x["event"] == "event set aside" and x["offset"] == parsed.offset
        ]
        assert (line["topic"], line["partition"]) == (parsed.topic, parsed.partition)
        assert line["reason"] == parsed.reason
        if value == too_large:
            assert json.loads(letter.value or b"") == {
                "type": "dead-letter-pointer",
                "topic": deployment.topic,
                "partition": 0,
                "offset": parsed.offset,
                "bytes": len(too_large),
                "sha256": sha256(too_large).hexdigest(),
            }
        else:
            assert (letter.key, letter.value) == (key, value or b"")
    check_all_written(deployment, good, dead_letters=len(bad))


def test_a_rebalance_does_not_wait_for_a_flush(on_postgresql: Deployment) -> None:
    """The flush is abandoned, and the next owner of each partition writes its events."""
    deployment = on_postgresql
    events = [Night(deployment.root).event(1, detector) for detector in range(8)]
    with deployment.worker() as one, ExitStack() as later:
        one.wait_ready()
        with locked(deployment):
            deployment.send(*events)
            wait_until(lambda: flushing(one), 60, "a flush is under way")
            two = later.enter_context(deployment.worker())
            two.wait_ready()
            wait_until(two.partitions, 60, "the second worker has a partition")
            assert deployment.committed() == 0
        one.wait_for_log("window abandoned")
        deployment.wait_done()
    check_all_written(deployment, events)


def test_the_bytes_held_are_bounded_while_nothing_can_be_written(
    on_postgresql: Deployment,
) -> None:
    deployment = on_postgresql
    night = Night(deployment.root)
    events = [night.event(visit, detector) for visit in range(1, 26) for detector in range(12)]
    bound = 200_000
    with deployment.worker(BUTLER_WRITER_MAX_BYTES_HELD=str(bound)) as worker:
        worker.wait_ready()
        with locked(deployment):
            deployment.send(*events)
            wait_until(lambda: worker.state()["bytes_held"] >= bound, 60, "the bound is reached")
            largest = len(encode(events[0])) * 1.1 + MESSAGE_OVERHEAD
            assert worker.state()["bytes_held"] < bound + largest
        deployment.wait_done()
    check_all_written(deployment, events)


def test_on_sigterm_open_windows_are_written_and_committed(deployment: Deployment) -> None:
    events = [Night(deployment.root).event(1, detector) for detector in range(8)]
    with deployment.worker(BUTLER_WRITER_WINDOW_SECONDS="3600") as worker:
        worker.wait_ready()
        deployment.send(*events)
        wait_until(lambda: held(worker) == len(events), 60, "all events have arrived")
        worker.term()
        assert worker.wait(30) == 0
    assert deployment.committed() == len(events)
    check_all_written(deployment, events)


def test_sigterm_ends_a_worker_in_time_even_if_nothing_can_be_written(
    on_postgresql: Deployment,
) -> None:
    deployment = on_postgresql
    events = [Night(deployment.root).event(1, detector) for detector in range(8)]
    settings = {"BUTLER_WRITER_SHUTDOWN_TIMEOUT": "2", "BUTLER_WRITER_LOCK_TIMEOUT": "300"}
    with deployment.worker(**settings) as worker:
        worker.wait_ready()
        with locked(deployment):
            deployment.send(*events)
            wait_until(lambda: flushing(worker), 60, "a flush is under way")
            worker.term()
            assert worker.wait(15) == 1
    assert deployment.committed() == 0  # everything will be redelivered


def test_the_worker_waits_for_an_unavailable_database_and_loses_nothing(
    kafka: Cluster, topic_name: str, tmp_path: Path
) -> None:
    with PostgreSQL() as server:
        database = server.create_database("butler")
        deployment = Deployment(kafka, topic_name, tmp_path, database=database)
        events = [Night(deployment.root).event(1, detector) for detector in range(12)]
        with deployment.worker(BUTLER_WRITER_RETRY_WAIT_MAX="1") as worker:
            worker.wait_ready()
            deployment.send(*events[:6])
            deployment.wait_done()
            server.kill()
            deployment.send(*events[6:])
            wait_not_ready(worker, "(read|write) is failing: .*connection")
            assert deployment.committed() == 6
            server.start()
            deployment.wait_done()
            worker.wait_ready()
        check_all_written(deployment, events)


def test_redelivered_events_are_announced_again_and_written_once(
    on_postgresql: Deployment,
) -> None:
    deployment = on_postgresql
    night = Night(deployment.root)
    events = [night.event(visit, detector) for visit in (1, 2) for detector in range(6)]
    deployment.send(*events)
    with deployment.worker() as worker:
        deployment.wait_done()
        worker.term()
        assert worker.wait() == 0
    already = len(deployment.announced_ids())
    deployment.commit(0)
    assert deployment.committed() == 0
    with deployment.worker() as worker:
        deployment.wait_done()
    again = deployment.announced_ids()[already:]
    assert set(map(UUID, again)) == dataset_ids(*events)
    check_all_written(deployment, events)


def test_no_event_is_acked_before_the_brokers_have_its_announcement(
    private_kafka: ApacheKafka, topic_name: str, tmp_path: Path
) -> None:
    """The broker is killed while a window is open."""
    deployment = Deployment(private_kafka, topic_name, tmp_path)
    night = Night(deployment.root)
    first, *events = [night.event(100, detector) for detector in range(12)]
    settings = {"BUTLER_WRITER_WINDOW_SECONDS": "2", "BUTLER_WRITER_RETRY_WAIT_MAX": "1"}
    with deployment.worker(**settings) as worker:
        worker.wait_ready()
        deployment.send(first)
        deployment.wait_done()
        deployment.send(*events)
        wait_until(lambda: held(worker) == len(events), 60, "all events have arrived")
        private_kafka.kill()
        wait_not_ready(worker, "announce is failing")
        assert set(stored_ids(deployment.fresh_butler())) == dataset_ids(first, *events)
        assert held(worker) == len(events)
        private_kafka.start()
        deployment.wait_done()
    check_all_written(deployment, [first, *events])
