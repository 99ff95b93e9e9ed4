"""Which datasets of a written event have no visit, exposure or group."""

from __future__ import annotations

from uuid import uuid4

import pytest
from lsst.daf.butler import DataCoordinate, DatasetRef, DatasetType, DimensionUniverse

from app.butler.commit.division import written_outcome
from app.butler.events.parsed import Artifact, ParsedEvent


def ref(*dimensions: str) -> DatasetRef:
    universe = DimensionUniverse()
    kind = DatasetType("a", dimensions, "StructuredDataDict", universe=universe)
    values: dict[str, int | str] = {
        "instrument": "TestCam",
        "detector": 1,
        "visit": 2,
        "exposure": 3,
        "group": "g",
    }
    given = {name: values[name] for name in kind.dimensions.required}
    return DatasetRef(kind, DataCoordinate.standardize(given, dimensions=kind.dimensions), "run")


@pytest.mark.parametrize(
    ("dimensions", "is_observed"),
    [
        ((), False),
        (("instrument",), False),
        (("detector",), False),
        (("visit",), True),
        (("visit", "detector"), True),
        (("exposure",), True),
        (("group", "detector"), True),
    ],
)
def test_a_dataset_is_observed_if_it_has_a_visit_an_exposure_or_a_group(
    dimensions: tuple[str, ...], *, is_observed: bool
) -> None:
    refs = [ref(*dimensions), ref("visit")]
    event = ParsedEvent({}, [Artifact(str(uuid4()), "f", [each], {}) for each in refs], ())
    written = written_outcome(event)
    assert written.dataset_ids == tuple(each.id for each in refs)
    assert written.unobserved == (() if is_observed else (refs[0].id,))
