"""Staged artifacts: where they are copied from and to, and when they are removed."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from lsst.daf.butler import Config
from lsst.resources import ResourcePath
from structlog.testing import capture_logs

from app.butler.failures import RetryableError
from app.butler.policy import FileCheck
from app.butler.writer import ButlerWriter
from app.errors import OperatorError
from models.causes import Cause
from testbed.writing import write_window
from tests.support.buckets import Bucket
from tests.support.events import Night, dataset_ids
from tests.support.repositories import Repository, decoded, rejection, written


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    folder = tmp_path / "staging"
    folder.mkdir()
    return folder


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def paths(*events: dict[str, Any]) -> set[str]:
    return {dataset["path"] for event in events for dataset in event["datasets"]}


def staged_event(staging: Path, detector: int = 0) -> dict[str, Any]:
    return Night(staging).event(detector=detector, staging=str(staging))


def writer_for(repository: Repository, *staging: Path, **policy: Any) -> ButlerWriter:
    roots = tuple(ResourcePath(str(root), forceDirectory=True) for root in staging)
    return repository.writer(staging_roots=roots, **policy)


def is_in_datastore(repository: Repository, event: dict[str, Any]) -> bool:
    """Tell whether an event's artifacts are in the datastore, as its pod wrote them."""
    return all(
        (repository.root / dataset["path"]).read_bytes() == ref_content(dataset)
        for dataset in event["datasets"]
    )


def ref_content(dataset: dict[str, Any]) -> bytes:
    (ref,) = dataset["refs"].values()
    return orjson.dumps(ref["data_id"])


def test_staged_artifacts_become_datasets_and_are_removed_from_staging(
    repository: Repository, staging: Path
) -> None:
    pod = staging / "pod-17"  # a pod may use its own folder
    events = [
        staged_event(staging, 0),
        Night(pod).event(detector=1, staging=pod.as_uri()),
        repository.night().event(detector=2),
    ]
    report = write_window(writer_for(repository, staging), decoded(*events))
    for n, event in enumerate(events):
        written(report, n)
        assert is_in_datastore(repository, event)
    assert repository.stored() == Counter(dataset_ids(*events))
    assert files(staging) == set()
    assert not pod.exists()
    data_id = {"instrument": "TestCam", "exposure": 1, "detector": 1}
    assert repository.reader.get("isr_log", data_id, collections=Night().run) == data_id


def test_an_absolute_path_in_the_datastore_is_relative_to_the_staging_root(
    sqlite_repository: Repository, staging: Path
) -> None:
    event = staged_event(staging)
    for dataset in event["datasets"]:
        dataset["path"] = str(sqlite_repository.root / dataset["path"])
    written(write_window(writer_for(sqlite_repository, staging), decoded(event)))
    assert sqlite_repository.stored() == Counter(dataset_ids(event))
    assert files(staging) == set()


def test_a_staged_file_is_copied_to_every_datastore_that_accepts_its_dataset(
    sqlite_repository: Repository, staging: Path, tmp_path: Path
) -> None:
    file = sqlite_repository.root / "butler.yaml"
    config = Config(str(file))
    kind = {"cls": "lsst.daf.butler.datastores.fileDatastore.FileDatastore"}
    stores = [tmp_path / "one", tmp_path / "two"]
    config["datastore"] = {
        "cls": "lsst.daf.butler.datastores.chainedDatastore.ChainedDatastore",
        "datastores": [
            {
                "datastore": {
                    **kind,
                    "root": str(root),
                    "records": {"table": f"records_{root.name}"},
                }
            }
            for root in stores
        ],
    }
    config.dumpToUri(str(file))
    for root in stores:
        root.mkdir()
    event = staged_event(staging)
    written(write_window(writer_for(sqlite_repository, staging), decoded(event)))
    assert [files(root) for root in stores] == [paths(event)] * 2
    assert files(staging) == set()


@pytest.mark.parametrize("check", FileCheck)
def test_a_missing_staged_file_rejects_only_its_event(
    sqlite_repository: Repository, staging: Path, check: FileCheck
) -> None:
    events = [staged_event(staging, detector) for detector in range(3)]
    lost = staging / events[1]["datasets"][4]["path"]
    lost.unlink()
    report = write_window(
        writer_for(sqlite_repository, staging, file_check=check), decoded(*events)
    )
    assert rejection(report, 1).cause is Cause.MISSING_FILE
    assert rejection(report, 1).reason == f"{lost.as_uri()} does not exist"
    assert sqlite_repository.stored() == Counter(dataset_ids(events[0], events[2]))
    # The dead letter can be replayed.
    assert files(staging) == paths(events[1]) - {events[1]["datasets"][4]["path"]}
    lost.write_bytes(ref_content(events[1]["datasets"][4]))
    written(
        write_window(writer_for(sqlite_repository, staging, file_check=check), decoded(events[1]))
    )
    assert files(staging) == set()


def test_an_event_is_written_once_if_redelivered_after_its_staged_files_are_removed(
    repository: Repository, staging: Path
) -> None:
    event = staged_event(staging)
    for _ in range(2):
        report = write_window(writer_for(repository, staging), decoded(event))
        written(report)
    assert report.inserted == 0
    assert repository.stored() == Counter(dataset_ids(event))


def test_an_event_is_written_if_redelivered_after_some_files_were_copied(
    sqlite_repository: Repository, staging: Path
) -> None:
    event = staged_event(staging)
    for dataset in event["datasets"][:5]:
        target = sqlite_repository.root / dataset["path"]
        target.parent.mkdir(parents=True)
        target.write_bytes((staging / dataset["path"]).read_bytes())
    written(write_window(writer_for(sqlite_repository, staging), decoded(event)))
    assert is_in_datastore(sqlite_repository, event)
    assert files(staging) == set()


@pytest.mark.parametrize("content", [b"{}", b'{"instrument":"Another"'], ids=["shorter", "half"])
def test_a_different_file_at_the_final_location_is_neither_used_nor_replaced(
    sqlite_repository: Repository, staging: Path, content: bytes
) -> None:
    good, bad = staged_event(staging, 0), staged_event(staging, 1)
    target = sqlite_repository.root / bad["datasets"][2]["path"]
    target.parent.mkdir(parents=True)
    target.write_bytes(content)
    report = write_window(writer_for(sqlite_repository, staging), decoded(good, bad))
    assert f"exists already and is different from {staging}" in rejection(report, 1).reason
    assert target.read_bytes() == content
    assert sqlite_repository.stored() == Counter(dataset_ids(good))
    assert files(staging) == paths(bad)


def test_of_two_staged_files_for_one_location_one_is_copied(
    sqlite_repository: Repository, tmp_path: Path
) -> None:
    roots = [tmp_path / "staging-1", tmp_path / "staging-2"]
    events = [staged_event(root) for root in roots]
    (roots[1] / events[1]["datasets"][0]["path"]).write_bytes(b"something else")
    report = write_window(writer_for(sqlite_repository, *roots), decoded(*events))
    kept = [n for n in range(2) if not hasattr(report.outcomes[n], "reason")]
    assert len(kept) == 1
    target = (sqlite_repository.root / events[0]["datasets"][0]["path"]).read_bytes()
    assert (target == b"something else") == (kept == [1])
    assert sqlite_repository.stored() == Counter(dataset_ids(events[0]))


def test_events_of_one_window_may_share_a_staged_file(
    sqlite_repository: Repository, staging: Path
) -> None:
    event = staged_event(staging)
    report = write_window(writer_for(sqlite_repository, staging), decoded(event, event))
    written(report, 0)
    written(report, 1)
    assert sqlite_repository.stored() == Counter(dataset_ids(event))


def test_the_files_of_a_refused_event_stay_in_staging(
    repository: Repository, staging: Path
) -> None:
    good, bad = staged_event(staging, 0), staged_event(staging, 1)
    bad["dimension_records"] = []
    for dataset in bad["datasets"]:
        (ref,) = dataset["refs"].values()
        ref["data_id"]["detector"] = 99
    report = write_window(writer_for(repository, staging), decoded(good, bad))
    rejection(report, 1)
    assert files(staging) == paths(bad)
    assert repository.stored() == Counter(dataset_ids(good))


def test_a_window_is_retried_while_a_staging_root_is_not_mounted(
    sqlite_repository: Repository, staging: Path
) -> None:
    event = staged_event(staging)
    away = staging.rename(staging.with_name("away"))
    writer = writer_for(sqlite_repository, staging)
    with pytest.raises(RetryableError, match=r"the staging root .* does not exist") as raised:
        write_window(writer, decoded(event))
    assert raised.value.alarm
    away.rename(staging)
    written(write_window(writer, decoded(event)))


def test_no_file_is_copied_to_a_datastore_that_is_not_mounted(
    sqlite_repository: Repository, staging: Path
) -> None:
    event = staged_event(staging)
    writer = writer_for(sqlite_repository, staging)
    away = sqlite_repository.root.rename(sqlite_repository.root.with_name("away"))
    with pytest.raises(RetryableError, match=r"the datastore root .* does not exist"):
        write_window(writer, decoded(event))
    assert not sqlite_repository.root.exists()
    away.rename(sqlite_repository.root)
    written(write_window(writer, decoded(event)))


def test_a_link_out_of_the_staging_root_is_not_followed(
    sqlite_repository: Repository, staging: Path
) -> None:
    victim, thief = repository_event(sqlite_repository), staged_event(staging, 1)
    written(write_window(sqlite_repository.writer(), decoded(victim)))
    (staging / "repository").symlink_to(sqlite_repository.root)
    thief["datasets"][0]["path"] = f"repository/{victim['datasets'][0]['path']}"
    report = write_window(
        writer_for(sqlite_repository, staging, paths_below_run=False), decoded(thief)
    )
    assert "is behind a symbolic link" in rejection(report).reason
    assert rejection(report).cause is Cause.PATH_NOT_ALLOWED
    thief["staging"] = str(staging / "repository")
    thief["datasets"][0]["path"] = victim["datasets"][0]["path"]
    report = write_window(
        writer_for(sqlite_repository, staging, paths_below_run=False), decoded(thief)
    )
    assert "is behind a symbolic link" in rejection(report).reason
    assert is_in_datastore(sqlite_repository, victim)


def make_special(path: Path, kind: str) -> None:
    if kind == "named pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(path.parent):
            server.bind(path.name)  # a path of more than 108 bytes is refused


@pytest.mark.parametrize("kind", ["named pipe", "folder", "socket"])
def test_what_is_no_regular_file_is_refused(
    sqlite_repository: Repository, staging: Path, kind: str
) -> None:
    good, bad = staged_event(staging, 0), staged_event(staging, 1)
    odd = staging / bad["datasets"][3]["path"]
    odd.unlink()
    make_special(odd, kind)
    report = write_window(writer_for(sqlite_repository, staging), decoded(good, bad))
    assert rejection(report, 1).cause is Cause.PATH_NOT_ALLOWED
    assert rejection(report, 1).reason == f"{odd} is not a regular file"
    written(report, 0)


@pytest.mark.parametrize("is_of_another_owner", [False, True])
def test_a_hard_link_is_refused_if_the_file_has_another_owner(
    sqlite_repository: Repository,
    staging: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_of_another_owner: bool,
) -> None:
    """Only root can make such a file, so what the service is told of the owner is made up."""
    event = staged_event(staging)
    file = staging / event["datasets"][3]["path"]
    os.link(file, tmp_path / "the file of another owner")
    fstat = os.fstat

    def told(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        if not (is_of_another_owner and status.st_nlink > 1 and stat.S_ISREG(status.st_mode)):
            return status
        return os.stat_result([*status[:4], status.st_uid + 1, *status[5:]])

    monkeypatch.setattr(os, "fstat", told)
    report = write_window(writer_for(sqlite_repository, staging), decoded(event))
    monkeypatch.undo()
    if not is_of_another_owner:
        written(report)
        return
    assert rejection(report).reason == f"{file} is a hard link to a file of another owner"
    assert rejection(report).cause is Cause.PATH_NOT_ALLOWED


def test_staged_files_on_disk_are_copied_to_a_datastore_on_s3(
    sqlite_repository: Repository, staging: Path, tmp_path: Path, bucket: Bucket
) -> None:
    """They are read from the descriptor that was checked, and compared when delivered again."""
    file = sqlite_repository.root / "butler.yaml"
    config = Config(str(file))
    config["datastore", "root"] = bucket.root
    config.dumpToUri(str(file))
    good, bad = staged_event(staging, 0), staged_event(staging, 1)
    private = tmp_path / "private"
    private.write_bytes(b"a password")
    linked = staging / bad["datasets"][0]["path"]
    linked.unlink()
    linked.symlink_to(private)
    other = good["datasets"][1]["path"]
    bucket.put(f"butler/{other}", (staging / other).read_bytes())
    report = write_window(writer_for(sqlite_repository, staging), decoded(good, bad))
    written(report, 0)
    assert rejection(report, 1).reason == f"{linked} is behind a symbolic link"
    for dataset in good["datasets"]:
        found = ResourcePath(bucket.root).join(dataset["path"]).read()
        assert found == ref_content(dataset)
    assert bucket.keys(f"butler/{bad['datasets'][0]['path']}") == []
    assert files(staging) == paths(bad)
    again = staged_event(staging, 0)
    (staging / other).write_bytes(b"something else")
    report = write_window(writer_for(sqlite_repository, staging), decoded(again))
    assert "exists already and is different from" in rejection(report).reason


def repository_event(repository: Repository) -> dict[str, Any]:
    return repository.night().event(detector=0)


@pytest.mark.parametrize(
    "path", ["folder", "file.json/inner.json", "x" * 300], ids=["a folder", "in a file", "long"]
)
def test_a_path_that_no_file_can_have_rejects_only_its_event(
    sqlite_repository: Repository, staging: Path, path: str
) -> None:
    (staging / "folder").mkdir()
    (staging / "file.json").write_bytes(b"{}")
    good, bad = staged_event(staging, 0), staged_event(staging, 1)
    bad["datasets"][0]["path"] = path
    report = write_window(writer_for(sqlite_repository, staging), decoded(good, bad))
    rejection(report, 1)
    written(report, 0)


def test_a_folder_that_is_a_file_in_the_datastore_rejects_only_its_event(
    sqlite_repository: Repository, staging: Path
) -> None:
    good, bad = staged_event(staging, 0), staged_event(staging, 1)
    bad["datasets"][0]["path"] = "butler.yaml/a.json"
    (staging / "butler.yaml").mkdir()
    (staging / "butler.yaml" / "a.json").write_bytes(b"{}")
    report = write_window(
        writer_for(sqlite_repository, staging, paths_below_run=False), decoded(good, bad)
    )
    assert "cannot be copied to" in rejection(report, 1).reason
    written(report, 0)


def test_staged_files_that_cannot_be_removed_are_logged(
    sqlite_repository: Repository, staging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = staged_event(staging)

    unlink = os.unlink

    def refuse(path: Any, *, dir_fd: int | None = None) -> None:
        if dir_fd is not None:  # as only staged files are removed
            raise OSError("read-only file system")
        unlink(path)

    monkeypatch.setattr(os, "unlink", refuse)
    with capture_logs() as logs:
        written(write_window(writer_for(sqlite_repository, staging), decoded(event)))
    (line,) = [log for log in logs if log["event"] == "staged files could not be removed"]
    assert "read-only file system" in line["first"]
    assert sqlite_repository.stored() == Counter(dataset_ids(event))


def test_staging_root_and_datastore_must_not_overlap(sqlite_repository: Repository) -> None:
    root = sqlite_repository.root
    link = root.with_name("link")
    link.symlink_to(root)
    for staging in (root, root / "staging", root.parent, link):
        with pytest.raises(OperatorError, match="overlap"):
            writer_for(sqlite_repository, staging)
