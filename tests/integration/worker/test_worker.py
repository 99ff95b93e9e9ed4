"""One worker with real servers, from a pod's event to the announcement."""

from __future__ import annotations

import json
import re
from pathlib import Path

import orjson
import pytest

from testbed.cluster import Cluster
from testbed.embedded import EmbeddedBroker
from tests.support.deployment import Deployment
from tests.support.events import CHAIN, INSTRUMENT, RUN, Night, dataset_ids, stored_ids


@pytest.fixture
def deployment(kafka: Cluster, postgresql_url: str, topic_name: str, tmp_path: Path) -> Deployment:
    return Deployment(kafka, topic_name, tmp_path, database=postgresql_url)


def check_complete(deployment: Deployment, events: list[dict]) -> None:  # type: ignore[type-arg]
    butler = deployment.fresh_butler()
    found = stored_ids(butler)
    assert len(found) == len(set(found))
    assert set(found) == dataset_ids(*events)


def test_events_become_datasets_that_can_be_read(deployment: Deployment) -> None:
    night = Night(deployment.root)
    events = [night.event(visit, detector) for visit in (1, 2) for detector in range(5)]
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(*events)
        deployment.wait_done()
        worker.term()
        assert worker.wait() == 0
    check_complete(deployment, events)
    butler = deployment.fresh_butler([CHAIN])
    data_id = {"instrument": INSTRUMENT, "exposure": 2, "detector": 3}
    assert butler.get("isr_log", data_id) == data_id
    assert tuple(butler.collections.get_info(CHAIN).children) == (RUN,)
    assert deployment.dead_letters() == []


def test_announcements_are_byte_for_byte_those_of_the_peer(deployment: Deployment) -> None:
    events = [Night(deployment.root).event(1, detector) for detector in range(3)]
    deployment.send(*events)
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.wait_done()
    for message in deployment.announcements():
        assert message.key is None
        assert not message.headers
        announced = json.loads(message.value or b"")
        assert message.value == orjson.dumps(
            {
                "type": "batch-ingested",
                "batch_id": announced["batch_id"],
                "origin": "prompt_processing",
                "batch_file": announced["batch_file"],
            }
        )
        stamp, _, rest = announced["batch_file"].partition(f"-{announced['batch_id']}")
        assert re.fullmatch(r"\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}-\d{6}", stamp)
        assert rest == ".json"
        written = (deployment.lists / announced["batch_file"]).read_bytes()
        datasets = json.loads(written)["datasets"]
        assert written == orjson.dumps({"batch_id": announced["batch_id"], "datasets": datasets})
    assert {str(i) for i in dataset_ids(*events)} == set(deployment.announced_ids())


def test_events_are_written_with_the_embedded_broker_and_sqlite(
    embedded_broker: EmbeddedBroker, topic_name: str, tmp_path: Path
) -> None:
    deployment = Deployment(embedded_broker, topic_name, tmp_path)
    events = [Night(deployment.root).event(1, detector) for detector in range(6)]
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(*events)
        deployment.wait_done()
    check_complete(deployment, events)


def test_a_worker_on_the_embedded_broker_reads_on_where_a_killed_one_has_stopped(
    embedded_broker: EmbeddedBroker, topic_name: str, tmp_path: Path
) -> None:
    deployment = Deployment(embedded_broker, topic_name, tmp_path)
    events = [Night(deployment.root).event(1, detector) for detector in range(6)]
    with deployment.worker() as killed:
        killed.wait_ready()
        deployment.send(*events[:3])
        deployment.wait_done()
        killed.kill()
    with deployment.worker() as worker:
        deployment.send(*events[3:])
        worker.wait_ready()
        deployment.wait_done()
        assert "cannot look up where to start reading" not in worker.log_text()
    check_complete(deployment, events)
