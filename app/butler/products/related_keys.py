"""Find the dimension records that a data ID leads to only by way of other records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from lsst.daf.butler import DimensionElement, DimensionUniverse

from app.butler.private.dimension_rows import DimensionRows, Fetch
from app.butler.statements import Row

__all__ = ["RecordId", "RelatedKeys", "key_of"]

RecordId: TypeAlias = tuple[str, Row]
"""The element of a dimension record, and its required values."""

#: What makes a visit: the exposures that it consists of, and the systems that it belongs to.
_DEFINING = ("visit_definition", "visit_system_membership")


def key_of(element: DimensionElement, values: Mapping[str, Any]) -> RecordId:
    """Return the key of an element's record, from the values of dimensions."""
    return element.name, tuple([values[name] for name in element.required.names])


class RelatedKeys:
    """Finds the keys of records by what they refer to, with a statement for each kind.

    Parameters
    ----------
    universe : `lsst.daf.butler.DimensionUniverse`
        The dimension universe.
    rows : `DimensionRows`
        The repository's dimension records.
    """

    def __init__(self, universe: DimensionUniverse, rows: DimensionRows) -> None:
        self._universe = universe
        self._rows = rows

    def defining(self, visits: Collection[Row]) -> list[Fetch]:
        """Return what fetches the records that define visits, as pairs of a visit and a key."""
        columns = [*self._universe["visit"].required.names]
        return [self._keys_of(name, columns, visits) for name in _DEFINING]

    def leading(self, groups: Collection[Row], bands: Iterable[str]) -> list[Fetch]:
        """Return what fetches the records to which groups and bands lead, for `leading_to`.

        They are not remembered: another exposure of the group may come at any moment.  A band has
        no record of its own, but physical filters.
        """
        values = [(band,) for band in bands]
        filters = self._rows.referring(self._universe["physical_filter"], ["band"], values)
        return [self._rows.exposures_of(groups), filters]

    def leading_to(
        self, exposures: Iterable[tuple[Row, Row, Any]], filters: Iterable[tuple[Row, Row]]
    ) -> dict[RecordId, list[RecordId]]:
        """Return the keys of exposures, of what makes visits of them, and of physical filters.

        Parameters
        ----------
        exposures, filters : `~collections.abc.Iterable`
            What was fetched.

        Returns
        -------
        keys : `dict`
            Them, by the keys of their groups and bands.
        """
        found: defaultdict[RecordId, list[RecordId]] = defaultdict(list)
        definition = self._universe["visit_definition"]
        for group, exposure, visit in exposures:
            of_group = found["group", group]
            of_group.append(("exposure", exposure))
            if visit is not None:
                instrument, number = exposure
                values = {"instrument": instrument, "exposure": number, "visit": visit}
                of_group.append(key_of(definition, values))
        for band, key in filters:
            found["band", band].append(("physical_filter", key))
        return found

    def _keys_of(self, name: str, columns: Sequence[str], values: Collection[Row]) -> Fetch:
        lookup, make = self._rows.referring(self._universe[name], columns, values)

        def with_name(row: Row) -> tuple[Row, RecordId]:
            value, key = make(row)
            return value, (name, key)

        return Fetch(lookup, with_name)
