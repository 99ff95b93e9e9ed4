"""The input topic's log does not hold the offset that was committed or read.

Rule no-gaps-in-offsets.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from testbed.cluster import Cluster
from testbed.kafka import ApacheKafka
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.support.deployment import Deployment
from tests.support.events import Night
from tests.support.flow import check_all_written
from tests.support.lost_logs import lose_log, make_topic_again


@pytest.fixture
def deployment(kafka: Cluster, topic_name: str, tmp_path: Path) -> Deployment:
    return Deployment(kafka, topic_name, tmp_path)


@pytest.fixture
def alone(private_kafka: ApacheKafka, topic_name: str, tmp_path: Path) -> Deployment:
    """A deployment with a broker of its own; a frozen worker stays in its group."""
    settings = {"BUTLER_WRITER_KAFKA_SESSION_TIMEOUT": "60"}
    return Deployment(private_kafka, topic_name, tmp_path, settings=settings)


def two_visits(deployment: Deployment) -> list[dict[str, Any]]:
    """Return 24 events."""
    night = Night(deployment.root)
    return [night.event(visit, detector) for visit in (1, 2) for detector in range(12)]


def wait_committed(deployment: Deployment, offset: int) -> None:
    """Wait until exactly this offset is committed; a stale one may be higher."""
    wait_until(
        lambda: deployment.committed() == offset,
        60,
        lambda: f"{deployment.committed()} committed, not {offset}",
    )


def resets(worker: Worker) -> int:
    found = re.search(
        r"^butler_writer_log_resets_total (\d+)", worker.page("/metrics"), re.MULTILINE
    )
    assert found is not None
    return int(found[1])


def lost(worker: Worker) -> int:
    text = worker.page("/metrics")
    found = re.search(r"^butler_writer_lost_messages_total (\d+)", text, re.MULTILINE)
    assert found is not None
    return int(found[1])


def critical_lines(worker: Worker) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in worker.log_text().splitlines() if line[:1] == "{"]
    return [line for line in lines if line["level"] == "critical"]


def test_a_topic_made_again_while_no_worker_ran_is_read_from_its_start(
    deployment: Deployment,
) -> None:
    """The group's offset is that of the former topic, beyond the end of the log."""
    night = Night(deployment.root)
    events = [night.event(1, detector) for detector in range(8)]
    deployment.send(*events[:5])
    deployment.commit(100)
    with deployment.worker() as worker:
        worker.wait_ready()
        wait_committed(deployment, 5)
        deployment.send(*events[5:])
        wait_committed(deployment, 8)
        assert (resets(worker), lost(worker)) == (1, 0)
        (line,) = critical_lines(worker)
    assert (line["topic"], line["partition"]) == (deployment.topic, 0)
    assert (line["committed"], line["log_start"], line["log_end"]) == (100, 0, 5)
    check_all_written(deployment, events)


def test_events_that_retention_dropped_before_they_were_read_are_reported(
    deployment: Deployment,
) -> None:
    night = Night(deployment.root)
    events = [night.event(1, detector) for detector in range(6)]
    deployment.send(*events)
    deployment.commit(1)
    deployment.delete_below(4)
    with deployment.worker() as worker:
        worker.wait_ready()
        wait_committed(deployment, 6)
        assert (resets(worker), lost(worker)) == (1, 3)
        (line,) = critical_lines(worker)
    assert (line["committed"], line["log_start"], line["log_end"]) == (1, 4, 6)
    check_all_written(deployment, events[4:])


def test_a_worker_reports_events_that_are_dropped_before_it_reads_them(
    deployment: Deployment,
) -> None:
    night = Night(deployment.root)
    events = [night.event(1, detector) for detector in range(8)]
    with deployment.worker() as worker:
        worker.wait_ready()
        assert resets(worker) == 0
        deployment.send(*events[:2])
        wait_committed(deployment, 2)
        deployment.delete_below(2)  # everything was read
        worker.stop_process()
        deployment.send(*events[2:])
        deployment.delete_below(5)
        worker.continue_process()
        wait_committed(deployment, 8)
        # The position may have been refused before or after the fetch that was under way.
        wait_until(lambda: critical_lines(worker) or resets(worker) == 0, 10, "it is reported")
        worker.wait_ready()
        lines = critical_lines(worker)
        assert resets(worker) == len(lines) == 1
    # A pending fetch may have brought the first events before they were dropped.
    committed = lines[0]["committed"]
    assert 2 <= committed < lines[0]["log_start"] == 5
    check_all_written(deployment, [*events[:committed], *events[5:]])


@pytest.mark.slow
def test_a_topic_made_again_under_a_worker_loses_no_new_event(deployment: Deployment) -> None:
    night = Night(deployment.root)
    events = [night.event(visit, detector) for visit in (1, 2) for detector in range(8)]
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(*events[:6])
        wait_committed(deployment, 6)
        make_topic_again(deployment)
        deployment.send(*events[6:])
        wait_committed(deployment, 10)
        worker.wait_ready()
        assert resets(worker) == len(critical_lines(worker)) >= 1, worker.log_text()
    check_all_written(deployment, events)


def test_a_topic_made_again_and_filled_under_a_frozen_worker_loses_no_new_event(
    deployment: Deployment,
) -> None:
    """The worker's connections stay open, and its position is in the middle of the new log."""
    night = Night(deployment.root)
    events = [night.event(visit, detector) for visit in (1, 2) for detector in range(12)]
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(*events[:6])
        wait_committed(deployment, 6)
        worker.stop_process()
        make_topic_again(deployment)
        deployment.send(*events[6:])
        worker.continue_process()
        wait_until(lambda: critical_lines(worker), 30, "the loss is noticed")
        wait_committed(deployment, 18)
        assert resets(worker) == 1
        worker.wait_ready()
    check_all_written(deployment, events)


@pytest.mark.slow
def test_a_log_that_was_lost_and_grew_before_a_worker_looked_loses_no_new_event(
    alone: Deployment, private_kafka: ApacheKafka
) -> None:
    """The brokers do not refuse the position: the new log has an event at this offset."""
    events = two_visits(alone)
    with alone.worker() as worker:
        worker.wait_ready()
        alone.send(*events[:8])
        wait_committed(alone, 8)
        worker.stop_process()
        lose_log(private_kafka, alone.topic)
        alone.send(*events[8:])
        worker.continue_process()
        wait_until(lambda: critical_lines(worker), 60, "the loss is noticed")
        wait_committed(alone, 16)
        assert resets(worker) == 1
        worker.wait_ready()
    check_all_written(alone, events)


@pytest.mark.slow
def test_a_broker_that_is_restarted_with_its_log_causes_no_reset(
    alone: Deployment, private_kafka: ApacheKafka
) -> None:
    events = [Night(alone.root).event(1, detector) for detector in range(6)]
    with alone.worker() as worker:
        worker.wait_ready()
        alone.send(*events[:3])
        wait_committed(alone, 3)
        private_kafka.restart()
        alone.send(*events[3:])
        wait_committed(alone, 6)
        assert resets(worker) == 0
    check_all_written(alone, events)


def test_a_broker_that_lost_the_log_under_a_worker_loses_no_new_event(
    alone: Deployment, private_kafka: ApacheKafka
) -> None:
    """The group's offsets survive.  The new log grows beyond the committed offset."""
    events = two_visits(alone)
    with alone.worker() as worker:
        worker.wait_ready()
        alone.send(*events[:8])
        wait_committed(alone, 8)
        lose_log(private_kafka, alone.topic)
        wait_until(lambda: critical_lines(worker), 60, "the loss is noticed")
        assert critical_lines(worker)[0]["committed"] == 8
        alone.send(*events[8:10])
        wait_committed(alone, 2)
        assert resets(worker) == 1
        alone.send(*events[10:])
        wait_committed(alone, 16)
        worker.wait_ready()
    check_all_written(alone, events)


@pytest.mark.slow
def test_a_log_that_was_lost_and_grew_while_no_worker_ran_loses_no_new_event(
    alone: Deployment, private_kafka: ApacheKafka
) -> None:
    """Nothing but the commit itself tells that the log has another message before its offset."""
    events = two_visits(alone)
    with alone.worker() as worker:
        worker.wait_ready()
        alone.send(*events[:8])
        wait_committed(alone, 8)
        worker.term()
        assert worker.wait() == 0
        lose_log(private_kafka, alone.topic)
        alone.send(*events[8:20])
        worker.start()
        wait_committed(alone, 12)
        worker.wait_ready()
        (line,) = critical_lines(worker)
        assert resets(worker) == 1
        alone.send(*events[20:])
        wait_committed(alone, 16)
    assert (line["committed"], line["log_start"], line["log_end"]) == (8, 0, 12)
    check_all_written(alone, events)


@pytest.mark.slow
def test_a_log_that_is_the_same_after_a_restart_is_not_read_again(deployment: Deployment) -> None:
    events = [Night(deployment.root).event(1, detector) for detector in range(6)]
    with deployment.worker() as worker:
        for number in (3, 6):
            deployment.send(*events[number - 3 : number])
            worker.wait_ready()
            wait_committed(deployment, number)
            assert resets(worker) == 0
            worker.term()
            assert worker.wait() == 0
            worker.start()
        deployment.delete_below(6)  # what the commit tells of is dropped
        worker.wait_ready()
        assert resets(worker) == 0
        assert critical_lines(worker) == []
    check_all_written(deployment, events)


def test_offsets_that_another_service_has_committed_are_trusted(deployment: Deployment) -> None:
    night = Night(deployment.root)
    events = [night.event(1, detector) for detector in range(6)]
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(*events[:3])
        wait_committed(deployment, 3)
        worker.term()
        assert worker.wait() == 0
        deployment.send(*events[3:])
        deployment.commit(4)  # without metadata
        worker.start()
        wait_committed(deployment, 6)
        assert resets(worker) == 0
    check_all_written(deployment, [*events[:3], *events[4:]])
