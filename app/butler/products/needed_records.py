"""The dimension records that another repository needs for a data ID."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import sqlalchemy
from lsst.daf.butler import Butler, DataCoordinate, DimensionElement, DimensionGroup

from app.butler.events.parsed import RecordKey
from app.butler.private.dimension_rows import DimensionRows
from app.butler.products.related_keys import RelatedKeys, key_of
from app.butler.products.stored_records import StoredRecord, StoredRecords

__all__ = ["NeededRecords"]


class NeededRecords:
    """Finds the records of data IDs, as the repository has them.

    These are the records of all dimensions, those that these refer to, and what defines a visit:
    its exposures and its systems.  A data ID that has only a group gets the group's exposures, and
    their visits: without them, nobody could tell when the group was observed.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    """

    def __init__(self, butler: Butler) -> None:
        self._universe = butler.dimensions
        self._rows = DimensionRows(butler)
        self._related = RelatedKeys(self._universe, self._rows)
        self._stored = StoredRecords(self._universe, self._rows, self._related)
        self._elements: dict[DimensionGroup, tuple[DimensionElement, ...]] = {}

    def find(
        self, data_ids: Iterable[DataCoordinate]
    ) -> tuple[dict[DataCoordinate, tuple[RecordKey, ...]], dict[RecordKey, bytes]]:
        """Return the keys of the records of each data ID, and each record as in an event."""
        with self._rows.connection() as connection:
            first = self._first_keys(connection, {*data_ids})
            keys = (key for keys in first.values() for key in keys)
            records = self._stored.find(connection, keys)
        needed = {data_id: _reached(keys, records) for data_id, keys in first.items()}
        return needed, {key: record.content for key, record in records.items()}

    def _first_keys(
        self, connection: sqlalchemy.Connection, data_ids: set[DataCoordinate]
    ) -> dict[DataCoordinate, list[RecordKey]]:
        groups = {
            key_of(self._universe["group"], d.required)[1] for d in data_ids if _has_only_group(d)
        }
        exposures = self._related.exposures(connection, groups)
        filters: dict[str, list[RecordKey]] = {}
        first = {}
        for data_id in data_ids:
            values = dict(data_id.required)
            keys = [key_of(element, values) for element in self._elements_of(data_id.dimensions)]
            keys += [
                key for found in keys if found[0] == "group" for key in exposures.get(found, ())
            ]
            if "band" in values:
                band = str(values["band"])
                if band not in filters:
                    filters[band] = self._related.filters(connection, band)
                keys += filters[band]
            first[data_id] = keys
        return first

    def _elements_of(self, dimensions: DimensionGroup) -> tuple[DimensionElement, ...]:
        """Return the elements whose records the required values of a data ID identify."""
        known = self._elements.get(dimensions)
        if known is None:
            given = {*dimensions.required}
            elements = (self._universe[name] for name in dimensions.elements)
            known = self._elements[dimensions] = tuple(
                e for e in elements if e.has_own_table and given.issuperset(e.required.names)
            )
        return known


def _has_only_group(data_id: DataCoordinate) -> bool:
    names = data_id.dimensions.names
    return "group" in names and "exposure" not in names and "visit" not in names


def _reached(
    keys: Iterable[RecordKey], records: Mapping[RecordKey, StoredRecord]
) -> tuple[RecordKey, ...]:
    """Return the stored records that some keys lead to, in a fixed order."""
    reached: dict[RecordKey, None] = {}
    open_keys = [*keys]
    while open_keys:
        key = open_keys.pop()
        if key not in reached and (record := records.get(key)) is not None:
            reached[key] = None
            open_keys += record.leads_to
    return tuple(reached)
