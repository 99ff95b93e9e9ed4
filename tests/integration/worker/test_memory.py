"""The memory of a worker is bounded, however many partitions have a backlog.

Rule bounded-memory.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from testbed.cluster import Cluster
from testbed.postgresql import PostgreSQL
from testbed.waiting import wait_until
from tests.support.deployment import Deployment
from tests.support.events import Night
from tests.support.flow import check_all_written, group_locked, locked
from tests.support.memory import MIB, resident

PARTITIONS = 64
EVENTS_EACH = 2


@pytest.mark.slow
def test_little_is_fetched_ahead_of_64_partitions(
    kafka: Cluster, topic_name: str, postgresql_url: str, tmp_path: Path
) -> None:
    """128 events of 1 MiB wait, and none can be written."""
    deployment = Deployment(
        kafka, topic_name, tmp_path, database=postgresql_url, partitions=PARTITIONS
    )
    night = Night(deployment.root)
    events = [night.event(1 + n // 12, n % 12) for n in range(PARTITIONS * EVENTS_EACH)]
    limits = {
        "BUTLER_WRITER_WINDOW_BYTES": str(2 * MIB),
        "BUTLER_WRITER_MAX_BYTES_HELD": str(2 * MIB),
    }
    with deployment.worker(**limits) as worker:
        worker.wait_ready()
        before = resident(worker)
        with locked(deployment):
            deployment.send(*(event | {"comment": "x" * MIB} for event in events))
            wait_until(lambda: worker.state()["bytes_held"] >= 2 * MIB, 60, "events are held")
            until = time.monotonic() + 3  # time enough to fetch everything
            largest = 0
            while time.monotonic() < until:
                largest = max(largest, resident(worker))
            assert largest - before < 48 * MIB
        deployment.wait_done(120)
    check_all_written(deployment, events)


def test_events_that_are_written_and_wait_for_an_earlier_one_hold_no_content(
    kafka: Cluster, private_postgresql: PostgreSQL, topic_name: str, tmp_path: Path
) -> None:
    """The first event waits for a lock, and 150 MiB of later ones are written."""
    deployment = Deployment(
        kafka, topic_name, tmp_path, database=private_postgresql.create_database("butler")
    )
    night = Night(deployment.root)
    first, *others = [night.event(visit) for visit in range(1, 77)]
    settings = {
        "BUTLER_WRITER_LOCK_TIMEOUT": "1",
        "BUTLER_WRITER_WINDOW_BYTES": str(8 * MIB),
        "BUTLER_WRITER_MAX_BYTES_HELD": str(8 * MIB),
    }
    with deployment.worker(**settings) as worker:
        worker.wait_ready()
        before = resident(worker)
        with group_locked(deployment, first):
            deployment.send(first, *(event | {"comment": "x" * 2 * MIB} for event in others))
            wait_until(
                lambda: len(deployment.announced_ids()) >= 750,
                60,
                "the other events are written",
            )
            assert deployment.committed() == 0
            assert resident(worker) - before < 120 * MIB
        deployment.wait_done()
    check_all_written(deployment, [first, *others])
