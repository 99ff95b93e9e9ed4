"""The rights of the database user that a write needs (PostgreSQL)."""

from __future__ import annotations

from collections.abc import Collection
from types import MappingProxyType
from typing import Any

import sqlalchemy
from sqlalchemy import func

__all__ = [
    "MissingRightError",
    "UncertainRightError",
    "check_rights",
    "current_role",
    "lacking_rights",
    "missing_grants",
    "required_grants",
]

#: What a write does with a table.
_RIGHTS = ("SELECT", "INSERT")

#: What a write does with some tables besides: it locks a chain, and moves its children.
_FURTHER_RIGHTS = MappingProxyType({"collection": "UPDATE", "collection_chain": "DELETE"})

#: Tables of a repository that a write only reads, or does not use.
_READ_ONLY = ("butler_attributes", "dataset_location_trash", "opaque_meta")
_CALIBRATIONS = "dataset_calibs_"

#: Either right lets the user take the next number of a sequence.
_EITHER = "USAGE, UPDATE"

_TEXTS: sqlalchemy.ARRAY[Any] = sqlalchemy.ARRAY(sqlalchemy.Text)


class MissingRightError(Exception):
    """The database user lacks a right to a table that the events of every new visit need."""


class UncertainRightError(MissingRightError):
    """The database user lacks a right to the table of dataset types that may be rare."""


def lacking_rights(
    connection: sqlalchemy.Connection, tables: Collection[sqlalchemy.Table]
) -> list[sqlalchemy.Table]:
    """Return the tables that the user may not read, or may not insert into.

    Tables that do not exist lack no right.
    """
    if connection.dialect.name != "postgresql" or not tables:
        return []
    names = {connection.dialect.identifier_preparer.format_table(each): each for each in tables}
    name = func.unnest(sqlalchemy.cast([*names], _TEXTS)).column_valued("name")
    key = func.to_regclass(name)
    # A right on columns suffices.
    may = sqlalchemy.and_(*(func.has_any_column_privilege(key, right) for right in _RIGHTS))
    lacking = sqlalchemy.select(name).where(key.is_not(None), ~may)
    return [names[row.name] for row in connection.execute(lacking)]


def required_grants(
    connection: sqlalchemy.Connection, tables: Collection[sqlalchemy.Table]
) -> list[str]:
    """Return the statements that grant the user what a write needs on some tables."""
    role = current_role(connection)
    name = connection.dialect.identifier_preparer.format_table  # `group` is a reserved word
    return [f"GRANT {', '.join(_RIGHTS)} ON {name(table)} TO {role}" for table in tables]


def current_role(connection: sqlalchemy.Connection) -> str:
    """Return the name of the database user."""
    return str(connection.execute(sqlalchemy.select(func.current_user())).scalar_one())


def check_rights(
    connection: sqlalchemy.Connection,
    tables: Collection[sqlalchemy.Table],
    error: type[MissingRightError] = MissingRightError,
) -> None:
    """Check that the user has the rights on some tables.

    Raises
    ------
    MissingRightError
        If not; the given kind of it.
    """
    if lacking := lacking_rights(connection, tables):
        statements = "; ".join(required_grants(connection, lacking))
        raise error(f"the database user lacks a right that writes need: {statements}")


def missing_grants(
    connection: sqlalchemy.Connection,
    schema: str | None,
    further: Collection[tuple[str, str]] = (),
) -> list[str]:
    """Return the statements that grant what any write may need and the user lacks.

    Parameters
    ----------
    connection : `sqlalchemy.Connection`
        A connection of the user.
    schema : `str` or `None`
        The schema that the repository's tables are in; `None`: the default one.
    further : `~collections.abc.Collection` [`tuple` [`str`, `str`]], optional
        Further tables and rights that writes need here.
    """
    if connection.dialect.name != "postgresql":
        return []
    names = [
        name
        for name in sqlalchemy.inspect(connection).get_table_names(schema)
        if name not in _READ_ONLY and not name.startswith(_CALIBRATIONS)
    ]
    tables = {name: sqlalchemy.Table(name, sqlalchemy.MetaData(), schema=schema) for name in names}
    grants = required_grants(connection, lacking_rights(connection, tables.values()))
    role = current_role(connection)
    preparer = connection.dialect.identifier_preparer
    for name, right in [*_FURTHER_RIGHTS.items(), *further]:
        table = preparer.format_table(tables[name])
        if not _may(connection, func.has_table_privilege(table, right)):
            grants.append(f"GRANT {right} ON {table} TO {role}")
    for name in sqlalchemy.inspect(connection).get_sequence_names(schema):
        if name.startswith(_CALIBRATIONS):  # the sequence of the table's ids
            continue
        sequence = preparer.format_sequence(sqlalchemy.Sequence(name, schema=schema))
        if not _may(connection, func.has_sequence_privilege(sequence, _EITHER)):
            grants.append(f"GRANT USAGE ON SEQUENCE {sequence} TO {role}")
    return grants


def _may(connection: sqlalchemy.Connection, question: sqlalchemy.ColumnElement[Any]) -> bool:
    return bool(connection.execute(sqlalchemy.select(question)).scalar_one())
