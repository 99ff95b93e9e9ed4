"""Rows that any repository should take, made from nothing of an event."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

import sqlalchemy
from astropy.time import Time
from lsst.daf.butler import ddl

__all__ = ["NoRowError", "ProbeRows"]


class NoRowError(Exception):
    """No row can be made for a table."""


class ProbeRows:
    """Inserts one row, or several with one statement, into each of some tables.

    The keys are new, and the foreign keys refer to each other: for a table that the write does not
    touch, an existing row is used, if there is one.  But a key that consists of foreign keys alone
    is new only if it refers to a new row.  All columns are named, as in a real write, so that a
    column that was renamed is noticed.

    Parameters
    ----------
    connection : `sqlalchemy.Connection`
        Connection to the database, in a transaction that will be rolled back.
    tables : `~collections.abc.Collection` [`sqlalchemy.Table`]
        The tables that the write touches.
    values : `~collections.abc.Mapping` [`str`, `~typing.Any`]
        The values of columns, by their names, for which any value would not do.
    number : `int`, optional
        How many rows each table gets.
    """

    def __init__(
        self,
        connection: sqlalchemy.Connection,
        tables: Collection[sqlalchemy.Table],
        values: Mapping[str, Any],
        number: int = 1,
    ) -> None:
        self._connection = connection
        self._tables = tables
        self._values = values
        self._number = number
        self._rows: dict[str, Sequence[Mapping[str, Any]]] = {}
        self._existing: set[str] = set()

    def insert(self) -> None:
        """Insert the rows.

        Raises
        ------
        NoRowError
            If no row can be made for a table.
        sqlalchemy.exc.DBAPIError
            If the database takes no row.
        """
        for table in self._tables:
            self._rows_of(table, [{}])

    def _rows_of(
        self, table: sqlalchemy.Table, given: Sequence[Mapping[str, Any]]
    ) -> Sequence[Mapping[str, Any]]:
        """Return the rows of a table, which are inserted unless they were before.

        There is one for each new row of a table that refers to them, or one for all.
        """
        if (known := self._rows.get(table.name)) is None:
            known = self._rows[table.name] = self._inserted(table, given)
        return known

    def _inserted(
        self, table: sqlalchemy.Table, given: Sequence[Mapping[str, Any]]
    ) -> list[Mapping[str, Any]]:
        rows = [dict(given[n % len(given)]) for n in range(self._number)]
        keys = _required_keys(table)
        referring = {name for key in keys for name in key.column_keys}
        is_new = any(column.name not in referring for column in table.primary_key) or any(
            key.referred_table in self._tables for key in keys
        )
        for key in keys:
            pairs = [(e.parent.name, e.column.name) for e in key.elements]
            fixed = [{to: row[name] for name, to in pairs if name in row} for row in rows]
            may_exist = is_new or key is not keys[-1]
            parents = self._parents(key.referred_table, fixed, may_exist=may_exist)
            for n, row in enumerate(rows):
                parent = parents[n % len(parents)]
                row.update({name: parent[to] for name, to in pairs})
        columns = table.columns.keys()
        for row in rows:
            row.update({name: self._values[name] for name in columns if name in self._values})
            for column in table.columns:
                if column.name not in row and column is not table.autoincrement_column:
                    row[column.name] = None if _may_be_null(column) else _value(column)
        return self._insert(table, rows)

    def _insert(
        self, table: sqlalchemy.Table, rows: list[dict[str, Any]]
    ) -> list[Mapping[str, Any]]:
        names = [column.name for column in table.primary_key]
        if self._number == 1:
            result = self._connection.execute(table.insert().values(rows[0]))
            keys = [] if result.rowcount == 0 else [result.inserted_primary_key or ()]
        else:  # SQLAlchemy sends many rows together only if they return something
            returned = table.insert().returning(*table.primary_key)
            keys = [*self._connection.execute(returned, rows)]
        if len(keys) < len(rows):
            raise NoRowError(f"the row for the table {table.name} was not inserted")
        # Which of the rows has which key does not matter.
        return [
            {**row, **dict(zip(names, key, strict=False))}
            for row, key in zip(rows, keys, strict=True)
        ]

    def _parents(
        self, table: sqlalchemy.Table, fixed: Sequence[Mapping[str, Any]], *, may_exist: bool
    ) -> Sequence[Mapping[str, Any]]:
        if not may_exist and table.name in self._existing:
            self._existing.remove(table.name)
            del self._rows[table.name]
        is_same = all(each == fixed[0] for each in fixed)
        if may_exist and is_same and table.name not in self._rows and table not in self._tables:
            conditions = [table.columns[name] == value for name, value in fixed[0].items()]
            keys = sqlalchemy.select(*table.primary_key).where(*conditions).limit(1)
            if (found := self._connection.execute(keys).mappings().first()) is not None:
                self._rows[table.name] = [dict(found)]
                self._existing.add(table.name)
        return self._rows_of(table, fixed)


def _required_keys(table: sqlalchemy.Table) -> list[sqlalchemy.ForeignKeyConstraint]:
    """Return the foreign keys that may not be null.

    Those with one column come first: they decide on the instrument, which others contain.
    """
    required = [
        key
        for key in table.foreign_key_constraints
        if not any(_may_be_null(table.columns[name]) for name in key.column_keys)
    ]
    return sorted(required, key=lambda key: (len(key.column_keys), key.referred_table.name))


def _may_be_null(column: sqlalchemy.Column[Any]) -> bool:
    # Butler declares the primary key of the table ``obscore`` as nullable; no database makes it so.
    return bool(column.nullable) and not column.primary_key


def _value(column: sqlalchemy.Column[Any]) -> Any:
    """Return a value for a column, different each time where its type allows that."""
    kind = column.type
    if isinstance(kind, sqlalchemy.String):
        return f"probe-{secrets.token_hex(8)}"[: kind.length]
    for known, make in _VALUES:
        if isinstance(kind, known):
            return make()
    raise NoRowError(f"no value is known for {column.table.name}.{column.name}")


#: Values of columns of each type; the first match counts.
_VALUES: tuple[tuple[type[sqlalchemy.types.TypeEngine[Any]], Callable[[], Any]], ...] = (
    (ddl.GUID, uuid4),
    (ddl.AstropyTimeNsecTai, Time.now),
    (sqlalchemy.DateTime, partial(datetime.now, UTC)),
    (sqlalchemy.Boolean, bool),
    (sqlalchemy.SmallInteger, lambda: 1),
    (sqlalchemy.Integer, partial(secrets.randbelow, 2**31)),
    (sqlalchemy.Float, float),
)
