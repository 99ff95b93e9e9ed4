"""A repository that is filled already: the rows of one visit, written once and multiplied."""

from __future__ import annotations

import sqlalchemy

__all__ = ["multiply"]

#: Numbers of the multiplied visits are so far apart: no other visit of the night is between them.
_STEP = 1000

#: Columns that identify: how each is told from the one that it is made of.
_VISIT = f"{{}} + {_STEP} * n"
_NAME = "{} || '-' || n"
_DATASET = "md5({}::text || n)::uuid"
_RULES = {
    ("dataset", "id"): _DATASET,
    ("exposure", "id"): _VISIT,
    ("exposure", "obs_id"): _NAME,
    ("visit", "id"): _VISIT,
    ("visit", "name"): _NAME,
    ("group", "name"): _NAME,
    ("file_datastore_records", "path"): _NAME,
}
_ANYWHERE = {"dataset_id": _DATASET, "visit": _VISIT, "exposure": _VISIT, "group": _NAME}

#: What all visits have in common.
_SHARED = {"collection", "run", "collection_summary_dataset_type", "day_obs", "visit_system"}


def multiply(url: str, begin: int, times: int) -> int:
    """Multiply all that was written to a database; return how many datasets it then has.

    Parameters
    ----------
    url : `str`
        The database, to which one visit was written.
    begin : `int`
        The transaction id from which on that happened.
    times : `int`
        How many more visits there shall be.
    """
    engine = sqlalchemy.create_engine(url)
    inspector = sqlalchemy.inspect(engine)
    with engine.begin() as connection:
        # What the rows refer to is multiplied with them; to look each up takes ten times as long.
        connection.execute(sqlalchemy.text("SET LOCAL session_replication_role = replica"))
        for table in inspector.get_table_names():
            names = [column["name"] for column in inspector.get_columns(table)]
            made = [_RULES.get((table, name), _ANYWHERE.get(name)) for name in names]
            if table in _SHARED or not any(made):
                continue
            columns = ", ".join(f'"{name}"' for name in names)
            values = ", ".join(
                (rule or "{}").format(f'"{name}"') for name, rule in zip(names, made, strict=True)
            )
            connection.execute(
                sqlalchemy.text(
                    f'INSERT INTO "{table}" ({columns}) SELECT {values} '
                    f'FROM "{table}", generate_series(1, {times}) n '
                    f"WHERE xmin::text::bigint >= {begin}"
                )
            )
        number = connection.scalar(sqlalchemy.text("SELECT count(*) FROM dataset"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sqlalchemy.text("VACUUM ANALYZE"))
    engine.dispose()
    return int(number or 0)
