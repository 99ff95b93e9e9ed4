"""Events that end or hang their worker are found out and set aside (rule no-endless-retries)."""

from __future__ import annotations

import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from testbed.cluster import Cluster
from testbed.waiting import wait_until
from testbed.worker import Worker, faust_command
from tests.support.deployment import Deployment
from tests.support.events import CHAIN, Night, encode
from tests.support.flow import check_all_written, locked

FAULTS = str(Path(__file__).parents[2] / "support" / "faults")
HARMFUL = {"PYTHONPATH": FAULTS, "HARMFUL_EVENTS": "1", "BUTLER_WRITER_STEP_MAX_SECONDS": "4"}


@pytest.fixture
def deployment(kafka: Cluster, topic_name: str, tmp_path: Path) -> Deployment:
    return Deployment(kafka, topic_name, tmp_path, settings=dict(HARMFUL))


def run_until_done(worker: Worker, deployment: Deployment, most: int) -> list[int]:
    """Start a worker again whenever it ends; return its exit codes."""
    codes: list[int] = []
    end = sum(deployment.cluster.end_offsets(deployment.topic).values())

    def is_done() -> bool:
        if worker.process.returncode is not None:
            codes.append(worker.wait())
            assert len(codes) <= most, worker.log_text()[-3000:]
            worker.start()
        return deployment.committed() >= end

    wait_until(is_done, 120, lambda: f"{deployment.committed()} of {end} events finished; {codes}")
    return codes


def send(deployment: Deployment, texts: dict[int, str], number: int) -> list[dict[str, Any]]:
    """Send events, those with a text at the given offsets; return the others."""
    night = Night(deployment.root)
    good = []
    for n in range(number):
        event = night.event(1 + n // 12, n % 12)
        if n in texts:
            event["comment"] = texts[n]
        else:
            good.append(event)
        deployment.cluster.produce(deployment.topic, encode(event))
    return good


def check_set_aside(deployment: Deployment, good: list[dict[str, Any]], *offsets: bytes) -> None:
    """Check that the good events are written, and that the letters of the others point to them."""
    check_all_written(deployment, good, dead_letters=len(offsets))
    for letter, offset in zip(deployment.dead_letters(), offsets, strict=True):
        headers = dict(letter.headers)
        assert headers["error_class"] == b"ends_worker"
        assert (headers["offset"], headers["points"]) == (offset, b"true")
        pointer = json.loads(letter.value or b"")
        assert (pointer["type"], pointer["offset"]) == ("dead-letter-pointer", int(offset))


@pytest.mark.timeout(400)
def test_events_that_kill_or_hang_their_worker_are_set_aside_and_the_others_are_written(
    deployment: Deployment,
) -> None:
    good = send(deployment, {5: "crashes its worker", 8: "holds the interpreter"}, 12)
    with deployment.worker(BUTLER_WRITER_STARTS_BEFORE_CAREFUL="1") as worker:
        codes = run_until_done(worker, deployment, most=3)
        # Only after the last commit does the worker know that nothing is left to try alone.
        wait_until(
            lambda: "butler_writer_careful 0.0" in worker.page("/metrics"), 30, worker.log_text
        )
        page, log = worker.page("/metrics"), worker.log_text()
        shown = json.loads(worker.page("/api/v1/dead-letters/0-0"))
        assert json.loads(shown["payload"])["type"] == "dead-letter-pointer"
    # In a window with others; alone; and then the one that holds the interpreter, alone.
    assert codes == [-11, -11, 1]
    assert 'butler_writer_dead_letters_total{error_class="ends_worker"} 1.0' in page
    assert log.count("trying one event at a time") == 3
    assert "events are written together again" in log
    # Both leave the stacks of all threads.
    assert log.count("Fatal Python error: Segmentation fault") == 2
    assert "Timeout (0:00:04)!" in log
    check_set_aside(deployment, good, b"5", b"8")
    check_commands(deployment, deployment.root / CHAIN / "left-behind.json")


def check_commands(deployment: Deployment, lost: Path) -> None:
    """Check that no command decodes the events of offsets 5 and 8, which are set aside."""
    kept = sorted(deployment.root.glob(f"{CHAIN}/**/*.json"))
    lost.write_bytes(b"{}")
    for path in [*kept, lost]:
        os.utime(path, (time.time() - 2 * 24 * 3600,) * 2)

    def run(*arguments: str) -> str:
        done = faust_command(deployment.environment, *arguments)
        assert done.returncode == 0, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout

    with ThreadPoolExecutor(3) as pool:
        listed, audit, rewind, leftovers, replayed = pool.map(
            lambda arguments: run(*arguments),
            [
                ("dead-letters", "list"),
                ("audit",),
                ("rewind", "--offset=0", "--dry-run"),
                ("leftovers", "--older-than=1d", f"--folder={CHAIN}"),
                ("dead-letters", "replay", "--all"),
            ],
        )
    assert "2 dead letters: ends_worker 2" in listed
    assert "audit: written=10 expired=0 dead-letter=2 pending=0 missing=0" in audit
    assert "rewind: events=12 missing=0 expired=0 dead-letter=2 written=10" in rewind
    assert "leftovers: staged=0 final=1 " in leftovers
    assert lost.name in leftovers
    assert replayed.startswith(
        "replayed 0 events\nskipped 2 letters whose event has ended a worker"
    )
    replayed = run("dead-letters", "replay", "0-0")
    assert replayed.startswith("replayed 1 events\n1 of them had ended a worker or were skipped")
    # The replayed event is there again, and no worker has set it aside yet.
    assert " dead-letter=2 pending=1 missing=0" in run("audit")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_with_the_default_events_are_tried_alone_after_three_starts_in_vain(
    deployment: Deployment,
) -> None:
    good = send(deployment, {0: "kills its worker", 3: "hangs"}, 6)
    with deployment.worker() as worker:
        codes = run_until_done(worker, deployment, most=5)
    assert codes == [-9, -9, -9, -9, 1]
    check_set_aside(deployment, good, b"0", b"3")


def recorded(deployment: Deployment) -> str:
    """Return the metadata of the group's commit, without what tells the log that was read."""
    consumer = Consumer({**deployment.cluster.client_config, "group.id": deployment.group})
    (found,) = consumer.committed([TopicPartition(deployment.topic, 0)], 20)
    consumer.close()
    return re.sub(r" ?(read \S+ \S+ \S+|topic \S+)", "", found.metadata or "")


@pytest.mark.slow
def test_a_start_that_ends_in_order_or_by_a_rebalance_does_not_count(
    kafka: Cluster, topic_name: str, postgresql_url: str, tmp_path: Path
) -> None:
    """No event can be written meanwhile."""
    deployment = Deployment(kafka, topic_name, tmp_path, database=postgresql_url)
    deployment.settings["BUTLER_WRITER_SHUTDOWN_TIMEOUT"] = "1"
    event = Night(deployment.root).event()
    deployment.send(event)

    def is_recorded(text: str) -> None:
        wait_until(lambda: recorded(deployment) == text, 60, lambda: recorded(deployment))

    with locked(deployment), deployment.worker() as first:
        is_recorded("starts 1")
        with deployment.worker() as second:
            second.wait_for_log("partitions assigned", 60)
            wait_until(lambda: first.partitions() or second.partitions(), 60, "one reads it")
            is_recorded("starts 1")
            for worker in (first, second):
                worker.term()
            assert [first.wait(), second.wait()] == [0, 0]
        assert recorded(deployment) == ""
