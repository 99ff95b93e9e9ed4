"""A worker writes several windows at once, each in a lane of its own."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from testbed.cluster import Cluster
from testbed.waiting import wait_until
from tests.support.deployment import Deployment
from tests.support.events import Night, dataset_ids, stored_ids
from tests.support.flow import check_all_written, group_locked

#: Every event is a window, and its write waits for a lock for longer than the test.
SETTINGS = {
    "BUTLER_WRITER_WINDOW_EVENTS": "1",
    "BUTLER_WRITER_LOCK_TIMEOUT": "300",
    "BUTLER_WRITER_STATEMENT_TIMEOUT": "300",
}


@pytest.fixture
def deployment(kafka: Cluster, postgresql_url: str, topic_name: str, tmp_path: Path) -> Deployment:
    return Deployment(kafka, topic_name, tmp_path, database=postgresql_url, settings=SETTINGS)


def test_a_lane_that_waits_for_a_lock_does_not_stop_the_others(
    deployment: Deployment,
) -> None:
    night = Night(deployment.root)
    held_up, *others = [night.event(visit=visit) for visit in range(2, 8)]
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(night.event(visit=1))
        deployment.wait_done()
        with group_locked(deployment, held_up):
            deployment.send(held_up, *others)
            with closing(deployment.fresh_butler()) as butler:
                wait_until(
                    lambda: dataset_ids(*others) <= set(stored_ids(butler)),
                    30,
                    "the others are written",
                )
                assert not dataset_ids(held_up) & set(stored_ids(butler))
            assert deployment.committed() == 1, "an event that is not written precedes them"
            assert worker.state()["windows_in_flight"] == 1
        deployment.wait_done()
    check_all_written(deployment, [night.event(visit=1), held_up, *others])
