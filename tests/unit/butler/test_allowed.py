"""What events may name: elements, paths, and the number of new dataset types."""

from __future__ import annotations

from uuid import UUID

import pytest
from lsst.daf.butler import (
    DataCoordinate,
    DatasetRef,
    DatasetType,
    DimensionConfig,
    DimensionUniverse,
)

from app.butler.allowed.elements import forbidden_elements
from app.butler.allowed.paths import follows_template
from app.butler.repository.new_types import NewTypes
from models.causes import Cause
from models.errors import NotAllowedError
from tests.support.events import UNIVERSE_7

#: What a pod sends for its visit.
OF_PODS = {
    *("day_obs", "exposure", "group", "visit", "visit_definition", "visit_detector_region"),
    *("visit_system", "visit_system_membership"),
}


@pytest.mark.parametrize("config", [None, UNIVERSE_7])
def test_the_records_of_pods_are_allowed_in_each_universe(config: str | None) -> None:
    universe = DimensionUniverse(DimensionConfig(config) if config else None)
    forbidden = forbidden_elements(universe, ())
    assert not forbidden & OF_PODS
    assert forbidden >= {"instrument", "detector", "physical_filter", "skymap", "tract", "patch"}
    assert "detector" not in forbidden_elements(universe, ("detector",))
    assert forbidden_elements(universe, ("*",)) == set()


RUN = "Cam/prompt/output-2026-11-23/a b"

ID = UUID("11111111-2222-3333-4444-555555555555")

DEFAULT = "{run:/}/{datasetType}.{component:?}/{visit:?}/{datasetType}_{detector.full_name:?}_{run}"


def ref() -> DatasetRef:
    universe = DimensionUniverse()
    kind = DatasetType("log", ("instrument", "visit"), "StructuredDataDict", universe=universe)
    data_id = DataCoordinate.standardize(
        instrument="Cam",
        visit=7,
        day_obs=20261123,
        physical_filter="r",
        band="r",
        universe=universe,
    )
    return DatasetRef(kind, data_id, RUN, id=ID)


@pytest.mark.parametrize(
    ("template", "path", "follows"),
    [
        (DEFAULT, "Cam/prompt/output-2026-11-23/a_b/log/7/log_Cam_prompt.json", True),
        (DEFAULT, "Cam/prompt/output-2026-11-23/other/log/7/log_Cam_prompt.json", False),
        (
            "{instrument}/{visit}/{run}/{datasetType}",
            "Cam/7/Cam_prompt_output-2026-11-23_a_b/log.json",
            True,
        ),
        (
            "{instrument}/{visit}/{run}/{datasetType}",
            "Cam/8/Cam_prompt_output-2026-11-23_a_b/log.json",
            False,
        ),
        ("{instrument}/{visit}/{run}/{datasetType}", "Cam/7/another_run/log.json", False),
        ("all/{datasetType}/{id}", f"all/log/{ID}.json", True),
        ("all/{datasetType}/{id}", f"all/log/{UUID(int=1)}.json", False),
        ("{visit.name}/{id}", f"V7/{ID}", True),
        ("{visit.name}/{id}", "butler.yaml", False),
        ("{visit:06d}/{id}", f"000007/{ID}", True),
    ],
)
def test_a_path_may_be_where_the_file_template_leads_to(
    template: str, path: str, *, follows: bool
) -> None:
    assert follows_template(path, template, ref()) is follows


def test_new_dataset_types_are_counted_for_an_hour() -> None:
    now = [0.0]
    new_types = NewTypes(3, lambda: now[0])
    with new_types.registering(["a", "b"]):
        now[0] = 1800.0
    with pytest.raises(NotAllowedError, match="2 new dataset types, such as 'c', and 1 more") as no:
        new_types.registering(["c", "d"]).__enter__()
    assert no.value.cause is Cause.DATASET_TYPE_NOT_ALLOWED
    with new_types.registering(["c"]):
        pass
    now[0] = 3600.0
    with new_types.registering(["d", "e"]):
        pass
    with pytest.raises(NotAllowedError, match="and 0 more"):
        new_types.registering(["f"]).__enter__()


def test_dataset_types_that_could_not_be_registered_do_not_count() -> None:
    new_types = NewTypes(1)
    for _ in range(3):
        with pytest.raises(OSError, match="away"), new_types.registering(["a"]):
            raise OSError("away")
    with new_types.registering(["a"]):
        pass


def test_no_new_dataset_type_may_be_allowed() -> None:
    with pytest.raises(NotAllowedError), NewTypes(0).registering(["a"]):
        pass
