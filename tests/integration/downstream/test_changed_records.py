"""Dimension records that come again with other values: they stay, or are replaced."""

from __future__ import annotations

from typing import Any

import pytest
from lsst.daf.butler import Butler, DimensionRecord

from app.butler.policy import WriteMethod
from app.butler.private.registry import engine_of
from models.product import Products
from testbed.tables import check_same, tables_of
from tests.integration.butler.test_products import write
from tests.integration.butler.test_replica import replicate
from tests.support.events import INSTRUMENT
from tests.support.repositories import Repository

ON_SQLITE = pytest.mark.parametrize("repository", ["sqlite"], indirect=True)


def visit(butler: Butler) -> DimensionRecord:
    (found,) = butler.query_dimension_records("visit", instrument=INSTRUMENT, visit=1)
    return found


def revised(source: Repository) -> tuple[list[Products], list[Products]]:
    """Write a detector, revise the visit in the source, and write another; return the messages."""
    night = source.night()
    before = write(source.writer(), [night.event(1, 0), night.event(2, 0)])
    other = source.reader.query_dimension_records("visit", instrument=INSTRUMENT, visit=2)[0]
    with source.butler() as butler:
        fields: dict[str, Any] = visit(butler).toDict() | {
            "region": other.region,
            "science_program": "revised",
        }
        record = butler.dimensions["visit"].RecordClass(**fields)
        butler.registry.insertDimensionData("visit", record, replace=True)
    return before, write(source.writer(), [night.event(1, 1)])


def check_records(source: Repository, target: Butler) -> None:
    """Check that visits and their overlap rows are the same."""
    found, expected = (tables_of(engine_of(each)) for each in (target, source.reader))
    for tables in (found, expected):
        for name in [name for name in tables if not name.startswith("visit")]:
            del tables[name]
    assert any("skypix" in name for name in found)
    check_same(found, expected)


@ON_SQLITE
def test_a_changed_record_stays_and_is_counted(repository: Repository, target: Butler) -> None:
    before, after = revised(repository)
    replicate(target, repository, before)
    former = visit(target)
    report = replicate(target, repository, after)
    assert (report.mismatched_records, report.replaced_records) == (1, 0)
    assert visit(target) == former != visit(repository.reader)


@pytest.mark.parametrize(
    "method", [WriteMethod.RECORDS, pytest.param(WriteMethod.PUBLIC, marks=pytest.mark.slow)]
)
def test_a_changed_record_is_replaced_with_its_overlap_rows(
    repository: Repository, target: Butler, method: WriteMethod
) -> None:
    before, after = revised(repository)
    replicate(target, repository, before, method=method, replaces=True)
    report = replicate(target, repository, after, method=method, replaces=True)
    assert (report.mismatched_records, report.replaced_records) == (0, 1)
    check_records(repository, target)
    again = replicate(target, repository, after, method=method, replaces=True)
    assert (again.mismatched_records, again.replaced_records) == (0, 0)


@ON_SQLITE
def test_a_message_that_is_read_again_does_not_bring_former_values_back(
    repository: Repository, target: Butler
) -> None:
    before, after = revised(repository)
    replicate(target, repository, after, replaces=True)
    report = replicate(target, repository, before, replaces=False)
    assert (report.mismatched_records, report.replaced_records) == (1, 0)
    check_records(repository, target)


@ON_SQLITE
def test_the_last_values_of_a_window_are_stored(repository: Repository, target: Butler) -> None:
    before, after = revised(repository)
    report = replicate(target, repository, [*before, *after], replaces=True)
    assert report.mismatched_records == 0
    check_records(repository, target)
