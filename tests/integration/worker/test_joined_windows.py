"""While every lane writes a window, the windows that close later are joined."""

from __future__ import annotations

from pathlib import Path

import psycopg
from prometheus_client.parser import text_string_to_metric_families

from testbed.cluster import Cluster
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.support.deployment import Deployment
from tests.support.events import Night
from tests.support.flow import check_all_written


def counted(worker: Worker, name: str, **labels: str) -> float:
    """Return one of the worker's counters."""
    families = text_string_to_metric_families(worker.page("/metrics"))
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    )


def test_while_all_lanes_are_busy_later_windows_are_joined(
    kafka: Cluster, postgresql_url: str, topic_name: str, tmp_path: Path
) -> None:
    deployment = Deployment(kafka, topic_name, tmp_path, database=postgresql_url)
    events = [Night(deployment.root).event(1, detector) for detector in range(5)]
    settings = {"BUTLER_WRITER_WINDOW_SECONDS": "0.2", "BUTLER_WRITER_LANES": "2"}
    with deployment.worker(**settings) as worker:
        worker.wait_ready()
        with psycopg.connect(postgresql_url) as connection, connection.transaction():
            connection.execute("LOCK TABLE dataset IN EXCLUSIVE MODE")
            for number, event in enumerate(events, 1):
                deployment.send(event)
                wait_until(
                    lambda: worker.state()["windows_in_flight"] == number,  # noqa: B023
                    30,
                    f"window {number} is closed",
                )
            wait_until(
                lambda: counted(worker, "butler_writer_flush_seconds_count", step="read") == 2,
                30,
                "a window is read in each lane",
            )
            assert counted(worker, "butler_writer_flush_seconds_count", step="write") == 0
        deployment.wait_done()
        assert counted(worker, "butler_writer_windows_total") == 3
    check_all_written(deployment, events)
