"""Paths of artifacts that were recorded recently, whoever wrote them."""

from __future__ import annotations

import sqlalchemy

__all__ = ["recent_paths"]

#: Number of paths that are returned at most.
_PATHS = 3

#: Number of rows that are looked at, so that enough are below the root of the datastore.
_ROWS = 20

#: Number of a table's last pages in which PostgreSQL looks for rows.
_PAGES = 8


def recent_paths(engine: sqlalchemy.Engine, records: sqlalchemy.Table) -> list[str]:
    """Return a few paths below the root of a datastore, of rows at the end of the table.

    Datastore records have no time, and to sort the table of datasets by theirs would take seconds
    for millions of rows.  The end of a table on disk is where its last rows are, as a rule.

    Parameters
    ----------
    engine : `sqlalchemy.Engine`
        The database.
    records : `sqlalchemy.Table`
        The table of datastore records.
    """
    some = sqlalchemy.select(records.columns.path).limit(_ROWS)
    text = sqlalchemy.text
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            end = some.where(text("ctid >= CAST(:page AS tid)")).order_by(text("ctid DESC"))
            page = max(_number_of_pages(connection, records) - _PAGES, 0)
            rows = connection.scalars(end, {"page": f"({page},0)"}).all()
            rows = rows or connection.scalars(some).all()
        else:
            rows = connection.scalars(some.order_by(text("rowid DESC"))).all()
    return [path for path in rows if "://" not in path][:_PATHS]


def _number_of_pages(connection: sqlalchemy.Connection, table: sqlalchemy.Table) -> int:
    name = connection.dialect.identifier_preparer.format_table(table)
    func = sqlalchemy.func
    size = func.pg_relation_size(func.to_regclass(name))
    block = sqlalchemy.cast(func.current_setting("block_size"), sqlalchemy.BigInteger)
    return int(connection.execute(sqlalchemy.select(size / block)).scalar_one())
