"""The calls of the deployed service, written from their description.

Events are parsed by pydantic.  ``insertDimensionData`` inserts their dimension records, element by
element and each record once; ``Butler.ingest`` writes their datasets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Literal

from lsst.daf.butler import (
    Butler,
    DatasetType,
    DimensionRecord,
    FileDataset,
    SerializedDatasetType,
    SerializedDimensionRecord,
)
from lsst.daf.butler._file_dataset import SerializedFileDataset
from pydantic import BaseModel, Field

__all__ = ["PeerWriter"]


class _Event(BaseModel):
    type: Literal["pp-output"]
    dimension_records: list[SerializedDimensionRecord]
    dataset_types: list[SerializedDatasetType] = Field(default_factory=list)
    datasets: list[SerializedFileDataset]


class PeerWriter:
    """Writes windows of events with public methods.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The Butler that writes.
    """

    def __init__(self, butler: Butler) -> None:
        self._butler = butler
        self._dataset_type = cache(butler.get_dataset_type)

    def write(self, events: Sequence[bytes]) -> None:
        """Write a window."""
        universe = self._butler.dimensions
        parsed = [_Event.model_validate_json(event) for event in events]
        records: dict[str, dict[Any, DimensionRecord]] = {}
        for event in parsed:
            for given in event.dimension_records:
                record = DimensionRecord.from_simple(given, universe=universe)
                records.setdefault(given.definition, {})[record.dataId] = record
        files = [file for event in parsed for file in self._files(event)]
        for element in universe.sorted(records):
            self._butler.registry.insertDimensionData(
                element, *records[element.name].values(), skip_existing=True
            )
        self._butler.ingest(*files, transfer=None, skip_existing=True, record_validation_info=False)

    def _files(self, event: _Event) -> Iterator[FileDataset]:
        universe = self._butler.dimensions
        given_types = {
            given.name: DatasetType.from_simple(given, universe=universe)
            for given in event.dataset_types
        }
        for given in event.datasets:
            yield FileDataset.from_simple(
                given,
                dataset_type_loader=lambda name: given_types.get(name) or self._dataset_type(name),
                universe=universe,
            )
