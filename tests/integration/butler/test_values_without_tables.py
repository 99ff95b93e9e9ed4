"""Data IDs with values that no table holds: pixels and bands."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import uuid4

import pytest
from lsst.daf.butler import DatasetType

from app.butler.policy import WriteMethod
from models.causes import Cause
from testbed.writing import write_window
from tests.support.events import RUN, Night, dataset_ids
from tests.support.repositories import Repository, decoded, rejection, written


def event_with(repository: Repository, dimension: str, value: Any) -> dict[str, Any]:
    """Return an event with a dataset of a type that has only this dimension."""
    name = f"map_{dimension}"
    butler = repository.butler()
    butler.registry.registerDatasetType(
        DatasetType(name, [dimension], "StructuredDataDict", universe=butler.dimensions)
    )
    event = Night(repository.root).event()
    ref = {"dataset_type_name": name, "run": RUN, "data_id": {dimension: value}}
    event["datasets"][0]["refs"] = {str(uuid4()): ref}
    return event


@pytest.mark.parametrize("write_method", list(WriteMethod))
@pytest.mark.parametrize(
    ("dimension", "value", "cause"),
    [
        ("htm7", 1, Cause.INVALID_EVENT),
        ("htm7", -1, Cause.INVALID_EVENT),
        ("htm7", 2**18, Cause.INVALID_EVENT),
        ("htm7", 2**62, Cause.INVALID_EVENT),
        ("healpix3", -1, Cause.INVALID_EVENT),
        ("healpix3", 768, Cause.INVALID_EVENT),
        ("band", "beyond", Cause.MISSING_DIMENSION_RECORD),
    ],
)
def test_a_value_that_does_not_exist_is_rejected(
    sqlite_repository: Repository,
    write_method: WriteMethod,
    dimension: str,
    value: Any,
    cause: Cause,
) -> None:
    repository = sqlite_repository
    good = repository.night().event(2)
    window = decoded(event_with(repository, dimension, value), good)
    report = write_window(repository.writer(write_method=write_method), window)
    assert rejection(report).cause is cause
    assert str(value) in rejection(report).reason
    assert repository.stored() == Counter(dataset_ids(good))


@pytest.mark.parametrize("write_method", list(WriteMethod))
@pytest.mark.parametrize(
    ("dimension", "value"), [("htm7", 2**17), ("healpix3", 0), ("healpix3", 767), ("band", "r")]
)
def test_a_value_that_exists_is_written(
    repository: Repository, write_method: WriteMethod, dimension: str, value: Any
) -> None:
    event = event_with(repository, dimension, value)
    written(write_window(repository.writer(write_method=write_method), decoded(event)))
    assert repository.stored() == Counter(dataset_ids(event))
    found = repository.reader.query_datasets(f"map_{dimension}", collections=RUN)
    assert [ref.dataId[dimension] for ref in found] == [value]


@pytest.mark.parametrize("write_method", list(WriteMethod))
def test_a_band_that_the_event_brings_is_written(
    repository: Repository, write_method: WriteMethod
) -> None:
    event = event_with(repository, "band", "new")
    record = {"instrument": "TestCam", "name": "new_1", "band": "new"}
    event["dimension_records"].insert(0, {"definition": "physical_filter", "record": record})
    writer = repository.writer(write_method=write_method, allowed_elements="physical_filter")
    written(write_window(writer, decoded(event)))
    assert repository.stored() == Counter(dataset_ids(event))
