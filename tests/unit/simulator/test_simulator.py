"""The simulated night: its content, and that the same seed gives the same night."""

from __future__ import annotations

import gc
import tracemalloc
from itertools import islice
from pathlib import Path

import pytest
from astropy.time import Time
from lsst.daf.butler import Butler, Timespan
from lsst.sphgeom import CONTAINS

from models.prompt_output import PromptOutput
from simulator.camera import DETECTORS, footprint
from simulator.downstream import ending_now
from simulator.event import encode_event, event_of
from simulator.night import Night
from simulator.repository import make_repository


def test_camera_has_the_science_detectors_of_lsstcam() -> None:
    assert len(DETECTORS) == 189
    assert len({detector.name for detector in DETECTORS}) == 189
    assert [DETECTORS[0].name, DETECTORS[94].name, DETECTORS[188].name] == [
        "R01_S00",
        "R22_S11",
        "R43_S22",
    ]
    assert (DETECTORS[94].x, DETECTORS[94].y) == (0, 0)


def test_the_footprint_contains_every_detector() -> None:
    whole = footprint(123.0, -45.0)
    for detector in DETECTORS:
        assert whole.relate(detector.region(123.0, -45.0)) & CONTAINS


def test_same_seed_gives_the_same_night() -> None:
    def events(seed: int) -> list[bytes]:
        night = Night(seed=seed, visits=2, detectors=3)
        return [encode_event(event_of(pod)) for _, pod in night.pods()]

    assert events(7) == events(7)
    assert events(7) != events(8)


def test_pods_end_in_order_and_none_is_missing() -> None:
    night = Night(visits=6, detectors=20, stragglers=0.3)
    done = [(seconds, pod.visit.number, pod.detector.id) for seconds, pod in night.pods()]
    assert [seconds for seconds, *_ in done] == sorted(seconds for seconds, *_ in done)
    assert {(visit, detector) for _, visit, detector in done} == {
        (visit, detector) for visit in range(1, 7) for detector in range(20)
    }


def test_the_visits_of_a_night_that_ends_now_end_when_their_pods_say() -> None:
    before = Time.now().unix
    night = ending_now(Night(visits=2, detectors=3, cadence=6.0))
    first, *_, last = (pod for _, pod in night.pods())
    assert -1 < first.visit.end.unix + first.seconds - before < 1
    assert last.visit.end.unix - first.visit.end.unix == pytest.approx(6)
    day = first.visit.records["day_obs"][0].timespan
    assert day.overlaps(Timespan(first.visit.begin, last.visit.end))


def test_events_have_the_shape_and_size_of_the_contract() -> None:
    for _, pod in Night(visits=1).pods():
        event = event_of(pod)
        assert PromptOutput.decode(encode_event(event)).type == "pp-output"
        assert 20 <= len(event["datasets"]) <= 100
        assert {record["definition"] for record in event["dimension_records"]} == {
            "group",
            "day_obs",
            "exposure",
            "visit",
            "visit_system",
            "visit_definition",
            "visit_system_membership",
            "visit_detector_region",
        }


def test_memory_does_not_grow_during_a_long_night() -> None:
    pods = Night(visits=100, detectors=20).pods()

    def left_after(visits: int) -> int:
        for _, pod in islice(pods, visits * 20):
            assert pod.visit.records  # created for each visit, and referenced by it
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        first, later = left_after(10), left_after(80)
    finally:
        tracemalloc.stop()
    assert (later - first) / 80 < 10_000, "bytes that remain of each visit"


def test_the_repository_has_the_instrument_and_every_dataset_type(tmp_path: Path) -> None:
    make_repository(tmp_path / "repository")
    butler = Butler.from_config(str(tmp_path / "repository"))
    assert len(butler.query_dimension_records("detector", limit=None)) == 189
    for dataset_type in Night(universe=butler.dimensions).dataset_types:
        assert butler.get_dataset_type(dataset_type.name) == dataset_type
