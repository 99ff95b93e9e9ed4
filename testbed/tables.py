"""Reads all tables of a repository so that two repositories can be compared."""

from __future__ import annotations

from typing import Any, TypeAlias

import sqlalchemy

__all__ = ["Tables", "check_same", "tables_of"]

Tables: TypeAlias = dict[str, list[str]]

#: Columns with the time of writing, which always differs.
_TIMES = {"ingest_date"}

#: Keys that the database generates, and the tables that say what they stand for.
_SURROGATES = {
    "collection_id": "collection",
    "run_id": "collection",
    "parent": "collection",
    "child": "collection",
    "dataset_type_id": "dataset_type",
}


def tables_of(engine: sqlalchemy.Engine, since: int | None = None) -> Tables:
    """Return the sorted rows of all tables, with values instead of surrogate keys.

    Parameters
    ----------
    engine : `sqlalchemy.Engine`
        The database.
    since : `int`, optional
        Return only rows that this transaction or a later one wrote (PostgreSQL).
    """
    newer = "" if since is None else f" WHERE xmin::text::bigint >= {since}"
    names = sqlalchemy.inspect(engine).get_table_names()
    with engine.connect() as connection:

        def select(columns: str, table: str, condition: str = "") -> Any:
            statement = f'SELECT {columns} FROM "{table}"{condition}'
            return connection.execute(sqlalchemy.text(statement))

        meanings: dict[str, dict[Any, str | None]] = {
            "collection": {None: None, **dict(select("collection_id, name", "collection").all())},
            "dataset_type": {None: None, **dict(select("id, name", "dataset_type").all())},
        }
        return {table: _texts(table, select("*", table, newer), meanings) for table in names}


def _texts(
    table: str, rows: sqlalchemy.CursorResult[Any], meanings: dict[str, dict[Any, str | None]]
) -> list[str]:
    columns = [
        (index, column, meanings[_SURROGATES[column]] if column in _SURROGATES else None)
        for index, column in enumerate(rows.keys())
        if column not in _TIMES and (table, column) != ("dataset_type", "id")
    ]
    return sorted(
        repr(
            {
                column: row[index] if meaning is None else meaning[row[index]]
                for index, column, meaning in columns
            }
        )
        for row in rows
    )


def check_same(found: Tables, expected: Tables) -> None:
    """Check that two repositories have the same content.

    Raises
    ------
    AssertionError
        If they differ; the text names a table.
    """
    assert found.keys() == expected.keys(), f"tables differ: {found.keys() ^ expected.keys()}"
    for table, rows in expected.items():
        assert found[table] == rows, f"table {table} differs"
