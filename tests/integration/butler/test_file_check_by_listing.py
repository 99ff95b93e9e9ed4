"""The file check of many artifacts in one folder: a listing, then single checks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

import pytest
from botocore.endpoint import Endpoint
from botocore.exceptions import ClientError
from lsst.daf.butler import Config

from app.butler.files import large_folders as artifacts
from app.butler.private.datastores import FileStore
from models.causes import Cause
from testbed.writing import write_window
from tests.support.buckets import Bucket
from tests.support.events import RUN, Night, dataset_ids
from tests.support.repositories import Repository, decoded, rejection, written

Event = dict[str, Any]

FOLDER = f"{RUN}/all"


@pytest.fixture
def on_s3(sqlite_repository: Repository, bucket: Bucket) -> Repository:
    """A repository whose datastore is in the bucket."""
    config = sqlite_repository.root / "butler.yaml"
    changed = Config(str(config))
    changed["datastore", "root"] = bucket.root
    changed.dumpToUri(str(config))
    return sqlite_repository


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """The number of S3 requests of this process, by operation."""
    counts: Counter[str] = Counter()
    make_request = Endpoint.make_request

    def counting(self: Endpoint, operation_model: Any, request_dict: Any) -> Any:
        counts[operation_model.name] += 1
        return make_request(self, operation_model, request_dict)

    monkeypatch.setattr(Endpoint, "make_request", counting)
    return counts


def window(root: Path | None = None) -> list[Event]:
    """Return events with thirty artifacts in one folder; create them in a datastore on disk.

    Parameters
    ----------
    root : `pathlib.Path`, optional
        Root of the datastore; absent: the test creates the artifacts on S3.
    """
    events = [Night().event(detector=detector) for detector in range(3)]
    for event in events:
        for dataset in event["datasets"]:
            dataset["path"] = f"{FOLDER}/{dataset['path'].rpartition('/')[2]}"
            if root:
                artifact = root / dataset["path"]
                artifact.parent.mkdir(parents=True, exist_ok=True)
                artifact.touch()
    return events


def test_a_folder_with_many_artifacts_is_listed(
    on_s3: Repository, bucket: Bucket, requests: Counter[str]
) -> None:
    events = window()
    for event in events:
        bucket.upload(event)
    writer = on_s3.writer()
    requests.clear()
    report = write_window(writer, decoded(*events))
    for index in range(3):
        written(report, index)
    assert requests == {"ListObjectsV2": 1}


def test_an_artifact_that_is_not_in_the_listing_is_checked_by_itself(
    on_s3: Repository, bucket: Bucket, requests: Counter[str]
) -> None:
    events = window()
    for event, missing in zip(events, (None, 5, None), strict=True):
        bucket.upload(event, but=missing)
    writer = on_s3.writer(missing_file_tries=1)
    requests.clear()
    report = write_window(writer, decoded(*events))
    assert rejection(report, 1).reason.endswith(
        f"{events[1]['datasets'][5]['path']} does not exist"
    )
    assert on_s3.stored() == Counter(dataset_ids(events[0], events[2]))
    # It is looked for again, before and after which the store must have another one.
    assert requests == {"ListObjectsV2": 1, "HeadObject": 1 + 3}


def test_a_listing_of_a_folder_with_far_more_keys_is_bounded(
    on_s3: Repository, bucket: Bucket, requests: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "_NAMES_EACH", 1)
    events = window()
    for event in events:
        bucket.upload(event)
    for n in range(10):  # listed before the others
        bucket.put(f"butler/{FOLDER}/a{n}", b"")
    writer = on_s3.writer()
    requests.clear()
    report = write_window(writer, decoded(*events))
    for index in range(3):
        written(report, index)
    assert requests == {"ListObjectsV2": 1, "HeadObject": 10}


def test_artifacts_are_checked_one_by_one_if_the_store_refuses_to_list(
    on_s3: Repository, bucket: Bucket, requests: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    events = window()
    for event in events:
        bucket.upload(event)
    writer = on_s3.writer()
    requests.clear()

    def refuse(*_: object) -> NoReturn:
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "ListObjectsV2")

    monkeypatch.setattr(artifacts, "list_some", refuse)
    monkeypatch.setattr(artifacts, "_MANY", 10)  # even those of a single event are listed
    report = write_window(writer, decoded(*events))
    for index in range(3):
        written(report, index)
    assert requests == {"HeadObject": 30}


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that are checked one by one."""
    checks: list[str] = []
    exists = FileStore.exists

    def counting(store: FileStore, path: str) -> bool:
        checks.append(path)
        return exists(store, path)

    monkeypatch.setattr(FileStore, "exists", counting)
    return checks


def test_a_folder_on_disk_with_many_artifacts_is_listed(
    sqlite_repository: Repository, checks: list[str]
) -> None:
    events = window(sqlite_repository.root)
    report = write_window(sqlite_repository.writer(), decoded(*events))
    for index in range(3):
        written(report, index)
    assert checks == []


def test_an_artifact_that_is_not_in_the_listing_of_a_folder_on_disk_is_checked_by_itself(
    sqlite_repository: Repository, checks: list[str]
) -> None:
    events = window(sqlite_repository.root)
    gone = events[1]["datasets"][5]["path"]
    (sqlite_repository.root / gone).unlink()
    report = write_window(sqlite_repository.writer(missing_file_tries=2), decoded(*events))
    assert rejection(report, 1).reason.endswith(f"{gone} does not exist")
    assert sqlite_repository.stored() == Counter(dataset_ids(events[0], events[2]))
    assert [path == gone for path in checks] == [True, True, False, True, False]


def test_artifacts_in_a_folder_that_does_not_exist_are_missing(
    sqlite_repository: Repository, checks: list[str]
) -> None:
    events = window()
    report = write_window(sqlite_repository.writer(missing_file_tries=1), decoded(*events))
    assert {rejection(report, index).cause for index in range(3)} == {Cause.MISSING_FILE}
    # They are looked for again, before and after which the store must have another file.
    assert len(checks) == 30 + 1 + 30 + 1


def test_a_broken_link_counts_as_a_missing_artifact(
    sqlite_repository: Repository, checks: list[str]
) -> None:
    events = window(sqlite_repository.root)
    path = events[1]["datasets"][5]["path"]
    artifact = sqlite_repository.root / path
    artifact.unlink()
    artifact.symlink_to("nowhere")
    report = write_window(sqlite_repository.writer(missing_file_tries=1), decoded(*events))
    assert rejection(report, 1).cause is Cause.MISSING_FILE
    assert [each == path for each in checks] == [True, False, True, False]
