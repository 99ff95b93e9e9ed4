"""``faust -A app dead-letters``: what was set aside is listed, shown and replayed."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from lsst.daf.butler import Butler, DatasetType

from tests.deployment import Deployment
from tests.events import Night, dataset_ids
from tests.parts.cluster import Cluster
from tests.parts.worker import faust_command


@pytest.fixture
def deployment(kafka: Cluster, topic_name: str, tmp_path: Path) -> Deployment:
    return Deployment(kafka, topic_name, tmp_path)


def command(deployment: Deployment, *arguments: str) -> CompletedProcess[str]:
    return faust_command(deployment.environment, "dead-letters", *arguments)


def test_letters_are_replayed_once_their_cause_is_mended(deployment: Deployment) -> None:
    night = Night(deployment.root)
    unknown = night.event(1, 1)
    for ref in unknown["datasets"][0]["refs"].values():
        ref["dataset_type_name"] = "not_yet"
    lost = night.event(1, 2)
    lost["datasets"][0]["path"] += ".lost"
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(unknown, lost)
        deployment.wait_done()

        listed = command(deployment, "list").stdout
        assert "2 dead letters" in listed
        assert "MissingDatasetTypeError" in listed
        assert f"{deployment.topic}-0@0" in listed
        only = command(deployment, "list", "--error-class", "FileNotFoundError").stdout
        assert "1 dead letters: FileNotFoundError 1" in only
        shown = command(deployment, "show", "0-0").stdout
        assert json.loads(shown[shown.rindex('{"type"') :]) == unknown

        butler = Butler.from_config(str(deployment.root), writeable=True)
        dimensions = butler.get_dataset_type("isr_log").dimensions
        butler.registry.registerDatasetType(
            DatasetType("not_yet", dimensions, "StructuredDataDict")
        )
        assert "replayed 2 events" in command(deployment, "replay", "--all").stdout
        deployment.wait_done()

    found = deployment.fresh_butler().get_many_datasets(dataset_ids(unknown))
    assert {ref.id for ref in found} == dataset_ids(unknown)
    listed = command(deployment, "list").stdout
    assert "3 dead letters" in listed
    assert f"{deployment.topic}-0@3  (replayed 1 times)" in listed


def test_a_letter_that_is_not_there_is_named(deployment: Deployment) -> None:
    with deployment.worker() as worker:
        worker.wait_ready()
    missing = command(deployment, "replay", "0-7")
    assert missing.returncode != 0
    assert missing.stderr.strip() == "no such letters: 0-7"


def test_nothing_is_replayed_by_accident(deployment: Deployment) -> None:
    refused = command(deployment, "replay")
    assert refused.returncode != 0
    assert "--all" in refused.stderr
