"""The dimension records that another repository needs for a data ID."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lsst.daf.butler import Butler, DataCoordinate, DimensionGroup

from app.butler.private.dimension_rows import DimensionRows
from app.butler.products.related_keys import RecordId, RelatedKeys
from app.butler.products.stored_records import StoredRecord, StoredRecords
from app.butler.statements import Row

__all__ = ["NeededRecords", "Needs"]


@dataclass(frozen=True, slots=True)
class Needs:
    """What data IDs need, as far as it follows from their values.

    Attributes
    ----------
    keys : `dict` [`lsst.daf.butler.DataCoordinate`, `list` [`RecordId`]]
        The keys of the records of each data ID.
    leading : `list` [`tuple` [`RecordId`, `lsst.daf.butler.DataCoordinate`]]
        The groups and bands that data IDs have: other records refer to these.
    groups : `set` [`Row`]
        The groups of the data IDs that have only a group.
    bands : `set` [`str`]
        All bands.
    """

    keys: dict[DataCoordinate, list[RecordId]] = field(default_factory=dict)
    leading: list[tuple[RecordId, DataCoordinate]] = field(default_factory=list)
    groups: set[Row] = field(default_factory=set)
    bands: set[str] = field(default_factory=set)


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
        self._positions: dict[DimensionGroup, tuple[tuple[str, tuple[int, ...]], ...]] = {}

    def needs_of(self, data_ids: Iterable[DataCoordinate]) -> Needs:
        """Return what data IDs need; that asks no database, and any thread may do so."""
        needs = Needs()
        for data_id in data_ids:
            if data_id in needs.keys:
                continue
            values = data_id.required_values
            keys = needs.keys[data_id] = [
                (name, tuple([values[at] for at in positions]))
                for name, positions in self._positions_of(data_id.dimensions)
            ]
            for key in keys:
                if key[0] == "group":
                    needs.leading.append((key, data_id))
                    if _has_only_group(data_id):
                        needs.groups.add(key[1])
            if "band" in data_id.dimensions.required:
                band = str(data_id["band"])
                needs.leading.append((("band", (band,)), data_id))
                needs.bands.add(band)
        return needs

    def find(
        self, needs: Needs
    ) -> tuple[dict[DataCoordinate, tuple[RecordId, ...]], dict[RecordId, bytes]]:
        """Return the keys of the records of each data ID, and each record as in an event."""
        first = dict(needs.keys)
        keys = (key for keys in first.values() for key in keys)
        leading = self._related.leading(needs.groups, needs.bands)
        with self._rows.connection() as connection:
            records, fetched = self._stored.find(connection, keys, leading)
            related = self._related.leading_to(*fetched)
            for key, data_id in needs.leading:
                first[data_id] = [*first[data_id], *related.get(key, ())]
            others = (key for keys in related.values() for key in keys)
            records |= self._stored.find(connection, others)[0]
        needed = {data_id: _reached(keys, records) for data_id, keys in first.items()}
        return needed, {key: record.content for key, record in records.items()}

    def _positions_of(self, dimensions: DimensionGroup) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Return the elements whose records the required values of a data ID identify.

        Each comes with the positions of its key in these values.
        """
        known = self._positions.get(dimensions)
        if known is None:
            given = [*dimensions.required]
            known = self._positions[dimensions] = tuple(
                (element.name, tuple(given.index(name) for name in element.required.names))
                for element in (self._universe[name] for name in dimensions.elements)
                if element.has_own_table and {*given}.issuperset(element.required.names)
            )
        return known


def _has_only_group(data_id: DataCoordinate) -> bool:
    names = data_id.dimensions.names
    return "group" in names and "exposure" not in names and "visit" not in names


def _reached(
    keys: Iterable[RecordId], records: Mapping[RecordId, StoredRecord]
) -> tuple[RecordId, ...]:
    """Return the stored records that some keys lead to, in a fixed order."""
    reached: dict[RecordId, None] = {}
    open_keys = [*keys]
    while open_keys:
        key = open_keys.pop()
        if key not in reached and (record := records.get(key)) is not None:
            reached[key] = None
            open_keys += record.leads_to
    return tuple(reached)
