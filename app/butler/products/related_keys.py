"""Find the dimension records that a data ID leads to only by way of other records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeAlias

import sqlalchemy
from lsst.daf.butler import DimensionElement, DimensionUniverse

from app.butler.private.dimension_rows import DimensionRows
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

    def defining(
        self, connection: sqlalchemy.Connection, visits: Collection[Row]
    ) -> dict[Row, list[RecordId]]:
        """Return the keys of the records that define each of some visits."""
        found: defaultdict[Row, list[RecordId]] = defaultdict(list)
        for name in _DEFINING:
            for visit, key in self._referring(connection, name, "visit", visits):
                found[visit].append(key)
        return found

    def exposures(
        self, connection: sqlalchemy.Connection, groups: Collection[Row]
    ) -> dict[RecordId, list[RecordId]]:
        """Return the keys of the exposures of groups, and of what makes visits of them.

        They are not remembered: another exposure of the group may come at any moment.
        """
        found: defaultdict[RecordId, list[RecordId]] = defaultdict(list)
        definition = self._universe["visit_definition"]
        for group, exposure, visit in self._rows.exposures_of(connection, groups):
            of_group = found["group", group]
            of_group.append(("exposure", exposure))
            if visit is not None:
                instrument, number = exposure
                values = {"instrument": instrument, "exposure": number, "visit": visit}
                of_group.append(key_of(definition, values))
        return found

    def filters(self, connection: sqlalchemy.Connection, band: str) -> list[RecordId]:
        """Return the keys of the physical filters of a band: a band has no record of its own."""
        element = self._universe["physical_filter"]
        found = self._rows.referring(connection, element, ["band"], [(band,)])
        return [(element.name, key) for _, key in found]

    def _referring(
        self, connection: sqlalchemy.Connection, name: str, dimension: str, values: Collection[Row]
    ) -> Iterator[tuple[Row, RecordId]]:
        """Yield the records of an element that refer to one of some records of a dimension.

        Yields
        ------
        values : `tuple`
            The one that it refers to.
        key : `RecordId`
            Its own key.
        """
        columns = [*self._universe[dimension].required.names]
        element = self._universe[name]
        for found, key in self._rows.referring(connection, element, columns, values):
            yield found, (name, key)
