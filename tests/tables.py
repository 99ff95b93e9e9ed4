"""All tables of a repository, in a form in which two repositories can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import sqlalchemy

__all__ = ["Tables", "check_same", "tables_of"]

Tables: TypeAlias = dict[str, list[str]]

#: When it was written: never the same twice.
_TIMES = {"ingest_date"}

#: Keys that the database makes, and the tables that say what they stand for.
_SURROGATES = {
    "collection_id": "collection",
    "run_id": "collection",
    "dataset_type_id": "dataset_type",
}


def tables_of(engine: sqlalchemy.Engine, since: int | None = None) -> Tables:
    """Return the rows of all tables, sorted; what a surrogate key stands for in its place.

    Parameters
    ----------
    engine : `sqlalchemy.Engine`
        The database.
    since : `int`, optional
        Only what was written by this transaction or a later one (PostgreSQL).
    """
    newer = "" if since is None else f" WHERE xmin::text::bigint >= {since}"
    names = sqlalchemy.inspect(engine).get_table_names()
    with engine.connect() as connection:

        def select(columns: str, table: str, condition: str = "") -> Sequence[Any]:
            statement = f'SELECT {columns} FROM "{table}"{condition}'
            return connection.execute(sqlalchemy.text(statement)).all()

        meaning: dict[str, dict[Any, str]] = {
            "collection": dict(select("collection_id, name", "collection")),
            "dataset_type": dict(select("id, name", "dataset_type")),
        }

        def readable(table: str, column: str, value: Any) -> Any:
            if table == "dataset_type" and column == "id":
                return None
            if (keys := _SURROGATES.get(column)) is not None and value is not None:
                return meaning[keys][value]
            return value

        return {
            table: sorted(
                repr(
                    {
                        column: readable(table, column, value)
                        for column, value in row._asdict().items()
                        if column not in _TIMES
                    }
                )
                for row in select("*", table, newer)
            )
            for table in names
        }


def check_same(found: Tables, expected: Tables) -> None:
    """Check that two repositories hold the same.

    Raises
    ------
    AssertionError
        If they do not; the text names a table.
    """
    assert found.keys() == expected.keys()
    for table, rows in expected.items():
        assert found[table] == rows, f"table {table} differs"
