"""Dimension records that are referred to, and are not there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

import sqlalchemy

from app.butler.outcome import Rejection
from app.butler.statements import Row, matching

__all__ = ["References", "missing_record"]

_Target: TypeAlias = tuple[sqlalchemy.Table, tuple[str, ...]]
"""A table, and the columns of it that foreign keys name."""


class References:
    """What the rows of some events refer to by foreign keys.

    PostgreSQL names one row that refers to nothing, and SQLite none: to set all such events aside
    at once, they are looked for here.
    """

    def __init__(self) -> None:
        self._holders: dict[_Target, dict[Row, set[int]]] = defaultdict(lambda: defaultdict(set))

    def add(self, table: sqlalchemy.Table, values: Mapping[str, Any], position: int) -> None:
        """Add a row's references.

        Parameters
        ----------
        table : `sqlalchemy.Table`
            The row's table.
        values : `~collections.abc.Mapping` [`str`, `~typing.Any`]
            The row, by column; what refers to other columns than these is left out.
        position : `int`
            The event's position in its batch.
        """
        for constraint in table.foreign_key_constraints:
            if all(values.get(column) is not None for column in constraint.column_keys):
                columns = tuple(element.column.name for element in constraint.elements)
                row = tuple(values[column] for column in constraint.column_keys)
                self._holders[constraint.referred_table, columns][row].add(position)

    def columns(self, table: str) -> list[tuple[str, ...]]:
        """Return by which columns of a table it is referred to."""
        return [columns for target, columns in self._holders if target.name == table]

    def dangling(
        self, connection: sqlalchemy.Connection, brought: Collection[tuple[str, Row]]
    ) -> dict[int, Rejection]:
        """Return why events refer to nothing, by their positions.

        Parameters
        ----------
        connection : `sqlalchemy.Connection`
            Connection to the database.
        brought : `~collections.abc.Collection` [`tuple`]
            Tables' names, and rows that the events bring along.
        """
        rejections: dict[int, Rejection] = {}
        for (table, columns), holders in self._holders.items():
            wanted = [row for row in holders if (table.name, row) not in brought]
            there = set(matching(connection, table, columns, wanted, columns))
            for row in wanted:
                if row not in there:
                    rejection = missing_record(table.name, dict(zip(columns, row, strict=True)))
                    for position in holders[row]:
                        rejections.setdefault(position, rejection)
        return rejections


def missing_record(element: str, key: Mapping[str, Any]) -> Rejection:
    """Return the rejection of an event that needs a record which is not there."""
    values = ", ".join(f"{name}={value!r}" for name, value in key.items())
    return Rejection("LookupError", f"there is no {element} with {values}")
