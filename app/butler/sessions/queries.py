"""Execute several queries with one message to PostgreSQL: each message costs a round trip."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import sqlalchemy

from app.butler.sessions.messages import executing_together

__all__ = ["Query", "fetch_together"]

Query: TypeAlias = tuple[sqlalchemy.Select[Any], Mapping[str, Any]]
"""A query with its parameters; always the same object of each query, since it is compiled once."""

_Process: TypeAlias = Callable[[Any], Any]

_COMPILED: WeakKeyDictionary[sqlalchemy.Select[Any], sqlalchemy.Compiled] = WeakKeyDictionary()

_PROCESSES: WeakKeyDictionary[sqlalchemy.Select[Any], list[_Process | None]] = WeakKeyDictionary()
"""What makes the values of a query's columns of those of the driver."""


def fetch_together(
    connection: sqlalchemy.Connection, queries: Sequence[Query]
) -> list[list[tuple[Any, ...]]]:
    """Execute queries, all in one message to PostgreSQL, and return the rows of each.

    Parameters
    ----------
    connection : `sqlalchemy.Connection`
        A connection to PostgreSQL.
    queries : `~collections.abc.Sequence` [`Query`]
        The queries.
    """
    if not queries:
        return []
    driver = connection.connection.cursor()
    texts = [
        driver.mogrify(str(compiled), compiled.construct_params(dict(parameters)))
        for query, parameters in queries
        for compiled in [_compiled(query, connection.dialect)]
    ]
    with executing_together(connection, len(texts)):
        result = connection.exec_driver_sql(
            ";".join(texts), execution_options={"no_parameters": True}
        )
    cursor: Any = result.cursor
    found = []
    for number, (query, _) in enumerate(queries):
        cursor.set_result(number - len(queries))  # those of other statements come first
        found.append(_rows(query, cursor, connection.dialect))
    result.close()
    return found


def _compiled(query: sqlalchemy.Select[Any], dialect: sqlalchemy.Dialect) -> sqlalchemy.Compiled:
    compiled = _COMPILED.get(query)
    if compiled is None:
        compiled = _COMPILED[query] = query.compile(dialect=dialect)
    return compiled


def _rows(
    query: sqlalchemy.Select[Any], cursor: Any, dialect: sqlalchemy.Dialect
) -> list[tuple[Any, ...]]:
    if (processes := _PROCESSES.get(query)) is None:
        types = (column.type.dialect_impl(dialect) for column in query.selected_columns)
        processes = _PROCESSES[query] = [
            kind.result_processor(dialect, given.type_code)
            for kind, given in zip(types, cursor.description, strict=True)
        ]
    return [
        tuple(
            value if process is None else process(value)
            for value, process in zip(row, processes, strict=True)
        )
        for row in cursor.fetchall()
    ]
