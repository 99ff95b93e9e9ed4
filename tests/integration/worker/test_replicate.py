"""Workers that fill a downstream repository from the product log of real workers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Butler

from app.butler.private.registry import engine_of
from testbed.cluster import Cluster
from testbed.tables import Tables, check_same, tables_of
from tests.support.deployment import Deployment
from tests.support.downstream import Downstream
from tests.support.events import CHAIN, DETECTORS, Night, dataset_ids, stored_ids


@pytest.fixture
def deployment(kafka: Cluster, topic_name: str, tmp_path: Path) -> Deployment:
    return Deployment(kafka, topic_name, tmp_path, partitions=2)


def written(deployment: Deployment, visits: int = 1) -> list[dict[str, Any]]:
    """Write events with a worker of the first role; return them."""
    night = Night(deployment.root)
    events = [night.event(v, d) for v in range(1, visits + 1) for d in range(DETECTORS)]
    with deployment.worker():
        deployment.send(*events)
        deployment.wait_done()
    return events


def source_tables(deployment: Deployment) -> Tables:
    return tables_of(engine_of(deployment.butler))


def check_readable(butler: Butler, events: list[dict[str, Any]]) -> None:
    """Check that each dataset is there once, and that its artifact has its content."""
    assert Counter(stored_ids(butler)) == Counter(dataset_ids(*events))
    for kind in butler.registry.queryDatasetTypes():
        for ref in butler.query_datasets(kind, collections=CHAIN, limit=None):
            assert butler.get(ref) == dict(ref.dataId.required)


@pytest.mark.parametrize("transfer", ["copy", "hardlink"])
def test_a_downstream_repository_becomes_the_same(
    deployment: Deployment, tmp_path: Path, transfer: str
) -> None:
    events = written(deployment)
    downstream = Downstream(
        deployment, tmp_path / "public", settings={"BUTLER_WRITER_TRANSFER": transfer}
    )
    with downstream.worker() as worker:
        downstream.wait_done()
        assert '"level": "error"' not in worker.log_text()
    check_same(downstream.tables(), source_tables(deployment))
    check_readable(downstream.butler(), events)
    path = events[0]["datasets"][0]["path"]
    source, target = deployment.root / path, downstream.root / path
    assert source.samefile(target) == (transfer == "hardlink")
    # Nothing is announced, and nothing is read but the log.
    assert len(deployment.announcements()) == len({p.batch_id for p in deployment.products()})
    assert downstream.dead_letters() == []
