"""Unusual events that the deployed service accepts, read from Kafka by a worker."""

from __future__ import annotations

import json
from pathlib import Path

from testbed.embedded import EmbeddedBroker
from tests.support.comparison import register_table_type
from tests.support.deployment import Deployment
from tests.support.events import Night, dataset_ids
from tests.support.mutations import MUTATIONS, mutated
from tests.support.repositories import Repository

NAMES = [
    "exposure_time nan",
    "nan in an unknown key",
    "file without formatter",
    "detector a string",
    "detector a float",
    "type with a convertible storage class",
    "new type, unused",
]


def test_unusual_events_are_written_and_announced(
    embedded_broker: EmbeddedBroker, topic_name: str, tmp_path: Path
) -> None:
    deployment = Deployment(embedded_broker, topic_name, tmp_path)
    repository = Repository(deployment.root)
    register_table_type(repository)
    messages = [
        mutated(Night(deployment.root), visit, MUTATIONS[name])
        for visit, name in enumerate(NAMES, 1)
    ]
    for message in messages:
        deployment.cluster.produce(deployment.topic, message)
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.wait_done()
    expected = dataset_ids(*map(json.loads, messages))
    assert len(expected) == 3 * len(NAMES)
    assert repository.stored().keys() == expected
    assert {*deployment.announced_ids()} == {*map(str, expected)}
    assert deployment.dead_letters() == []
    repository.close()
