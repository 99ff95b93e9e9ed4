"""Dimension records whose regions overlap many pixels, or take long to look at."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from typing import Any

import pytest
from lsst.daf.butler import DimensionUniverse
from lsst.sphgeom import Angle, Circle, UnionRegion, UnitVector3d

from app.butler.events.limits import EventLimits
from app.butler.policy import WriteMethod
from models.causes import Cause
from testbed.writing import write_window
from tests.support.events import dataset_ids
from tests.support.faulty_writes import changed
from tests.support.regions import circle, nested
from tests.support.repositories import Repository, decoded, rejection, written

MAX_OVERLAPS = EventLimits().max_overlap_rows

BAD_REGIONS: dict[str, tuple[bytes, str]] = {
    "half of the sky": (circle(90).encode(), "65971 of them that of the visit record"),
    "all of the sky": (circle(180).encode(), "131072 of them that of the visit record"),
    "several circles": (
        UnionRegion(circle(30), Circle(UnitVector3d(0, 0, 1), Angle.fromDegrees(30))).encode(),
        f"more than the limit of {MAX_OVERLAPS}",
    ),
    "nested a hundred thousand times": (nested(100_000), "more than the limit of 16384"),
}


@pytest.mark.parametrize(("region", "reason"), BAD_REGIONS.values(), ids=BAD_REGIONS)
@pytest.mark.parametrize("write_method", list(WriteMethod))
def test_an_event_with_a_region_out_of_proportion_is_refused_before_anything_is_made(
    sqlite_repository: Repository, write_method: WriteMethod, region: bytes, reason: str
) -> None:
    night = sqlite_repository.night()
    bad = changed(night.event(1), "visit", region=region.hex())
    good = night.event(2)
    report = write_window(sqlite_repository.writer(write_method=write_method), decoded(bad, good))
    assert rejection(report).cause is Cause.OVER_LIMIT
    assert reason in rejection(report).reason
    if "record {" in rejection(report).reason:
        assert "{'instrument': 'TestCam', 'visit': 1}" in rejection(report).reason
    assert sqlite_repository.stored() == Counter(dataset_ids(good))


def many_regions(event: dict[str, Any], number: int) -> dict[str, Any]:
    """Return an event with many records, each with a region within the limit."""
    part = next(r for r in event["dimension_records"] if r["definition"] == "visit_detector_region")
    region = circle(10).encode().hex()
    for detector in range(number):
        record = {**part["record"], "detector": detector, "region": region}
        event["dimension_records"].append({**part, "record": record})
    return event


def test_the_regions_of_an_event_count_together(sqlite_repository: Repository) -> None:
    bad = many_regions(sqlite_repository.night().event(1), 15)
    report = write_window(sqlite_repository.writer(), decoded(bad))
    assert rejection(report).cause is Cause.OVER_LIMIT
    assert "825 of them that of the visit_detector_region record" in rejection(report).reason


@pytest.mark.parametrize(
    "repository",
    ["sqlite", pytest.param("postgresql", marks=[pytest.mark.postgresql, pytest.mark.slow])],
    indirect=True,
)
@pytest.mark.parametrize("write_method", list(WriteMethod))
def test_large_regions_are_written_with_little_memory(
    repository: Repository, write_method: WriteMethod
) -> None:
    """Twelve circles of 30 degrees need 97,824 rows."""
    night = repository.night()
    region = circle(30).encode().hex()
    events = [changed(night.event(visit), "visit", region=region) for visit in range(1, 13)]
    writer = repository.writer(write_method=write_method)
    tracemalloc.start()
    report = write_window(writer, decoded(*events))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for n in range(len(events)):
        written(report, n)
    assert peak < 60 * 2**20
    assert repository.sql("SELECT count(*) FROM visit_skypix_overlap") == [12 * 8152]


def test_a_focal_plane_needs_far_fewer_overlap_rows_than_the_limit() -> None:
    ranges = DimensionUniverse().commonSkyPix.pixelization.envelope(circle(1.75))
    assert 100 * sum(end - begin for begin, end in ranges) < MAX_OVERLAPS


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda e: e | {"chains": [f"c{n}" for n in range(101)]}, "pairs of a run and a chain"),
        (
            lambda e: e | {"dataset_types": [{"name": f"t{n}"} for n in range(1001)]},
            "dataset types",
        ),
    ],
)
def test_an_event_with_more_of_something_than_any_pod_has_is_refused(
    sqlite_repository: Repository, change: Any, reason: str
) -> None:
    night = sqlite_repository.night()
    good = night.event(2)
    report = write_window(sqlite_repository.writer(), decoded(change(night.event(1)), good))
    assert rejection(report).cause is Cause.OVER_LIMIT
    assert reason in rejection(report).reason
    assert sqlite_repository.stored() == Counter(dataset_ids(good))
