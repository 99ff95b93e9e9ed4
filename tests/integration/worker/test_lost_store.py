"""The metrics tell a store that has lost its files from one that is away."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from testbed.embedded import EmbeddedBroker
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.support.deployment import Deployment
from tests.support.events import Night
from tests.support.flow import check_all_written


@pytest.fixture
def deployment(embedded_broker: EmbeddedBroker, topic_name: str, tmp_path: Path) -> Deployment:
    settings = {"BUTLER_WRITER_RETRY_WAIT_MAX": "0.5"}
    return Deployment(embedded_broker, topic_name, tmp_path, settings=settings)


def shown(worker: Worker) -> tuple[float, float]:
    """Return whether the datastore is up, and whether a store is lost."""
    found = {
        (sample.name, sample.labels.get("dependency")): sample.value
        for family in text_string_to_metric_families(worker.page("/metrics"))
        for sample in family.samples
    }
    up = found["butler_writer_dependency_up", "datastore"]
    return up, found["butler_writer_store_lost", None]


def test_a_store_without_its_files_is_lost_until_they_are_back(deployment: Deployment) -> None:
    night = Night(deployment.root)
    events = [night.event(1, detector) for detector in range(2)]
    hidden = deployment.folder / "hidden"
    hidden.mkdir()
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(events[0])
        deployment.wait_done()
        assert shown(worker) == (1, 0)

        for entry in list(deployment.root.iterdir()):
            if not entry.name.startswith(("gen3.sqlite3", "butler.yaml")):
                entry.rename(hidden / entry.name)
        deployment.send(events[1])
        wait_until(
            lambda: shown(worker) == (0, 1), 30, lambda: f"a lost store, not {shown(worker)}"
        )

        for entry in hidden.iterdir():
            entry.rename(deployment.root / entry.name)
        deployment.wait_done()
        assert shown(worker) == (1, 0)
    check_all_written(deployment, events)


def test_a_list_directory_that_cannot_be_written_is_away_and_not_lost(
    deployment: Deployment,
) -> None:
    event = Night(deployment.root).event()
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.lists.rmdir()
        deployment.lists.write_text("no folder")
        deployment.send(event)
        wait_until(
            lambda: shown(worker) == (0, 0), 30, lambda: f"a store that is away: {shown(worker)}"
        )
        deployment.lists.unlink()
        deployment.wait_done()
        assert shown(worker) == (1, 0)
    check_all_written(deployment, [event])
