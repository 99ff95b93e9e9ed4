"""Read dimension records from their tables.

The query system takes 8 ms for each query, and sends the keys as a temporary table.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import sqlalchemy
from lsst.daf.butler import Butler, DimensionElement, DimensionRecord

from app.butler.private.registry import engine_of
from app.butler.statements import Lookup, Row, select_together

__all__ = ["DimensionRows", "Fetch"]


class Fetch(NamedTuple):
    """Rows that `DimensionRows.fetch` looks for.

    Attributes
    ----------
    lookup : `Lookup`
        Where they are.
    make : `~collections.abc.Callable`
        What each becomes.
    """

    lookup: Lookup
    make: Callable[[Row], Any]


class DimensionRows:
    """The tables of dimension elements, read on a connection of their own.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    """

    def __init__(self, butler: Butler) -> None:
        registry: Any = butler._registry  # type: ignore[attr-defined]
        self._tables: dict[str, sqlalchemy.Table] = registry._managers.dimensions._tables
        self._timespans = registry._db.getTimespanRepresentation()
        self._engine = engine_of(butler)
        self._exposures = _exposures_with_visits(self._tables)

    @contextmanager
    def connection(self) -> Iterator[sqlalchemy.Connection]:
        """Return a context with a connection; Butler's own is of no use after an error."""
        with self._engine.connect() as connection:
            yield connection

    def fetch(self, connection: sqlalchemy.Connection, fetches: Sequence[Fetch]) -> list[list[Any]]:
        """Look for rows, with one message to PostgreSQL; return what each of them is made into."""
        asked = [each for each in fetches if each.lookup.keys]
        found = iter(select_together(connection, [each.lookup for each in asked]))
        return [[*map(each.make, next(found))] if each.lookup.keys else [] for each in fetches]

    def records(self, element: DimensionElement, keys: Collection[Row]) -> Fetch:
        """Return what fetches the stored records of an element that have one of some keys."""
        table = self._tables[element.name]
        names = [*table.columns.keys()]
        own = [*element.schema.required.names]

        def make(row: Row) -> DimensionRecord:
            values = dict(zip(names, row, strict=True))
            fields = {
                name: values[name] for name in element.RecordClass.fields.names if name in values
            }
            if element.temporal is not None:
                fields["timespan"] = self._timespans.extract(values)
            return element.RecordClass(**fields)

        return Fetch(Lookup(table, own, sorted(keys), names, by_index=True), make)

    def referring(
        self, element: DimensionElement, columns: Sequence[str], values: Collection[Row]
    ) -> Fetch:
        """Return what fetches the records with one of some values of some columns.

        Each is a tuple of the values of these columns, and one of the record's key.
        """
        own = [*element.schema.required.names]
        lookup = Lookup(self._tables[element.name], columns, sorted(values), [*own, *columns])
        return Fetch(lookup, lambda row: (row[len(own) :], row[: len(own)]))

    def exposures_of(self, groups: Collection[Row]) -> Fetch:
        """Return what fetches the exposures of groups, each with a visit that it belongs to.

        Each is a tuple of the group's key, the exposure's, and the visit or `None`; an exposure
        comes once for each visit.
        """
        columns = ["instrument", "group"]
        lookup = Lookup(self._exposures, columns, sorted(groups), [*columns, "id", "visit"])
        return Fetch(lookup, lambda row: (row[:2], (row[0], row[2]), row[3]))


def _exposures_with_visits(tables: Mapping[str, sqlalchemy.Table]) -> sqlalchemy.Subquery:
    exposure, definition = tables["exposure"].columns, tables["visit_definition"].columns
    is_defined = sqlalchemy.and_(
        definition["instrument"] == exposure["instrument"],
        definition["exposure"] == exposure["id"],
    )
    both = sqlalchemy.outerjoin(tables["exposure"], tables["visit_definition"], is_defined)
    selected = exposure["instrument"], exposure["group"], exposure["id"], definition["visit"]
    return sqlalchemy.select(*selected).select_from(both).subquery()
