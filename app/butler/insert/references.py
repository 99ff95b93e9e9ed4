"""Find the events that refer to dimension records which do not exist."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

import sqlalchemy

from app.butler.events.parsed import ParsedEvent
from app.butler.outcome import Rejection
from app.butler.statements import Row, select_by_key
from models.causes import Cause

__all__ = ["References", "missing_record", "text_of"]

_Target: TypeAlias = tuple[sqlalchemy.Table, tuple[str, ...]]
"""A table, and those of its columns that foreign keys refer to."""


class References:
    """The foreign keys in the rows of some events.

    PostgreSQL names only one row whose foreign key refers to nothing, and SQLite names none.  This
    class finds all events with such rows at once.
    """

    def __init__(self) -> None:
        self._referrers: dict[_Target, dict[str, tuple[Row, set[ParsedEvent]]]] = defaultdict(dict)

    def add(self, table: sqlalchemy.Table, values: Mapping[str, Any], event: ParsedEvent) -> None:
        """Add the foreign keys of a row.

        Parameters
        ----------
        table : `sqlalchemy.Table`
            The row's table.
        values : `~collections.abc.Mapping` [`str`, `~typing.Any`]
            The row, by column; foreign keys with other columns than these are left out.
        event : `ParsedEvent`
            The event that the row belongs to.
        """
        for constraint in table.foreign_key_constraints:
            if all(values.get(column) is not None for column in constraint.column_keys):
                columns = tuple(element.column.name for element in constraint.elements)
                row = tuple(values[column] for column in constraint.column_keys)
                referrers = self._referrers[constraint.referred_table, columns]
                referrers.setdefault(text_of(row), (row, set()))[1].add(event)

    def columns(self, table: str) -> list[tuple[str, ...]]:
        """Return the sets of columns of a table that the foreign keys refer to."""
        return [columns for target, columns in self._referrers if target.name == table]

    def dangling(
        self, connection: sqlalchemy.Connection, inserted: Collection[tuple[str, str]]
    ) -> dict[ParsedEvent, Rejection]:
        """Return the rejections of the events that refer to rows which do not exist.

        Parameters
        ----------
        connection : `sqlalchemy.Connection`
            Connection to the database.
        inserted : `~collections.abc.Collection` [`tuple`]
            Table names, and the `text_of` rows that the events themselves insert.
        """
        rejections: dict[ParsedEvent, Rejection] = {}
        for (table, columns), referrers in self._referrers.items():
            required = {
                t: row for t, (row, _) in referrers.items() if (table.name, t) not in inserted
            }
            rows = [*required.values()]
            found = set(map(text_of, select_by_key(connection, table, columns, rows, columns)))
            for text, row in required.items():
                if text not in found:
                    rejection = missing_record(table.name, dict(zip(columns, row, strict=True)))
                    for event in referrers[text][1]:
                        rejections.setdefault(event, rejection)
        return rejections


def text_of(row: Row) -> str:
    """Return a row as a text, whose hash cannot be foreseen (see `RecordKey`)."""
    return repr(row)


def missing_record(element: str, key: Mapping[str, Any]) -> Rejection:
    """Return the rejection of an event that refers to a dimension record which does not exist."""
    values = ", ".join(f"{name}={value!r}" for name, value in key.items())
    return Rejection(Cause.MISSING_DIMENSION_RECORD, f"there is no {element} with {values}")
