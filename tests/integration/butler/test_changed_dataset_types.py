"""Dataset types that are removed and registered anew while the service runs."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy
from lsst.daf.butler import Butler, DatasetType

from app.butler.failures import RetryableError
from app.butler.outcome import WriteReport
from app.butler.policy import WriteMethod
from app.butler.private.registry import engine_of
from app.butler.writer import ButlerWriter
from testbed.writing import write_window
from tests.support.events import INSTRUMENT, RUN, Night, dataset_ids
from tests.support.repositories import Repository, decoded, written

TYPE = "changing"
FIRST = ("instrument", "detector")
SECOND = ("instrument", "visit", "detector")
VALUES = {"instrument": INSTRUMENT, "visit": 1, "detector": 3}


def register(
    butler: Butler, dimensions: tuple[str, ...], storage_class: str = "StructuredDataDict"
) -> None:
    kind = DatasetType(TYPE, dimensions, storage_class, universe=butler.dimensions)
    butler.registry.registerDatasetType(kind)


def event(repository: Repository, dimensions: tuple[str, ...], **more: Any) -> dict[str, Any]:
    """Return an event with one dataset of the type, besides those of a pod."""
    made = Night(repository.root).event() | more
    data_id = {name: VALUES[name] for name in dimensions}
    ref = {"dataset_type_name": TYPE, "run": RUN, "data_id": data_id}
    made["datasets"][0]["refs"] = {str(uuid4()): ref}
    return made


def remove(repository: Repository) -> Butler:
    """Remove the datasets and the dataset type; return the Butler that has done it."""
    other = repository.butler()
    refs = other.query_datasets(TYPE, collections=RUN)
    other.pruneDatasets(refs, disassociate=True, unstore=True, purge=True)
    other.registry.removeDatasetType(TYPE)
    return other


def write(writer: ButlerWriter, *events: dict[str, Any]) -> WriteReport[int]:
    """Write a window as a worker does, which prepares it again before the next attempt."""
    window = decoded(*events)
    for _ in range(2):
        with suppress(RetryableError):
            return write_window(writer, window)
    return write_window(writer, window)


@pytest.mark.parametrize("write_method", list(WriteMethod))
@pytest.mark.parametrize(
    ("dimensions", "storage_class"),
    [(SECOND, "StructuredDataDict"), (FIRST, "StructuredDataList"), (FIRST, "StructuredDataDict")],
)
def test_a_dataset_type_that_was_registered_anew_is_looked_up_again(
    repository: Repository,
    write_method: WriteMethod,
    dimensions: tuple[str, ...],
    storage_class: str,
) -> None:
    register(repository.butler(), FIRST)
    writer = repository.writer(write_method=write_method)
    written(write(writer, event(repository, FIRST)))

    other = remove(repository)
    register(other, dimensions, storage_class)
    report = write(writer, event(repository, dimensions), Night(repository.root).event(2))

    assert {type(written(report, n)) for n in range(2)}
    (found,) = repository.butler().query_datasets(TYPE, collections=RUN)
    assert found.id in written(report).dataset_ids
    assert found.datasetType.storageClass_name == storage_class
    assert tuple(found.datasetType.dimensions.required) == tuple(
        other.get_dataset_type(TYPE).dimensions.required
    )
    (recorded,) = {name for dataset_id, name in records(repository) if dataset_id == found.id}
    assert recorded == storage_class


def records(repository: Repository) -> list[tuple[UUID, str]]:
    """Return the id and the storage class of all datastore records."""
    table = sqlalchemy.table(
        "file_datastore_records",
        sqlalchemy.column("dataset_id", sqlalchemy.Uuid()),
        sqlalchemy.column("storage_class"),
    )
    with engine_of(repository.reader).begin() as connection:
        return [tuple(row) for row in connection.execute(sqlalchemy.select(table))]


def test_a_key_that_sqlite_uses_again_for_another_run_is_noticed(
    sqlite_repository: Repository,
) -> None:
    repository = sqlite_repository
    writer = repository.writer()
    first, second = (Night(repository.root, run=run) for run in ("u/first", "u/second"))
    written(write(writer, first.event()))
    other = repository.butler()
    other.removeRuns(["u/first"])
    other.collections.register("u/second")
    written(write(writer, first.event(2)))
    written(write(writer, second.event(3)))
    assert repository.stored("u/first") == Counter(dataset_ids(first.event(2)))
    assert repository.stored("u/second") == Counter(dataset_ids(second.event(3)))


@pytest.mark.parametrize("write_method", list(WriteMethod))
def test_a_dataset_type_that_was_removed_is_registered_again_by_an_event_that_defines_it(
    repository: Repository, write_method: WriteMethod
) -> None:
    given = {"name": TYPE, "storageClass": "StructuredDataDict", "dimensions": list(FIRST)}
    writer = repository.writer(write_method=write_method)
    written(write(writer, event(repository, FIRST, dataset_types=[given])))
    remove(repository)
    report = write(writer, event(repository, FIRST, dataset_types=[given]))
    (found,) = repository.butler().query_datasets(TYPE, collections=RUN)
    assert found.id in written(report).dataset_ids
