"""Senders that use Kafka's transactions (rules read-committed, no-gaps-in-offsets)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from testbed.cluster import Cluster
from testbed.waiting import wait_until
from testbed.worker import Worker, faust_command
from tests.conftest import FIGURE
from tests.support.deployment import Deployment
from tests.support.events import Night, encode
from tests.support.flow import check_all_written

Send = Callable[..., None]


@pytest.fixture
def deployment(kafka: Cluster, topic_name: str, tmp_path: Path) -> Deployment:
    return Deployment(kafka, topic_name, tmp_path)


@pytest.fixture
def pod(deployment: Deployment) -> Producer:
    """A sender of transactions."""
    config = {**deployment.cluster.client_config, "transactional.id": deployment.topic}
    producer = Producer({**config, "linger.ms": 0})
    producer.init_transactions(20)
    return producer


def begin(pod: Producer, deployment: Deployment, *events: dict[str, Any]) -> None:
    """Send events in a transaction that stays open."""
    pod.begin_transaction()
    for event in events:
        pod.produce(deployment.topic, encode(event))
    pod.flush(20)


def open_seconds(worker: Worker) -> float:
    text = worker.page("/metrics")
    found = re.search(r"^butler_writer_open_transaction_seconds (\S+)", text, re.MULTILINE)
    assert found is not None
    return float(found[1])


def gaps(deployment: Deployment) -> int:
    """Return how many gaps the log has; brokers may write a marker behind the next event."""
    offsets = [message.offset for message in deployment.cluster.consume(deployment.topic)]
    ends = deployment.cluster.end_offsets(deployment.topic)
    return sum(after > before + 1 for before, after in pairwise([*offsets, ends[0]]))


def test_aborted_events_are_not_written_and_markers_are_passed_over(
    deployment: Deployment, pod: Producer
) -> None:
    night = Night(deployment.root)
    *events, aborted = [night.event(1, detector) for detector in range(9)]
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(events[0])
        begin(pod, deployment, events[1], events[2])
        pod.commit_transaction(20)
        begin(pod, deployment, aborted)
        pod.abort_transaction(20)
        deployment.send(*events[3:])
        deployment.wait_done()
        wait_until(
            lambda: worker.state()["accepted_gaps"] == gaps(deployment) > 0,
            30,
            lambda: f"{worker.state()['accepted_gaps']} gaps accepted, not {gaps(deployment)}",
        )
        assert "reading again" not in worker.log_text()
    check_all_written(deployment, events)


def test_a_gap_behind_the_first_event_of_a_log_is_committed_past(
    deployment: Deployment, pod: Producer
) -> None:
    """Faust does not notice a gap behind offset 0, and would not commit anything behind it."""
    night = Night(deployment.root)
    first, aborted, last = [night.event(1, detector) for detector in range(3)]
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(first)
        for _ in range(2):
            begin(pod, deployment, aborted)
            pod.abort_transaction(20)
        deployment.send(last)
        deployment.wait_done(30)
    check_all_written(deployment, [first, last])


def test_an_audit_leaves_out_events_that_their_sender_took_back(
    deployment: Deployment, pod: Producer
) -> None:
    night = Night(deployment.root)
    events = [night.event(1, detector) for detector in range(4)]
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(events[0])
        begin(pod, deployment, events[1])
        pod.abort_transaction(20)
        begin(pod, deployment, events[2])
        pod.commit_transaction(20)
        deployment.wait_done()
        begin(pod, deployment, events[3])
        audit = faust_command(deployment.environment, "audit")
        pod.abort_transaction(20)
    assert audit.stdout.splitlines()[-1] == (
        "audit: written=2 expired=0 dead-letter=0 pending=0 missing=0"
    )
    assert audit.returncode == 0


def test_a_committed_offset_beyond_an_open_transaction_is_trusted(
    deployment: Deployment, pod: Producer
) -> None:
    """A service that reads uncommitted messages has committed it."""
    night = Night(deployment.root)
    *events, last = [night.event(1, detector) for detector in range(4)]
    deployment.send(*events[:2])
    begin(pod, deployment, events[2])
    deployment.commit(3)
    with deployment.worker() as worker:
        worker.wait_ready()
        pod.commit_transaction(20)
        deployment.send(last)
        deployment.wait_done(30)
        assert '"critical"' not in worker.log_text()
    check_all_written(deployment, [last])


def test_one_transaction_for_each_event_is_written_without_delay(
    deployment: Deployment, pod: Producer, record_property: Callable[[str, object], None]
) -> None:
    """Offsets are committed past the last marker, too."""
    night = Night(deployment.root)
    events = [night.event(visit, detector) for visit in range(1, 11) for detector in range(10)]
    with deployment.worker() as worker:
        worker.wait_ready()
        start = time.monotonic()
        for event in events:
            begin(pod, deployment, event)
            pod.commit_transaction(20)
        sent = time.monotonic()
        deployment.wait_done()
        record_property(
            FIGURE,
            f"{len(events)} transactions of one event: sent in {sent - start:.1f} s, "
            f"committed {time.monotonic() - sent:.1f} s later",
        )
        assert worker.state()["epoch"] == 1
        assert deployment.committed() == 2 * len(events)
    check_all_written(deployment, events)


def test_an_open_transaction_is_reported_and_its_events_are_written_when_it_ends(
    deployment: Deployment, pod: Producer
) -> None:
    night = Night(deployment.root)
    before, inside, behind = [night.event(1, detector) for detector in range(3)]
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(before)
        begin(pod, deployment, inside)
        deployment.send(behind)
        worker.wait_for_log("left a transaction open", 60)
        assert open_seconds(worker) >= 10
        assert deployment.committed() == 1
        pod.commit_transaction(20)
        deployment.wait_done()
        wait_until(lambda: open_seconds(worker) == 0, 30, "the metric is 0 again")
    check_all_written(deployment, [before, inside, behind])
