"""The limit: prepared rows, copied into the tables in one transaction with COPY."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
import sqlalchemy
from psycopg import sql

from bench.repositories import Repository

__all__ = ["Rows", "copy_in", "copy_out"]


@dataclass(frozen=True)
class Rows:
    """Rows of a table in the format of COPY."""

    table: str
    data: bytes


def copy_out(repository: Repository, begin: int, end: int) -> list[Rows]:
    """Return the rows written by a range of transaction ids (without the last one), by table.

    A table comes before the tables that refer to it.
    """
    engine = sqlalchemy.create_engine(repository.url)
    names = [name for name, _ in sqlalchemy.inspect(engine).get_sorted_table_and_fkc_names()]
    engine.dispose()
    with repository.connect() as connection:
        found = [
            Rows(name, _read(connection, name, begin, end)) for name in names if name is not None
        ]
    return [rows for rows in found if rows.data]


def _read(
    connection: psycopg.Connection[tuple[object, ...]], table: str, begin: int, end: int
) -> bytes:
    statement = sql.SQL(
        "COPY (SELECT * FROM {} WHERE xmin::text::bigint >= {} AND xmin::text::bigint < {}) "
        "TO STDOUT"
    ).format(sql.Identifier(table), begin, end)
    with connection.cursor().copy(statement) as copy:
        return b"".join(bytes(block) for block in copy)


def copy_in(connection: psycopg.Connection[tuple[object, ...]], tables: list[Rows]) -> None:
    """Write rows in one transaction.  As in our write, checks of foreign keys scan no table.

    Otherwise their plans, made while the tables were small, make COPY four times as slow as ours.
    """
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL jit = off")
        for rows in tables:
            statement = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(rows.table))
            with cursor.copy(statement) as copy:
                copy.write(rows.data)
