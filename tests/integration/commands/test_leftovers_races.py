"""``leftovers --delete`` removes what it has listed, and nothing that took its place."""

from __future__ import annotations

import os
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import pytest
from lsst.resources import ResourcePath

from app.kafka.connection import KafkaConnection
from app.operations.leftovers import Leftovers
from app.settings import KafkaSettings
from tests.support.repositories import Repository
from tests.support.swapping import swapping

ROUNDS = 300

TWO_DAYS = 2 * 24 * 3600


@pytest.fixture
def search(sqlite_repository: Repository, tmp_path: Path) -> Leftovers:
    staging = tmp_path / "staging"
    write_old(staging / "pod" / "deep" / "run" / "file.json")
    return Leftovers(
        KafkaConnection.of(KafkaSettings()),
        KafkaSettings(),
        [ResourcePath(str(staging), forceDirectory=True)],
        sqlite_repository.butler(),
        older_than=timedelta(days=1),
    )


def write_old(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"{}")
    for path in (file, *file.parents[:3]):
        os.utime(path, (time.time() - TWO_DAYS,) * 2)


def test_a_folder_that_is_swapped_for_a_link_leads_nowhere_else(
    search: Leftovers, tmp_path: Path
) -> None:
    """The folder outside has files of the same names, and an empty folder of the same name."""
    outside, pod = tmp_path / "outside", tmp_path / "staging" / "pod"
    (outside / "empty").mkdir(parents=True)
    (pod / "deep" / "empty").mkdir()
    file = outside / "run" / "file.json"
    write_old(file)
    (pod / "link").symlink_to(outside)
    removed = 0
    with swapping(pod / "deep", pod / "link"):
        for _ in range(ROUNDS):
            found = search._old_files()
            removed += len(found)
            search._old_folders = [*search._old_folders, (search._staging[0], "pod/deep/empty/")]
            search.remove(found.values())
            assert file.exists()
            assert (outside / "empty").exists()
    assert removed


@pytest.mark.parametrize("is_replaced", [True, False])
def test_a_file_that_was_changed_since_it_was_listed_is_kept(
    search: Leftovers, tmp_path: Path, *, is_replaced: bool
) -> None:
    """A pod may have written it again, and may send its event now."""
    (leftover,) = search._old_files().values()
    file = tmp_path / "staging" / "pod" / "deep" / "run" / "file.json"
    if is_replaced:
        write_old(file.with_name("new"))
        file.with_name("new").rename(file)
    else:
        file.write_bytes(b"[]")
    (reason,) = search.remove([leftover])
    assert reason.endswith("file.json was replaced or changed meanwhile")
    assert file.exists()


def test_folders_that_are_nested_without_end_do_not_stop_the_search(
    search: Leftovers, tmp_path: Path
) -> None:
    here = os.open(tmp_path / "staging", os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("deeper", dir_fd=here)
        here, last = os.open("deeper", os.O_RDONLY, dir_fd=here), here
        os.close(last)
    os.close(here)
    try:
        assert len(search._old_files()) == 1
    finally:
        subprocess.run(["rm", "-r", tmp_path / "staging"], check=True)  # Python could not
