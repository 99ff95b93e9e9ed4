"""``faust -A app leftovers``: finds only files that nothing needs."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from lsst.daf.butler import Butler, DatasetRef, FileDataset

from app.kafka.connection import KafkaConnection
from app.operations.leftovers import LeftoverError, Leftovers
from app.settings import KafkaSettings
from testbed.cluster import Cluster
from testbed.worker import faust_command
from tests.support.deployment import Deployment
from tests.support.events import CHAIN, RUN, Night, dataset_type
from tests.support.repositories import Repository

DAY = 24 * 3600


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    return tmp_path / "staging"


@pytest.fixture
def deployment(broker: Cluster, topic_name: str, staging: Path, tmp_path: Path) -> Deployment:
    staging.mkdir()
    settings = {
        "BUTLER_WRITER_STAGING_ROOTS": str(staging),
        "BUTLER_WRITER_MISSING_FILE_WAIT": "0.1",
    }
    deployment = Deployment(broker, topic_name, tmp_path, settings=settings)
    broker.create_topic(deployment.dead_letter_topic)
    return deployment


def files(*folders: Path) -> set[Path]:
    return {path for folder in folders for path in folder.rglob("*") if path.is_file()}


def make_old(*folders: Path) -> None:
    for folder in folders:
        for path in sorted([folder, *folder.rglob("*")], reverse=True):
            os.utime(path, (time.time() - 2 * DAY,) * 2, follow_symlinks=False)


def ingest_in_place(butler: Butler, path: Path, *, direct: bool) -> None:
    """Write a file, and ingest it without a copy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"{}")
    data_id = butler.registry.expandDataId(instrument="TestCam", detector=1, exposure=1)
    ref = DatasetRef(dataset_type("isr_log", butler.dimensions), data_id, f"{RUN}/direct-{direct}")
    butler.collections.register(ref.run)
    name = path.as_uri() if direct else str(path)
    butler.ingest(FileDataset(name, ref), transfer="direct" if direct else None)


def test_files_that_nothing_needs_are_found_and_removed(
    deployment: Deployment, staging: Path
) -> None:
    night, pods = Night(deployment.root), Night(staging)
    written = night.event(1, 0)
    staged = {"staging": staging.as_uri()}
    moved = pods.event(1, 1, **staged)
    set_aside = pods.event(1, 2, **staged)
    (staging / set_aside["datasets"][3]["path"]).unlink()
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(written, moved, set_aside)
        deployment.wait_done()
    deployment.send(night.event(1, 3), pods.event(1, 4, **staged))  # not processed yet
    folder = deployment.root / CHAIN
    ingest_in_place(deployment.butler, folder / "direct.json", direct=True)
    ingest_in_place(deployment.butler, folder / "in place.json", direct=False)
    (folder / "link.json").symlink_to(folder / "target of the link.json")
    (folder / "target of the link.json").write_bytes(b"{}")
    (staging / "an empty folder" / "inside another").mkdir(parents=True)
    make_old(folder, staging)
    kept = files(deployment.root, staging)

    # Files of pods that died before they sent their events.
    Night(staging).event(2, 0)
    Night(deployment.root).event(2, 1)
    for name in (".0123.partial", "in place.json#left over", "$HOME", "file:x", "100%25"):
        (folder / name).write_bytes(b"{")
    make_old(folder, staging)
    left = files(deployment.root, staging) - kept
    assert len(left) == 25
    Night(staging).event(3, 0)  # this pod is still running
    Night(deployment.root).event(3, 1)
    everything = files(deployment.root, staging)

    def leftovers(*arguments: str) -> str:
        done = faust_command(deployment.environment, "leftovers", "--older-than=1d", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    dry = leftovers(f"--folder={CHAIN}")
    printed = faust_command(
        deployment.environment, "--json", "leftovers", "--older-than=1d", f"--folder={CHAIN}"
    )
    document = json.loads(printed.stdout)
    assert document["summary"]["staged"] == 10
    assert document["summary"]["removed"] == 0
    assert {file["uri"] for file in document["files"]} == {path.as_uri() for path in left}
    typo = ["leftovers", "--older-than=1d", "--folder=LSSTCam/promt", "--delete"]
    mistyped = faust_command(deployment.environment, *typo)
    assert mistyped.returncode == 2
    assert "the datastore has no file in LSSTCam/promt/; check --folder" in mistyped.stderr
    assert "leftovers: staged=10 final=15 bytes=" in dry
    assert "removed=0" in dry
    named = {line.split("  ")[2] for line in dry.splitlines() if "://" in line}
    assert named == {path.as_uri() for path in left}
    assert files(deployment.root, staging) == everything

    assert "removed=25" in leftovers(f"--folder={CHAIN}/", "--delete")
    assert files(deployment.root, staging) == everything - left
    assert not (staging / "an empty folder").exists()


@pytest.mark.parametrize(
    ("age", "folder", "reason"),
    [
        (timedelta(minutes=59), "folder", "files younger than 1:00:00"),
        (timedelta(days=1), "/", "not a folder of the datastore"),
        (timedelta(days=1), "a/..", "not a folder of the datastore"),
        (timedelta(days=1), "../staging", "not a folder of the datastore"),
        (timedelta(days=1), "link", "contains a symbolic link"),
    ],
)
def test_an_unsafe_search_is_refused(
    sqlite_repository: Repository, age: timedelta, folder: str, reason: str
) -> None:
    (sqlite_repository.root / "folder").mkdir()
    (sqlite_repository.root / "link").symlink_to(sqlite_repository.root / "folder")
    with pytest.raises(LeftoverError, match=reason):
        Leftovers(
            KafkaConnection.of(KafkaSettings()),
            KafkaSettings(),
            [],
            sqlite_repository.butler(),
            older_than=age,
            folders=[folder],
        )


def test_a_search_of_nothing_is_refused(sqlite_repository: Repository) -> None:
    with pytest.raises(LeftoverError, match="nothing to search: BUTLER_WRITER_STAGING_ROOTS is em"):
        Leftovers(
            KafkaConnection.of(KafkaSettings()),
            KafkaSettings(),
            [],
            sqlite_repository.butler(),
            older_than=timedelta(days=1),
        )


def test_nothing_is_removed_if_the_input_topic_does_not_exist(
    deployment: Deployment, staging: Path
) -> None:
    Night(staging).event()
    make_old(staging)
    another = {**deployment.environment, "KAFKA_TOPIC": "another"}
    done = faust_command(another, "leftovers", "--older-than=1d", "--delete")
    assert done.returncode == 2
    assert "there is no topic another" in done.stderr
    assert len(files(staging)) == 10


def test_without_an_offset_that_the_log_holds_the_files_of_all_events_are_kept(
    deployment: Deployment, staging: Path
) -> None:
    deployment.send(Night(staging).event(staging=str(staging)))
    link = staging.with_name("another-name")
    link.symlink_to(staging)
    deployment.send(Night(staging).event(2, staging=str(link)))
    make_old(staging)
    assert deployment.committed() == 0
    Night(deployment.root).event(3)
    make_old(deployment.root / CHAIN)

    def leftovers() -> str:
        done = faust_command(deployment.environment, "leftovers", "--older-than=1d")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "leftovers: staged=0 final=0 bytes=0 removed=0" in leftovers()
    deployment.commit(1000)  # of a log that went back: its disk was lost
    assert "leftovers: staged=0 final=0 bytes=0 removed=0" in leftovers()
