"""Events that end or hang their worker are found out and set aside (rule no-endless-retries)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from testbed.cluster import Cluster
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.support.deployment import Deployment
from tests.support.events import Night, encode
from tests.support.flow import check_all_written

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


def test_an_event_that_kills_its_worker_is_set_aside_and_the_others_are_written(
    deployment: Deployment,
) -> None:
    """It stands between good events, and an event that hangs stands behind it."""
    good = send(deployment, {5: "kills its worker", 8: "hangs"}, 12)
    with deployment.worker(BUTLER_WRITER_STARTS_BEFORE_CAREFUL="1") as worker:
        codes = run_until_done(worker, deployment, most=3)
        log = worker.log_text()
        assert 'butler_writer_dead_letters_total{error_class="ends_worker"} 1.0' in worker.page(
            "/metrics"
        )
    # In a window with others, alone, and then the one that hangs, alone.
    assert codes == [-9, -9, 1]
    assert "trying one event at a time" in log
    check_all_written(deployment, good, dead_letters=2)
    letters = deployment.dead_letters()
    headers = [dict(letter.headers) for letter in letters]
    assert [each["offset"] for each in headers] == [b"5", b"8"]
    assert {each["error_class"] for each in headers} == {b"ends_worker"}
    pointer = json.loads(letters[0].value or b"")
    assert (pointer["type"], pointer["offset"]) == ("dead-letter-pointer", 5)
    assert headers[0]["points"] == b"true"
    assert re.search(r'"careful|events are written together again', log)
