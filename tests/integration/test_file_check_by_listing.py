"""The file check of many artifacts in one folder on S3: a listing, and looks for the rest."""

from __future__ import annotations

from collections import Counter
from typing import Any, NoReturn

import pytest
from botocore.endpoint import Endpoint
from botocore.exceptions import ClientError
from lsst.daf.butler import Config

from app.butler import artifacts
from tests.buckets import Bucket
from tests.events import RUN, Night, dataset_ids
from tests.repositories import Repository, decoded, rejection, written

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
    """How often each operation is asked of S3 by this process."""
    counts: Counter[str] = Counter()
    make_request = Endpoint.make_request

    def counting(self: Endpoint, operation_model: Any, request_dict: Any) -> Any:
        counts[operation_model.name] += 1
        return make_request(self, operation_model, request_dict)

    monkeypatch.setattr(Endpoint, "make_request", counting)
    return counts


def window() -> list[Event]:
    """Return events whose artifacts are all in one folder: thirty."""
    events = [Night().event(detector=detector) for detector in range(3)]
    for event in events:
        for dataset in event["datasets"]:
            dataset["path"] = f"{FOLDER}/{dataset['path'].rpartition('/')[2]}"
    return events


def test_many_artifacts_of_a_folder_are_listed(
    on_s3: Repository, bucket: Bucket, requests: Counter[str]
) -> None:
    events = window()
    for event in events:
        bucket.upload(event)
    writer = on_s3.writer()
    requests.clear()
    report = writer.write(decoded(*events))
    for index in range(3):
        written(report, index)
    assert requests == {"ListObjectsV2": 1}


def test_what_a_listing_does_not_show_is_looked_for(
    on_s3: Repository, bucket: Bucket, requests: Counter[str]
) -> None:
    events = window()
    for event, missing in zip(events, (None, 5, None), strict=True):
        bucket.upload(event, but=missing)
    writer = on_s3.writer(missing_file_tries=1)
    requests.clear()
    report = writer.write(decoded(*events))
    assert rejection(report, 1).reason.endswith(f"{events[1]['datasets'][5]['path']} is not there")
    assert on_s3.stored() == Counter(dataset_ids(events[0], events[2]))
    assert requests == {"ListObjectsV2": 1, "HeadObject": 1}


def test_a_folder_of_far_more_keys_is_not_listed_to_its_end(
    on_s3: Repository, bucket: Bucket, requests: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "_KEYS_EACH", 1)
    events = window()
    for event in events:
        bucket.upload(event)
    for n in range(10):  # before the others, in the order of a listing
        bucket.put(f"butler/{FOLDER}/a{n}", b"")
    writer = on_s3.writer()
    requests.clear()
    report = writer.write(decoded(*events))
    for index in range(3):
        written(report, index)
    assert requests == {"ListObjectsV2": 1, "HeadObject": 10}


def test_a_store_that_refuses_to_list_is_looked_through(
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
    monkeypatch.setattr(artifacts, "_MANY", 10)  # so that each event alone would be listed too
    report = writer.write(decoded(*events))
    for index in range(3):
        written(report, index)
    assert requests == {"HeadObject": 30}
