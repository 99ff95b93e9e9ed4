"""Find the dimension records that a data ID leads to only by way of other records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import sqlalchemy
from lsst.daf.butler import DimensionElement, DimensionUniverse

from app.butler.events.parsed import RecordKey
from app.butler.private.dimension_rows import DimensionRows
from app.butler.statements import Row

__all__ = ["RelatedKeys", "key_of"]

#: What makes a visit: the exposures that it consists of, and the systems that it belongs to.
_DEFINING = ("visit_definition", "visit_system_membership")


def key_of(element: DimensionElement, values: Mapping[str, Any]) -> RecordKey:
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
    ) -> dict[Row, list[RecordKey]]:
        """Return the keys of the records that define each of some visits."""
        found: defaultdict[Row, list[RecordKey]] = defaultdict(list)
        for name in _DEFINING:
            for visit, key in self._referring(connection, name, "visit", visits):
                found[visit].append(key)
        return found

    def exposures(
        self, connection: sqlalchemy.Connection, groups: Collection[Row]
    ) -> dict[RecordKey, list[RecordKey]]:
        """Return the keys of the exposures of groups, and of what makes visits of them.

        They are not remembered: another exposure of the group may come at any moment.
        """
        found: defaultdict[RecordKey, list[RecordKey]] = defaultdict(list)
        group_of: dict[Row, RecordKey] = {}
        for group, key in self._referring(connection, "exposure", "group", groups):
            found["group", group].append(key)
            group_of[key[1]] = "group", group
        definitions = self._referring(connection, "visit_definition", "exposure", [*group_of])
        for exposure, key in definitions:
            found[group_of[exposure]].append(key)
        return found

    def filters(self, connection: sqlalchemy.Connection, band: str) -> list[RecordKey]:
        """Return the keys of the physical filters of a band: a band has no record of its own."""
        element = self._universe["physical_filter"]
        found = self._rows.referring(connection, element, ["band"], [(band,)])
        return [(element.name, key) for _, key in found]

    def _referring(
        self, connection: sqlalchemy.Connection, name: str, dimension: str, values: Collection[Row]
    ) -> Iterator[tuple[Row, RecordKey]]:
        """Yield the records of an element that refer to one of some records of a dimension.

        Yields
        ------
        values : `tuple`
            The one that it refers to.
        key : `RecordKey`
            Its own key.
        """
        columns = [*self._universe[dimension].required.names]
        element = self._universe[name]
        for found, key in self._rows.referring(connection, element, columns, values):
            yield found, (name, key)
