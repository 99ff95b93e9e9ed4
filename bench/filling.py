"""Fills a repository: the rows of one visit are written once and then multiplied."""

from __future__ import annotations

import sqlalchemy

__all__ = ["multiply"]

#: Difference between the numbers of multiplied visits; no visit of a night is in between.
_STEP = 1000

#: Columns of keys, and how the value of a copy differs from the original.
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

#: Tables that all visits share.
_SHARED = {"collection", "run", "collection_summary_dataset_type", "day_obs", "visit_system"}


def multiply(url: str, begin: int, times: int) -> int:
    """Multiply everything that was written to a database; return its number of datasets.

    Parameters
    ----------
    url : `str`
        The database, to which one visit was written.
    begin : `int`
        The first transaction id that wrote something.
    times : `int`
        Number of visits to add.
    """
    engine = sqlalchemy.create_engine(url)
    inspector = sqlalchemy.inspect(engine)
    with engine.begin() as connection:
        # No checks of foreign keys, which take ten times as long: their targets are copied, too.
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
