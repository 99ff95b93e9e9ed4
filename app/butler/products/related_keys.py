"""Find the dimension records that a data ID leads to only by way of other records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from lsst.daf.butler import Butler, DimensionElement

from app.butler.events.parsed import RecordKey
from app.butler.private.registry import RegistryTables
from app.butler.statements import select_by_key

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
    butler : `lsst.daf.butler.Butler`
        The repository.
    """

    def __init__(self, butler: Butler) -> None:
        self._universe = butler.dimensions
        self._tables = RegistryTables(butler)

    def defining(self, visits: Collection[RecordKey]) -> dict[RecordKey, list[RecordKey]]:
        """Return the keys of the records that define each of some visits."""
        found: defaultdict[RecordKey, list[RecordKey]] = defaultdict(list)
        for name in _DEFINING:
            for visit, key in self._referring(name, "visit", [values for _, values in visits]):
                found["visit", visit].append(key)
        return found

    def exposures(self, groups: Collection[tuple[Any, ...]]) -> dict[RecordKey, list[RecordKey]]:
        """Return the keys of the exposures of groups, and of what makes visits of them.

        They are not remembered: another exposure of the group may come at any moment.
        """
        found: defaultdict[RecordKey, list[RecordKey]] = defaultdict(list)
        group_of: dict[tuple[Any, ...], RecordKey] = {}
        for group, key in self._referring("exposure", "group", groups):
            found["group", group].append(key)
            group_of[key[1]] = "group", group
        for exposure, key in self._referring("visit_definition", "exposure", [*group_of]):
            found[group_of[exposure]].append(key)
        return found

    def filters(self, band: str) -> list[RecordKey]:
        """Return the keys of the physical filters of a band: a band has no record of its own."""
        element = self._universe["physical_filter"]
        columns = [*element.schema.required.names]
        with self._tables.connection() as connection:
            table = self._tables.element(element.name)
            rows = [*select_by_key(connection, table, ["band"], [(band,)], columns)]
        return [(element.name, row) for row in rows]

    def _referring(
        self, name: str, dimension: str, values: Collection[tuple[Any, ...]]
    ) -> Iterator[tuple[tuple[Any, ...], RecordKey]]:
        """Yield the key of each record of an element that refers to one of some records.

        Yields
        ------
        values : `tuple`
            The one that it refers to.
        key : `RecordKey`
            Its own key.
        """
        if not values or name not in self._universe.elements:
            return
        element = self._universe[name]
        columns = [*self._universe[dimension].required.names]
        own = [*element.schema.required.names]
        returned = [*own, *columns]
        with self._tables.connection() as connection:
            table = self._tables.element(name)
            rows = [*select_by_key(connection, table, columns, sorted(values), returned)]
        for row in rows:
            yield row[len(own) :], (name, row[: len(own)])
