"""``faust -A app audit``: what became of each event, told from outside."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from lsst.daf.butler import Butler

from tests.deployment import Deployment
from tests.events import Night, dataset_ids
from tests.parts.cluster import Cluster
from tests.parts.worker import faust_command


@pytest.fixture
def deployment(kafka: Cluster, topic_name: str, tmp_path: Path) -> Deployment:
    return Deployment(kafka, topic_name, tmp_path)


def test_every_event_is_accounted_for(deployment: Deployment, tmp_path: Path) -> None:
    night = Night(deployment.root)
    written, expired, missing, bad, pending = (night.event(1, detector) for detector in range(5))
    bad["datasets"][0]["path"] += ".lost"
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(written, expired, missing, bad)
        deployment.cluster.produce(deployment.topic, b"no event at all")
        deployment.wait_done()
    (deployment.root / expired["datasets"][3]["path"]).unlink()
    deployment.send(pending)

    healthy = faust_command(deployment.environment, "audit")
    assert healthy.returncode == 0, healthy.stderr
    assert "audit: written=2 expired=1 dead-letter=2 pending=1 missing=0" in healthy.stdout

    butler = Butler.from_config(str(deployment.root), writeable=True)
    lost = butler.get_many_datasets([next(iter(dataset_ids(missing)))])
    butler.pruneDatasets(lost, disassociate=True, unstore=True, purge=True)
    report = tmp_path / "report.json"
    audit = faust_command(deployment.environment, "audit", "--json", str(report))
    assert audit.returncode == 1
    assert "audit: written=1 expired=1 dead-letter=2 pending=1 missing=1" in audit.stdout
    assert f"missing      {deployment.topic}-0@2  1 of 10 datasets" in audit.stdout
    findings = [event["finding"] for event in orjson.loads(report.read_bytes())["events"]]
    assert findings == ["written", "expired", "missing", "dead-letter", "dead-letter", "pending"]


def test_a_range_of_offsets_is_looked_at_alone(deployment: Deployment) -> None:
    deployment.send(*(Night(deployment.root).event(1, detector) for detector in range(5)))
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.wait_done()
    audit = faust_command(deployment.environment, "audit", "--first", "1", "--last", "3")
    assert "audit: written=3 expired=0 " in audit.stdout
    later = faust_command(deployment.environment, "audit", "--since", "2100-01-01")
    assert "audit: written=0 expired=0 " in later.stdout
