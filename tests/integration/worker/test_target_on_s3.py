"""A downstream repository with its files on S3, filled from files on S3."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testbed.cluster import Cluster
from testbed.tables import check_same
from tests.integration.worker.test_replicate import check_readable, source_tables
from tests.support.buckets import Bucket
from tests.support.deployment import Deployment
from tests.support.downstream import Downstream, log_events
from tests.support.events import CHAIN, DETECTORS, Night


@pytest.fixture
def source(broker: Cluster, bucket: Bucket, topic_name: str, tmp_path: Path) -> Deployment:
    deployment = Deployment(broker, topic_name, tmp_path)
    bucket.hold_artifacts_of(deployment)
    return deployment


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("transfer", "is_other_bucket"), [("copy", True), ("copy", False), ("direct", True)]
)
def test_files_on_s3_can_be_read_through_a_target_on_s3(
    source: Deployment, bucket: Bucket, tmp_path: Path, transfer: str, is_other_bucket: bool
) -> None:
    """One that is gone holds up no other, and becomes a dataset once it is there again."""
    events = [Night().event(1, detector) for detector in range(DETECTORS)]
    for event in events:
        bucket.upload(event)
    originals = bucket.keys("butler/")
    (message,) = log_events(source, events)
    gone = message.datasets[3]
    bucket.server.client().delete_object(Bucket=bucket.name, Key=f"butler/{gone['path']}")
    target = Bucket(bucket.server, bucket.name, "public")
    if is_other_bucket:
        target = Bucket(bucket.server, f"{bucket.name}-public")
        bucket.server.create_bucket(target.name)
    settings = {"BUTLER_WRITER_SOURCE_ROOT": bucket.root, "BUTLER_WRITER_TRANSFER": transfer}
    downstream = Downstream(source, tmp_path / "public", settings=settings)
    target.hold_artifacts_of(downstream)
    with downstream.worker(BUTLER_WRITER_MISSING_FILE_WAIT="0.1"):
        downstream.wait_done(180)
        (letter,) = downstream.dead_letters()
        headers = dict(letter.headers)
        assert headers["error_class"] == b"missing_source_file"
        assert f"{bucket.root}{gone['path']}".encode() in headers["reason"]
        (ref,) = gone["refs"].values()
        bucket.put(f"butler/{gone['path']}", json.dumps(ref["data_id"]).encode())
        assert letter.value is not None
        source.cluster.produce(source.product_topic, letter.value, key=letter.key)
        downstream.wait_done(180)

    butler = downstream.butler()
    check_readable(butler, events)
    expected_root = {"copy": target, "direct": bucket}[transfer].root
    paths = {file["path"] for file in message.datasets}
    uris = {
        str(butler.getURI(ref))
        for kind in butler.registry.queryDatasetTypes()
        for ref in butler.query_datasets(kind, collections=CHAIN, limit=None)
    }
    assert uris == {expected_root + path for path in paths}
    copies = {f"{target.folder}/{path}" for path in paths} if transfer == "copy" else set()
    assert set(target.keys(f"{target.folder}/")) == copies
    assert bucket.keys("butler/") == originals
    found, expected = downstream.tables(), source_tables(source)
    found["dataset_location"] = [  # it has the name of the datastore
        row.replace(target.root, bucket.root) for row in found["dataset_location"]
    ]
    if transfer == "direct":
        for tables in (found, expected):
            tables["file_datastore_records"] = []
    check_same(found, expected)
