"""Sizes and checksums in an event are recorded in the datastore, and Butler checks them."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from lsst.daf.butler import FileIntegrityError

from models.causes import Cause
from testbed.writing import write_window
from tests.support.events import Night, dataset_ids
from tests.support.repositories import Repository, decoded, rejection, written


def add_digests(event: dict[str, Any], night: Night) -> None:
    """Add the sizes and checksums of its artifacts to an event."""
    assert night.root is not None
    for dataset in event["datasets"]:
        content = (night.root / dataset["path"]).read_bytes()
        dataset["size"] = len(content)
        dataset["checksum"] = hashlib.blake2b(content).hexdigest()


def test_sizes_and_checksums_are_recorded_if_given(repository: Repository) -> None:
    night = repository.night()
    given, omitted = night.event(1, 0), night.event(1, 1)
    add_digests(given, night)

    report = write_window(repository.writer(), decoded(given, omitted))

    assert written(report, 0)
    assert written(report, 1)
    for dataset in given["datasets"]:
        found = repository.sql(
            "SELECT path FROM file_datastore_records "
            f"WHERE checksum = '{dataset['checksum']}' AND file_size = {dataset['size']}"
        )
        assert dataset["path"] in found
    unknown = repository.sql(
        "SELECT path FROM file_datastore_records WHERE checksum IS NULL AND file_size = -1"
    )
    assert set(unknown) == {dataset["path"] for dataset in omitted["datasets"]}


def test_butler_refuses_to_read_a_file_of_another_size(
    sqlite_repository: Repository,
) -> None:
    night = sqlite_repository.night()
    event = night.event()
    add_digests(event, night)
    written(write_window(sqlite_repository.writer(), decoded(event)))
    (ref, *_) = sqlite_repository.reader.get_many_datasets(dataset_ids(event))
    assert sqlite_repository.reader.get(ref)
    sqlite_repository.reader.getURI(ref).write(b"{}")

    with pytest.raises(FileIntegrityError):
        sqlite_repository.reader.get(ref)


@pytest.mark.parametrize(
    ("name", "value"),
    [("size", "5"), ("size", -1), ("size", True), ("checksum", 5), ("checksum", "g" * 8)],
)
def test_an_invalid_size_or_checksum_is_refused(
    sqlite_repository: Repository, name: str, value: object
) -> None:
    event = sqlite_repository.night().event()
    event["datasets"][3][name] = value

    refused = rejection(write_window(sqlite_repository.writer(), decoded(event)))

    assert refused.cause is Cause.INVALID_EVENT
    assert name in refused.reason
