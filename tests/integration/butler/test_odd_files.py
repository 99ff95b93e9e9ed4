"""Files of one event with which a file store has trouble: others are written."""

from __future__ import annotations

import errno
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from lsst.resources import ResourcePath

from app.butler.failures import RetryableError
from app.butler.outcome import Outcome, Written
from models.causes import Cause
from testbed.waiting import wait_until
from testbed.writing import write_until_done, write_window
from tests.support.events import RUN, Night, dataset_ids
from tests.support.faulty_store import Store
from tests.support.repositories import Repository, decoded, rejection, written


@pytest.mark.parametrize("status", [500, 0])
def test_a_file_for_which_the_store_fails_or_hangs_holds_up_no_other_event(
    on_s3: Repository, store: Store, status: int
) -> None:
    store.special = {"odd": status}
    given = [Night().event(detector=detector) for detector in range(6)]
    for n in (1, 4):
        given[n]["datasets"][5]["path"] = f"{RUN}/an/odd_{n}.json"
    events = dict(enumerate(decoded(*given)))
    writer = on_s3.writer(file_check_timeout=3)
    outcomes: dict[int, Outcome] = {}

    def are_others_written() -> bool:  # a busy machine may need several attempts
        rest = {n: event for n, event in events.items() if n not in outcomes}
        outcomes.update(write_until_done(writer, rest, 6))
        return sorted(outcomes) == [0, 2, 3, 5]

    wait_until(are_others_written, 60, "the other events are written")
    assert all(isinstance(outcome, Written) for outcome in outcomes.values())
    store.special = {}
    store.ends.set()
    assert len(write_until_done(on_s3.writer(), events, 1)) == 6
    assert on_s3.stored() == Counter(dataset_ids(*given))


def test_no_event_waits_apart_while_the_store_fails_for_all_files(
    on_s3: Repository, store: Store
) -> None:
    events = dict(enumerate(decoded(*(Night().event(detector=n) for n in range(2)))))
    written(write_window(on_s3.writer(), [*events.values()]))
    writer = on_s3.writer(file_check_timeout=0.5)
    store.answer = 500
    assert write_until_done(writer, events, 3) == {}
    with pytest.raises(RetryableError):
        write_window(writer, [*events.values()])
    store.answer = 200
    assert len(write_until_done(on_s3.writer(), events, 1)) == 2


def test_a_folder_is_no_artifact(sqlite_repository: Repository) -> None:
    repository = sqlite_repository
    bad, good = (repository.night().event(detector=detector) for detector in range(2))
    artifact = repository.root / bad["datasets"][3]["path"]
    artifact.unlink()
    artifact.mkdir()
    report = write_window(repository.writer(), decoded(bad, good))
    assert rejection(report).cause is Cause.MISSING_FILE
    written(report, 1)


def odd_paths(root: Path) -> dict[str, str]:
    """Return paths that no file can have."""
    loop = root / "loop"
    loop.symlink_to(loop)
    return {
        "too long": f"{'n' * 300}.json",
        "a folder is too long": f"{'n' * 300}/name.json",
        "far too long": "/".join(["folder"] * 1000),
        "in a loop": "loop/name.json",
        "in a file": "butler.yaml/name.json",
    }


@pytest.mark.parametrize("is_staged", [False, True])
def test_paths_that_no_file_can_have_reject_only_their_events(
    sqlite_repository: Repository, tmp_path: Path, is_staged: bool
) -> None:
    repository = sqlite_repository
    staging = tmp_path / "staging"
    staging.mkdir()
    (staging / "butler.yaml").touch()
    night = Night(staging if is_staged else repository.root)
    paths = odd_paths(staging if is_staged else repository.root)
    staged: dict[str, Any] = {"staging": str(staging)} if is_staged else {}
    events = [night.event(detector=detector, **staged) for detector in range(len(paths) + 1)]
    for event, path in zip(events, paths.values(), strict=False):
        event["datasets"][5]["path"] = path
    writer = repository.writer(staging_roots=str(staging), paths_below_run=False)
    report = write_window(writer, decoded(*events))
    causes = (Cause.MISSING_FILE, Cause.INVALID_EVENT, Cause.PATH_NOT_ALLOWED, Cause.OVER_LIMIT)
    for n, name in enumerate(paths):
        assert rejection(report, n).cause in causes, name
    written(report, len(paths))


def test_a_staged_file_that_cannot_be_read_holds_up_no_other_event(
    sqlite_repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk with a bad sector cannot be had, so the error is made up."""
    repository = sqlite_repository
    staging = tmp_path / "staging"
    night = Night(staging)
    given = [night.event(detector=n, staging=str(staging)) for n in range(4)]
    bad = Path(given[2]["datasets"][5]["path"]).name
    opened = os.open

    def fail(path: Any, flags: int, *arguments: int, dir_fd: int | None = None) -> int:
        if path == bad and dir_fd is not None:
            raise OSError(errno.EIO, os.strerror(errno.EIO), bad)
        return opened(path, flags, *arguments, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", fail)
    events = dict(enumerate(decoded(*given)))
    writer = repository.writer(staging_roots=(ResourcePath(str(staging), forceDirectory=True),))
    assert sorted(write_until_done(writer, events, 4)) == [0, 1, 3]
    monkeypatch.undo()
    assert sorted(write_until_done(writer, {2: events[2]}, 1)) == [2]
    assert repository.stored() == Counter(dataset_ids(*given))
