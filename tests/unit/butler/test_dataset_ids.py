"""The ids of datasets as text."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from lsst.daf.butler import DataCoordinate, DatasetRef, DatasetType, DimensionUniverse

from app.butler.private.dataset_ids import id_text

UNIVERSE = DimensionUniverse()
KIND = DatasetType("a", (), "StructuredDataDict", universe=UNIVERSE)


@given(st.uuids() | st.integers(0, 1000).map(lambda number: UUID(int=number)))
def test_an_id_as_text_is_that_of_its_uuid(dataset_id: UUID) -> None:
    ref = DatasetRef(KIND, DataCoordinate.make_empty(UNIVERSE), "run", id=dataset_id)
    assert id_text(ref) == str(dataset_id)
