"""The durability rules (design, section 4), on real parts."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.deployment import Deployment
from tests.events import Night
from tests.flow import check_all_written
from tests.parts.cluster import Cluster
from tests.parts.waiting import wait_until

FAULTS = str(Path(__file__).parents[1] / "faults")


@pytest.fixture
def deployment(kafka: Cluster, topic_name: str, tmp_path: Path) -> Deployment:
    return Deployment(kafka, topic_name, tmp_path)


def test_rule_3_nothing_is_committed_past_an_event_that_is_not_written(
    deployment: Deployment,
) -> None:
    """Not even where Faust believes in a gap: it has lost events once, and they came again."""
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


def test_rule_4_events_lost_on_their_way_through_faust_are_read_again(
    deployment: Deployment,
) -> None:
    """Before the first commit, after it, and at the end of the log."""
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
