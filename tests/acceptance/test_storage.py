"""A datastore that is unavailable, and a directory that is full."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from testbed.s3 import S3Door
from tests.acceptance.laboratory import Laboratory
from tests.support.buckets import Bucket


def test_the_datastore_is_not_mounted(laboratory: Laboratory) -> None:
    """The service must not treat its files as missing."""
    (worker,) = laboratory.start()
    root = laboratory.deployment.root
    elsewhere = root.with_name("elsewhere")
    laboratory.pods.send(20)
    root.rename(elsewhere)
    try:
        laboratory.pods.night.root = elsewhere
        laboratory.pods.send(20)
        laboratory.wait_not_ready(worker)
    finally:
        elsewhere.rename(root)
    laboratory.reconcile()


@pytest.mark.slow
def test_the_datastore_on_s3_is_unreachable(
    laboratory: Laboratory, bucket: Bucket, s3_door: S3Door
) -> None:
    bucket.hold_artifacts_of(laboratory.deployment)
    laboratory.pods.prepare = bucket.upload
    (worker,) = laboratory.start(S3_ENDPOINT_URL=s3_door.url)
    with laboratory.pods.load(rate=4):
        laboratory.wait_finished(8)
        s3_door.shut()
        laboratory.wait_not_ready(worker)
        s3_door.open()
        laboratory.wait_finished(8)
    laboratory.reconcile()


@pytest.mark.slow
def test_the_datastore_on_s3_looks_empty_for_20_s(
    laboratory: Laboratory, bucket: Bucket, s3_door: S3Door
) -> None:
    """Its answers are those for missing files, but no event is at fault."""
    bucket.hold_artifacts_of(laboratory.deployment)
    laboratory.pods.prepare = bucket.upload
    (worker,) = laboratory.start(S3_ENDPOINT_URL=s3_door.url)
    with laboratory.pods.load(rate=4):
        laboratory.wait_finished(8)
        s3_door.empty = True
        laboratory.wait_not_ready(worker)
        time.sleep(20)
        s3_door.empty = False
        laboratory.wait_finished(8)
    assert laboratory.reconcile().dead == 0


@pytest.mark.slow
def test_the_dataset_list_directory_on_s3_is_full(
    laboratory: Laboratory, bucket: Bucket, s3_door: S3Door
) -> None:
    """It answers 507, Insufficient Storage."""
    bucket.hold_lists_of(laboratory.deployment)
    (worker,) = laboratory.start(S3_ENDPOINT_URL=s3_door.url)
    with laboratory.pods.load():
        laboratory.wait_finished(20)
        s3_door.full = True
        laboratory.wait_not_ready(worker)
        assert worker.state()["not_ready"].startswith("announce is failing")
        s3_door.full = False
        laboratory.wait_finished(20)
    laboratory.reconcile()


@pytest.mark.slow
def test_the_dataset_list_directory_on_s3_hangs(
    laboratory: Laboratory, bucket: Bucket, s3_door: S3Door
) -> None:
    """It accepts requests and answers none; the worker ends, to be started again."""
    bucket.hold_lists_of(laboratory.deployment)
    (worker,) = laboratory.start(
        S3_ENDPOINT_URL=s3_door.url,
        BUTLER_WRITER_STEP_WARNING_SECONDS="3",
        BUTLER_WRITER_STEP_MAX_SECONDS="10",
    )
    with laboratory.pods.load():
        laboratory.wait_finished(20)
        s3_door.freeze()
        laboratory.wait_not_ready(worker)
        assert worker.state()["not_ready"].startswith("announce has been running for")
        assert worker.wait(60) == 1
        s3_door.thaw()
        laboratory.restart(worker)
        laboratory.wait_finished(20)
    laboratory.reconcile(alarm="a step hangs, ending the worker")


@pytest.mark.slow
def test_the_dataset_list_directory_is_full(laboratory: Laboratory) -> None:
    """A file system without a free page."""
    (worker,) = laboratory.start()
    with full(laboratory.deployment.lists):
        laboratory.pods.send(20)
        laboratory.wait_not_ready(worker)
        assert worker.state()["not_ready"].startswith("announce is failing")
    laboratory.reconcile()


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Mount a full file system over a folder; only root may, and not on every machine."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, check=False, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"every test that needs to mount a file system ({mounted.stderr.strip()})")
    try:
        (folder / "filler").write_bytes(b"x" * 4096)
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
