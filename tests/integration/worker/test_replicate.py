"""Workers that fill a downstream repository from the product log of real workers."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from lsst.daf.butler import Butler

from app.butler.events.limits import EventLimits
from app.butler.private.registry import engine_of
from testbed.cluster import Cluster
from testbed.postgresql import PostgreSQL
from testbed.tables import Tables, check_same, tables_of
from testbed.waiting import wait_until
from tests.support.buckets import Bucket
from tests.support.deployment import Deployment
from tests.support.downstream import Downstream, log_events
from tests.support.events import CHAIN, DETECTORS, RUN, Night, dataset_ids, stored_ids

#: They concern what pods send: a target must not refuse what its source has.
RULES_FOR_PODS = {
    "BUTLER_WRITER_ALLOWED_RUNS": "none",
    "BUTLER_WRITER_ALLOWED_CHAINS": "none",
    "BUTLER_WRITER_NEW_DATASET_TYPES": "none",
    **{f"BUTLER_WRITER_{name.upper()}": "1" for name in EventLimits.model_fields},
}


@pytest.fixture
def deployment(kafka: Cluster, topic_name: str, tmp_path: Path) -> Deployment:
    return Deployment(kafka, topic_name, tmp_path, partitions=2)


def source_tables(deployment: Deployment) -> Tables:
    return tables_of(engine_of(deployment.butler))


def check_readable(butler: Butler, events: list[dict[str, Any]]) -> None:
    """Check that each dataset is there once, and that its artifact has its content."""
    assert Counter(stored_ids(butler)) == Counter(dataset_ids(*events))
    for kind in butler.registry.queryDatasetTypes():
        for ref in butler.query_datasets(kind, collections=CHAIN, limit=None):
            assert butler.get(ref) == dict(ref.dataId.required)


@pytest.mark.slow
@pytest.mark.parametrize("transfer", ["copy", "hardlink", "direct", "in-place"])
def test_a_downstream_repository_becomes_the_same(
    deployment: Deployment, tmp_path: Path, transfer: str
) -> None:
    night = Night(deployment.root)
    events = [night.event(1, d) for d in range(DETECTORS)]
    log_events(deployment, events)
    downstream = Downstream(
        deployment, tmp_path / "public", settings={"BUTLER_WRITER_TRANSFER": transfer}
    )
    if transfer == "in-place":
        shutil.copytree(deployment.root / RUN, downstream.root / RUN)
    with downstream.worker() as worker:
        downstream.wait_done()
        assert '"level": "error"' not in worker.log_text()
    found, expected = downstream.tables(), source_tables(deployment)
    if transfer == "direct":
        for tables in (found, expected):
            tables["file_datastore_records"] = []
    check_same(found, expected)
    check_readable(downstream.butler(), events)
    path = events[0]["datasets"][0]["path"]
    source, target = deployment.root / path, downstream.root / path
    assert target.exists() is (transfer != "direct")
    if target.exists():
        assert source.samefile(target) is (transfer == "hardlink")
    assert deployment.announcements() == []
    assert downstream.dead_letters() == []


def test_files_are_copied_from_s3_to_disk(
    deployment: Deployment, bucket: Bucket, tmp_path: Path
) -> None:
    """One that is gone holds up no other, and is copied once it is there again."""
    night = Night(deployment.root)
    events = [night.event(1, d) for d in range(2)]
    (message,) = log_events(deployment, events)
    gone = message.datasets[3]
    for event in events:
        bucket.upload(event)
    bucket.server.client().delete_object(Bucket=bucket.name, Key=f"butler/{gone['path']}")
    shutil.rmtree(deployment.root / RUN)
    settings = {**bucket.server.environment, "BUTLER_WRITER_SOURCE_ROOT": bucket.root}
    downstream = Downstream(deployment, tmp_path / "public", settings=settings)
    with downstream.worker(BUTLER_WRITER_MISSING_FILE_WAIT="0.1"):
        downstream.wait_done()
        (letter,) = downstream.dead_letters()
        headers = dict(letter.headers)
        assert headers["error_class"] == b"missing_source_file"
        assert f"{bucket.root}{gone['path']}".encode() in headers["reason"]
        assert Counter(stored_ids(downstream.butler())) == Counter(
            dataset_ids(*events) - {UUID(i) for i in gone["refs"]}
        )
        (ref,) = gone["refs"].values()
        bucket.put(f"butler/{gone['path']}", json.dumps(ref["data_id"]).encode())
        assert letter.value is not None
        deployment.cluster.produce(deployment.product_topic, letter.value, key=letter.key)
        downstream.wait_done()
    check_readable(downstream.butler(), events)
    assert (downstream.root / gone["path"]).is_file()


@pytest.mark.postgresql
@pytest.mark.timeout(400)
def test_workers_of_both_roles_and_databases_end_and_the_target_becomes_the_same(
    kafka: Cluster, topic_name: str, tmp_path: Path, postgresql: PostgreSQL
) -> None:
    names = [f"{role}_{topic_name}".replace("-", "_") for role in ("source", "target")]
    urls = [postgresql.create_database(name) for name in names]
    source = Deployment(kafka, topic_name, tmp_path, partitions=2, database=urls[0])
    downstream = Downstream(source, tmp_path / "public", database=urls[1], settings=RULES_FOR_PODS)
    night = Night(source.root)
    events = [night.event(visit, d) for visit in range(1, 9) for d in range(DETECTORS)]
    small = {"BUTLER_WRITER_WINDOW_SECONDS": "0.2", "BUTLER_WRITER_WINDOW_EVENTS": "8"}
    with ExitStack() as stack:
        writer = stack.enter_context(source.worker(**small))
        writer.wait_ready()  # it creates the log
        replicator = stack.enter_context(downstream.worker(**small))
        replicator.wait_ready()
        half = len(events) // 2
        source.send(*events[:half])
        wait_until(lambda: downstream.committed() > 0, 60, replicator.log_text)
        for worker in (writer, replicator):
            worker.process.kill()
            worker.start()
        source.send(*events[half:])
        finished = downstream.committed()
        wait_until(lambda: downstream.committed() > finished, 60, replicator.log_text)
        postgresql.restart()
        source.wait_done(120)
        downstream.wait_done(120)
    original = source.fresh_butler()
    check_same(downstream.tables(), tables_of(engine_of(original)))
    children = [b.collections.get_info(CHAIN).children for b in (downstream.butler(), original)]
    assert children[0] == children[1] == (RUN,)
    check_readable(downstream.butler(), events)
    assert downstream.dead_letters() == []


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("transfer", ["copy", "direct"])
def test_nothing_is_set_aside_while_the_source_is_not_mounted(
    deployment: Deployment, tmp_path: Path, transfer: str
) -> None:
    night = Night(deployment.root)
    events = [night.event(1, d) for d in range(2)]
    log_events(deployment, events)
    volume = deployment.root.rename(tmp_path / "volume")
    deployment.root.mkdir()
    downstream = Downstream(
        deployment, tmp_path / "public", settings={"BUTLER_WRITER_TRANSFER": transfer}
    )
    with downstream.worker(BUTLER_WRITER_RETRY_WAIT_MAX="1") as worker:
        worker.wait_for_log("repository/ is empty; is it mounted", 120)
        wait_until(lambda: worker.status("/readyz") == 503, 30, worker.log_text)
        assert "is it mounted" in str(worker.state()["not_ready"])
        assert downstream.committed() == 0
        deployment.root.rmdir()
        volume.rename(deployment.root)
        downstream.wait_done(120)
        wait_until(lambda: worker.status("/readyz") == 200, 30, worker.log_text)
    check_readable(downstream.butler(), events)
    assert downstream.dead_letters() == []
