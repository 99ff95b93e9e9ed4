"""Rows of a table, thousands in one statement: appended, or looked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import sqlalchemy
from lsst.utils.iteration import chunk_iterable
from sqlalchemy.dialects import postgresql

__all__ = ["Addition", "Row", "append", "holding", "matching"]

Row: TypeAlias = tuple[Any, ...]

#: How many parameters a statement takes: SQLite's default bound is 32,766.
_PARAMETERS = 30_000

#: Stands for `None` among texts: no text in PostgreSQL can have this character.
_NULL = "\0"

_POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Addition:
    """Rows to append to a table.

    Attributes
    ----------
    table : `sqlalchemy.Table`
        The table.
    columns : `~collections.abc.Sequence` [`str`]
        Names of the columns that the rows have.
    rows : `~collections.abc.Iterable` [`tuple`]
        Values whose text the database reads as the columns' types: numbers, strings, UUIDs, `None`.
    same : `~collections.abc.Mapping` [`str`, `~typing.Any`]
        Further columns, whose value is the same in all rows.
    """

    table: sqlalchemy.Table
    columns: Sequence[str]
    rows: Iterable[Row]
    same: Mapping[str, Any] = field(default_factory=dict)


def append(connection: sqlalchemy.Connection, additions: Iterable[Addition]) -> None:
    """Append rows to tables, in turn; while the database takes some, the next are made ready.

    To PostgreSQL each column goes as one array: as fast as COPY, and twice as fast as an INSERT for
    each row, pipelined (our measurement on PostgreSQL 15).  Not COPY, which is not one message (see
    `app.butler.repository.sessions`).

    Parameters
    ----------
    connection : `sqlalchemy.Connection`
        In a transaction.
    additions : `~collections.abc.Iterable` [`Addition`]
        The rows; those that are made as they are taken are made in another thread.

    Raises
    ------
    sqlalchemy.exc.DBAPIError
        If the database refuses one of them.
    """
    ready = _one_statement if connection.dialect.name == "postgresql" else _many_times
    with ThreadPoolExecutor(1, thread_name_prefix="rows") as thread:
        for statement in [thread.submit(ready, addition) for addition in additions]:
            if insertion := statement.result():
                connection.execute(*insertion)


def _many_times(addition: Addition) -> tuple[sqlalchemy.Insert, list[dict[str, Any]]] | None:
    """Return a statement that appends a row, and the rows."""
    rows = [dict(zip(addition.columns, row, strict=True), **addition.same) for row in addition.rows]
    return (addition.table.insert(), rows) if rows else None


def _one_statement(addition: Addition) -> tuple[sqlalchemy.Insert] | None:
    """Return a statement that appends all rows."""
    if not (rows := list(addition.rows)):
        return None
    table = addition.table
    given = _unnested(table, addition.columns, rows)
    constants = (
        sqlalchemy.literal(value, table.columns[name].type) for name, value in addition.same.items()
    )
    selected = sqlalchemy.select(*given.columns, *constants)
    columns = [*addition.columns, *addition.same]
    return (table.insert().from_select(columns, selected, include_defaults=False),)


class _ArrayText(sqlalchemy.types.UserDefinedType[str]):
    """An array that is sent as its text.

    The literal itself is typed (``'{...}'::BIGINT[]``), so that the server reads it once: a cast of
    a text is made by the planner, for an estimate, and again by the execution (our measurement:
    85 ms of the 1.4 s that the database takes for 189 events of 100 datasets).
    """

    cache_ok = True
    render_bind_cast = True

    def __init__(self, element: str) -> None:
        self.element = element

    @classmethod
    def of(cls, column: sqlalchemy.Column[Any]) -> _ArrayText:
        """Return the type of an array of a column's values."""
        # Not VARCHAR(n): an explicit cast to that cuts off what is too long, without a word.
        kind = sqlalchemy.Text() if isinstance(column.type, sqlalchemy.String) else column.type
        return cls(kind.compile(_POSTGRESQL))

    def get_col_spec(self, **_: Any) -> str:
        """Return the type's name."""
        return f"{self.element}[]"


def _unnested(
    table: sqlalchemy.Table, columns: Sequence[str], rows: Sequence[Row]
) -> sqlalchemy.TableValuedAlias:
    """Return rows as a table of PostgreSQL, which is sent as one array for each column."""
    arrays = (
        sqlalchemy.literal(_array_text(values), _ArrayText.of(table.columns[name]))
        for name, values in zip(columns, zip(*rows, strict=True), strict=True)
    )
    return sqlalchemy.func.unnest(*arrays).table_valued(*columns).render_derived()


def _array_text(values: Sequence[Any]) -> str:
    """Return the text of a PostgreSQL array (the driver's own way takes 5 times as long)."""
    texts = [_NULL if value is None else str(value) for value in values]
    plain = "".join(texts)
    if '"' in plain or "\\" in plain:  # PostgreSQL manual, 8.15.6
        texts = [text.replace("\\", r"\\").replace('"', r"\"") for text in texts]
    return ('{"' + '","'.join(texts) + '"}').replace(f'"{_NULL}"', "NULL")


def matching(
    connection: sqlalchemy.Connection,
    table: sqlalchemy.Table,
    columns: Sequence[str],
    keys: Sequence[Row],
    returned: Sequence[str],
) -> Iterator[Row]:
    """Look for the rows of a table that have one of some keys.

    By a column that alone tells rows apart this is quick in any state of the table.  By several, it
    is as good as the planner's statistics, which know nothing of tonight's visits (our measurement:
    35 keys took 139 ms, 6,000 took 3 s): see `holding`.

    Parameters
    ----------
    connection : `sqlalchemy.Connection`
        Connection to the database.
    table : `sqlalchemy.Table`
        The table.
    columns : `~collections.abc.Sequence` [`str`]
        Names of the columns that the keys have.
    keys : `~collections.abc.Sequence` [`tuple`]
        The keys, none twice.
    returned : `~collections.abc.Sequence` [`str`]
        Names of the columns that are returned.

    Yields
    ------
    row : `tuple`
        Its values.
    """
    if not keys:
        return
    given = [table.columns[name] for name in columns]
    selected = sqlalchemy.select(*(table.columns[name] for name in returned))
    if connection.dialect.name == "postgresql":
        wanted = _unnested(table, columns, keys)
        join = sqlalchemy.and_(*(column == wanted.columns[column.name] for column in given))
        yield from map(tuple, connection.execute(selected.join_from(table, wanted, join)))
        return
    for chunk in chunk_iterable(keys, _PARAMETERS // len(columns)):
        among = sqlalchemy.tuple_(*given).in_(chunk)
        yield from map(tuple, connection.execute(selected.where(among)))


def holding(
    connection: sqlalchemy.Connection,
    table: sqlalchemy.Table,
    columns: Sequence[str],
    keys: Sequence[Row],
    returned: Sequence[str],
) -> Iterator[Row]:
    """Look for the rows of a table that hold some keys of a unique index.

    In PostgreSQL, each key is looked for as the first one in the index's order that is not below
    it: the planner has no other index for that, whatever its statistics say.

    Parameters
    ----------
    connection, table, keys, returned
        As for `matching`.
    columns : `~collections.abc.Sequence` [`str`]
        Names of the index's columns, in its order.

    Yields
    ------
    row : `tuple`
        Its values.
    """
    if not keys or connection.dialect.name != "postgresql":
        yield from matching(connection, table, columns, keys, returned)
        return
    given = [table.columns[name] for name in columns]
    wanted = _unnested(table, columns, keys)
    key = [wanted.columns[name] for name in columns]
    first = (
        sqlalchemy.select(*given, *(table.columns[name].label(f"_{name}") for name in returned))
        .where(sqlalchemy.tuple_(*given) >= sqlalchemy.tuple_(*key))
        .order_by(*given)
        .limit(1)
        .lateral()
    )
    same = sqlalchemy.and_(*(first.columns[name] == wanted.columns[name] for name in columns))
    values = sqlalchemy.select(*(first.columns[f"_{name}"] for name in returned))
    yield from map(tuple, connection.execute(values.join_from(wanted, first, same)))
