"""What a pod replaces while the service works: nothing outside the staging root is touched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from lsst.resources import ResourcePath

from app.butler.outcome import Written
from app.butler.writer import ButlerWriter
from testbed.writing import write_window
from tests.support.events import Night
from tests.support.repositories import Repository, decoded
from tests.support.swapping import swapping

#: Windows that are written while a process swaps what they are copied from.
ROUNDS = 60

SECRET = b"a password"


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    folder = tmp_path / "staging"
    folder.mkdir()
    return folder


def writer_for(repository: Repository, staging: Path) -> ButlerWriter:
    roots = (ResourcePath(str(staging), forceDirectory=True),)
    return repository.writer(staging_roots=roots, missing_file_tries=1, staging_timeout=5)


def contents(folder: Path) -> set[bytes]:
    return {path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def secrets_like(event: dict[str, Any], folder: Path) -> set[Path]:
    """Write a secret at each path of an event, where only the service may read it."""
    files = {folder / dataset["path"] for dataset in event["datasets"]}
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(SECRET)
    folder.chmod(0o700)
    return files


def test_a_folder_that_is_swapped_for_a_link_leads_nowhere_else(
    sqlite_repository: Repository, staging: Path, tmp_path: Path
) -> None:
    """In each round the pod sends another event; all their files are in the swapped folder."""
    night, outside = Night(staging / "pod"), tmp_path / "outside"
    events = [night.event(visit, staging=str(staging / "pod")) for visit in range(1, ROUNDS + 1)]
    for event in events:
        event["datasets"] = event["datasets"][:1]
    secrets = {file for event in events for file in secrets_like(event, outside)}
    top = events[0]["datasets"][0]["path"].partition("/")[0]
    link = staging / "link"
    link.symlink_to(outside / top)
    writer = writer_for(sqlite_repository, staging)
    with swapping(staging / "pod" / top, link):
        reports = [write_window(writer, decoded(event)) for event in events]
    assert all(secret.read_bytes() == SECRET for secret in secrets)
    assert SECRET not in contents(sqlite_repository.root / top)
    assert any(isinstance(report.outcomes[0], Written) for report in reports)


def test_a_file_that_is_swapped_for_a_named_pipe_holds_up_nothing(
    sqlite_repository: Repository, staging: Path
) -> None:
    event = Night(staging).event(staging=str(staging))
    event["datasets"] = event["datasets"][:1]
    path = event["datasets"][0]["path"]
    os.mkfifo(staging / "pipe")
    writer = writer_for(sqlite_repository, staging)
    copied = 0
    with swapping(staging / path, staging / "pipe"):
        for _ in range(5 * ROUNDS):
            writer.prepare(dict(enumerate(decoded(event))), is_current=lambda: True)
            if (copy := sqlite_repository.root / path).exists():
                copied += 1
                copy.unlink()
    assert copied
