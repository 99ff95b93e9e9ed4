"""The memory of a worker is bounded, however many partitions have a backlog.

Rule bounded-memory.
"""

from __future__ import annotations

import time
from pathlib import Path

from testbed.cluster import Cluster
from testbed.waiting import wait_until
from tests.support.deployment import Deployment
from tests.support.events import Night
from tests.support.flow import check_all_written, locked
from tests.support.memory import MIB, resident

PARTITIONS = 64
EVENTS_EACH = 2


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
