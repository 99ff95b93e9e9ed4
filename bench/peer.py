"""The calls of the deployed service, written from their description.

Events are parsed by pydantic.  ``insertDimensionData`` inserts their dimension records, element by
element and each record once; ``Butler.ingest`` writes their datasets.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from lsst.daf.butler import Butler, DimensionRecord, FileDataset, SerializedDimensionRecord
from lsst.daf.butler._file_dataset import SerializedFileDataset
from pydantic import BaseModel

__all__ = ["PeerWriter"]


class _Event(BaseModel):
    type: str
    dimension_records: list[SerializedDimensionRecord]
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
                records.setdefault(given.definition, {}).setdefault(record.dataId, record)
        files = [
            FileDataset.from_simple(
                given, dataset_type_loader=self._dataset_type, universe=universe
            )
            for event in parsed
            for given in event.datasets
        ]
        for element in universe.sorted(records):
            self._butler.registry.insertDimensionData(
                element, *records[element.name].values(), skip_existing=True
            )
        self._butler.ingest(*files, transfer=None, skip_existing=True, record_validation_info=False)
