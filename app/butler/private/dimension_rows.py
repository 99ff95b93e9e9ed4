"""Read dimension records from their tables.

The query system takes 8 ms for each query, and sends the keys as a temporary table.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from lsst.daf.butler import Butler, DimensionElement, DimensionRecord

from app.butler.private.registry import engine_of
from app.butler.statements import Row, select_by_index, select_by_key

__all__ = ["DimensionRows"]


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

    def records(
        self, connection: sqlalchemy.Connection, element: DimensionElement, keys: Sequence[Row]
    ) -> Iterator[DimensionRecord]:
        """Yield the stored records of an element that have one of some keys."""
        table = self._tables[element.name]
        names = [*table.columns.keys()]
        own = [*element.schema.required.names]
        for row in select_by_index(connection, table, own, keys, names):
            values = dict(zip(names, row, strict=True))
            fields = {
                name: values[name] for name in element.RecordClass.fields.names if name in values
            }
            if element.temporal is not None:
                fields["timespan"] = self._timespans.extract(values)
            yield element.RecordClass(**fields)

    def referring(
        self,
        connection: sqlalchemy.Connection,
        element: DimensionElement,
        columns: Sequence[str],
        values: Collection[Row],
    ) -> Iterator[tuple[Row, Row]]:
        """Yield the values of some columns, and the key, of the records with one of some values."""
        if not values:
            return
        own = [*element.schema.required.names]
        returned = [*own, *columns]
        table = self._tables[element.name]
        for row in select_by_key(connection, table, columns, sorted(values), returned):
            yield row[len(own) :], row[: len(own)]

    def exposures_of(
        self, connection: sqlalchemy.Connection, groups: Collection[Row]
    ) -> Iterator[tuple[Row, Row, Any]]:
        """Yield the exposures of groups, each with a visit that it belongs to, or with `None`.

        Yields
        ------
        group, exposure : `tuple`
            The key of the group, and that of the exposure.
        visit : `int` or `None`
            A visit; an exposure comes once for each.
        """
        columns = ["instrument", "group"]
        returned = [*columns, "id", "visit"]
        for row in select_by_key(connection, self._exposures, columns, sorted(groups), returned):
            instrument, group, exposure, visit = row
            yield (instrument, group), (instrument, exposure), visit


def _exposures_with_visits(tables: Mapping[str, sqlalchemy.Table]) -> sqlalchemy.Subquery:
    exposure, definition = tables["exposure"].columns, tables["visit_definition"].columns
    is_defined = sqlalchemy.and_(
        definition["instrument"] == exposure["instrument"],
        definition["exposure"] == exposure["id"],
    )
    both = sqlalchemy.outerjoin(tables["exposure"], tables["visit_definition"], is_defined)
    selected = exposure["instrument"], exposure["group"], exposure["id"], definition["visit"]
    return sqlalchemy.select(*selected).select_from(both).subquery()
