"""The dimension records that go with a dataset are those that Butler itself transfers with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from lsst.daf.butler import Butler

from app.downstream.dimension_records import DimensionRecords, Elements, RecordKey
from tests.support.events import INSTRUMENT, UNIVERSE_7, Night, group_name, make_repository

VISITS, DETECTORS = (1, 2), (0, 1)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Butler:
    """A repository with the records of two visits, of the universe that LSSTCam has."""
    butler = make_repository(tmp_path_factory.mktemp("source"), universe=UNIVERSE_7)
    night = Night(universe=butler.dimensions)
    for visit in VISITS:
        for detector in DETECTORS:
            for record in night.visit_records(visit, detector):
                butler.registry.insertDimensionData(record.definition, record, skip_existing=True)
    return butler


def records(butler: Butler) -> list[Any]:
    """Return all dimension records of a repository."""
    return [
        record
        for element in butler.dimensions.elements
        if element.has_own_table
        for record in butler.query_dimension_records(element.name, explain=False, limit=None)
    ]


def transferred(source: Butler, target_root: Path, data_id: Mapping[str, Any]) -> set[RecordKey]:
    """Return the keys of the records that Butler transfers with a data ID."""
    universe = source.dimensions.dimensionConfig
    Butler.makeRepo(str(target_root), dimensionConfig=universe)
    target = Butler.from_config(str(target_root), writeable=True)
    expanded = source.registry.expandDataId(data_id)
    target.transfer_dimension_records_from(source, [expanded])
    return {
        (record.definition.name, tuple(record.dataId.required_values)) for record in records(target)
    }


@pytest.mark.parametrize(
    "data_id",
    [
        {"visit": 1, "detector": 0},
        {"exposure": 1, "detector": 1},
        {"group": group_name(2), "detector": 0},
        {"visit": 2},
    ],
    ids="-".join,
)
def test_a_data_id_needs_what_butler_transfers(
    source: Butler, tmp_path: Path, data_id: dict[str, Any]
) -> None:
    """Only the regions of all detectors, which Butler adds to a visit, stay behind."""
    given: list[Any] = [
        orjson.loads(record.to_simple().model_dump_json()) for record in records(source)
    ]
    mine = {"instrument": INSTRUMENT, **data_id}
    needed = DimensionRecords(given, Elements(source.dimensions)).needed_by(mine)
    expected = transferred(source, tmp_path / "target", mine)
    if "detector" not in data_id:
        expected = {key for key in expected if key[0] != "visit_detector_region"}
        expected = {key for key in expected if key[0] != "detector"}
    assert needed == expected
