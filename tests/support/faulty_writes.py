"""Events that cannot be written, and faults of a repository's database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from typing import Any, TypeAlias

import hypothesis.strategies as st
import sqlalchemy

from app.butler.outcome import Outcome, Written
from app.butler.private.registry import engine_of
from app.butler.writer import ButlerWriter
from testbed.writing import write_until_done
from tests.support.events import Night
from tests.support.repositories import Repository, decoded

#: Dimensions for which daf_butler itself raises when it makes the table.
IMPOSSIBLE = ["instrument", "visit", "subfilter"]

#: Too long for an index of PostgreSQL, and impossible to compress.
LONG_NAME = "".join(f"{n * n * 7919:x}" for n in range(5000))


def impossible_type(night: Night, visit: int) -> dict[str, Any]:
    """Return an event with a dataset type that Butler cannot register."""
    given = {"name": f"bad{visit}", "storageClass": "StructuredDataDict", "dimensions": IMPOSSIBLE}
    return night.event(visit, dataset_types=[given])


def changed(event: dict[str, Any], element: str, **fields: Any) -> dict[str, Any]:
    """Return an event with other fields in one of its dimension records."""
    for record in event["dimension_records"]:
        if record["definition"] == element:
            record["record"] |= fields
    return event


def long_group(night: Night, visit: int) -> dict[str, Any]:
    """Return an event with a group whose name is longer than an index takes (SQLSTATE 54000)."""
    event = night.event(visit)
    for record in event["dimension_records"]:
        if record["definition"] == "group":
            record["record"]["name"] = LONG_NAME
        elif record["definition"] == "exposure":
            record["record"]["group"] = LONG_NAME
    for dataset in event["datasets"]:
        for ref in dataset["refs"].values():
            if "group" in ref["data_id"]:
                ref["data_id"]["group"] = LONG_NAME
    return event


def early_timespan(night: Night, visit: int) -> dict[str, Any]:
    """Return an event with a timespan that the column does not take (StatementError)."""
    return changed(night.event(visit), "visit", timespan=[-(2**63), 2**62])


Fault: TypeAlias = Callable[[Repository], AbstractContextManager[None]]


def statements(before: str, after: str) -> Fault:
    """Return a fault that one statement brings about, and another one mends."""

    @contextmanager
    def fault(repository: Repository) -> Iterator[None]:
        repository.sql(before)
        try:
            yield
        finally:
            repository.sql(after)

    return fault


def table_away(table: str) -> Fault:
    return statements(
        f'ALTER TABLE "{table}" RENAME TO away', f'ALTER TABLE away RENAME TO "{table}"'
    )


def on_insert(table: str, action: str, condition: str = "true") -> Fault:
    """Return a fault that does something at each row of a table that fulfils a condition."""
    return statements(
        f"CREATE FUNCTION react_{table}() RETURNS trigger AS $$ BEGIN"
        f" IF {condition} THEN {action}; END IF; RETURN NEW; END $$ LANGUAGE plpgsql;"
        f"CREATE TRIGGER react BEFORE INSERT ON {table}"
        f" FOR EACH ROW EXECUTE FUNCTION react_{table}()",
        f"DROP FUNCTION react_{table} CASCADE",
    )


@contextmanager
def rival(repository: Repository) -> Iterator[sqlalchemy.Connection]:
    """Return the connection of another session, whose transaction is rolled back."""
    with engine_of(repository.reader).connect() as connection, connection.begin() as transaction:
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        yield connection
        transaction.rollback()


def column_renamed(table: str, column: str) -> Fault:
    return statements(
        f"ALTER TABLE {table} RENAME COLUMN {column} TO away",
        f"ALTER TABLE {table} RENAME COLUMN away TO {column}",
    )


def raising(state: str) -> Fault:
    """Return a fault in which every write fails with an SQLSTATE."""
    return statements(
        "CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'not today'"
        f" USING ERRCODE = '{state}'; END $$ LANGUAGE plpgsql;"
        "CREATE TRIGGER refuse BEFORE INSERT ON dataset FOR EACH ROW EXECUTE FUNCTION refuse()",
        "DROP FUNCTION refuse CASCADE",
    )


#: What PostgreSQL raises if a statement needs more memory than it gets.
NO_MEMORY = "RAISE 'out of memory' USING ERRCODE = '53200'"

FAULTS: dict[str, Fault] = {
    **{
        f"the table {name} is renamed": table_away(name)
        for name in (
            "dataset",
            "visit",
            "visit_detector_region_skypix_overlap",
            "collection_summary_dataset_type",
            "dataset_location",
            "file_datastore_records",
            "dataset_tags_00000001",
            "group",
        )
    },
    "a column of visits is renamed": column_renamed("visit", "seq_num"),
    "a column of datastore records is renamed": column_renamed(
        "file_datastore_records", "file_size"
    ),
    "a column was added that may not be null": statements(
        "ALTER TABLE dataset ADD COLUMN more INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE dataset ALTER COLUMN more DROP DEFAULT",
        "ALTER TABLE dataset DROP COLUMN more",
    ),
    "a trigger raises": raising("P0001"),
    "a trigger raises a data exception": raising("22012"),
    "a trigger raises a unique violation": raising("23505"),
    "the schema is missing": statements(
        "ALTER SCHEMA public RENAME TO away", "ALTER SCHEMA away RENAME TO public"
    ),
    "there is no memory for any dataset": on_insert("dataset", NO_MEMORY),
    "a constraint admits nothing": statements(
        "ALTER TABLE dataset ADD CONSTRAINT nothing CHECK (dataset_type_id < 0) NOT VALID",
        "ALTER TABLE dataset DROP CONSTRAINT nothing",
    ),
}

SQLITE_FAULTS: dict[str, Fault] = {
    "a column of datastore records is renamed": FAULTS["a column of datastore records is renamed"],
    "a trigger raises": statements(
        "CREATE TRIGGER refuse BEFORE INSERT ON dataset"
        " BEGIN SELECT RAISE(ABORT, 'not today'); END",
        "DROP TRIGGER refuse",
    ),
}


def without_detector(night: Night, visit: int) -> dict[str, Any]:
    """Return an event with a data ID whose detector does not exist."""
    event = night.event(visit)
    for ref in event["datasets"][-1]["refs"].values():
        ref["data_id"]["detector"] = 999
    return event


#: Without it, the events that need too much memory would be good.
LIMITED_MEMORY: Fault = on_insert("visit", NO_MEMORY, "NEW.target_name = 'too much'")


def too_much(night: Night, visit: int) -> dict[str, Any]:
    """Return an event that exceeds the memory of the database, with `LIMITED_MEMORY`."""
    return changed(night.event(visit), "visit", target_name="too much")


#: Makes an event that can never be written, of a visit of its own.
BAD: dict[str, Callable[[Night, int], dict[str, Any]]] = {
    "a dataset type that Butler cannot register": impossible_type,
    "a name that is too long for an index": long_group,
    "a timespan that the column does not take": early_timespan,
    "a data ID without a record": without_detector,
    "more memory than the database has": too_much,
}


def windows() -> st.SearchStrategy[list[str]]:
    """Return a strategy for windows: each event is good or one of `BAD`."""
    return st.lists(st.sampled_from(["good", "good", *BAD]), min_size=1, max_size=6)


def moments() -> st.SearchStrategy[tuple[int, int]]:
    """Return a strategy for the transactions before which a fault begins and ends."""
    return st.tuples(st.integers(0, 4), st.integers(1, 8)).map(lambda m: (m[0], m[0] + m[1]))


_visits = count(1000)


def check_whose_fault(
    repository: Repository,
    writer: ButlerWriter,
    kinds: list[str],
    fault: Fault,
    moments: tuple[int, int],
) -> None:
    """Check that good events are written, and that only bad ones are ever rejected.

    Parameters
    ----------
    repository : `Repository`
        The repository.
    writer : `ButlerWriter`
        Its writer.
    kinds : `list` [`str`]
        What each event is: good, or a key of `BAD`.
    fault : `Fault`
        What happens to the database.
    moments : `tuple` [`int`, `int`]
        Before which of the writer's transactions the fault begins and ends.
    """
    night = repository.night()
    window = dict(
        enumerate(
            decoded(
                *(
                    BAD.get(kind, Night.event)(night, visit)
                    for kind, visit in zip(kinds, _visits, strict=False)
                )
            )
        )
    )
    with at_transactions(repository, writer, fault, moments):
        _check(write_until_done(writer, window, 3), kinds)
    outcomes = write_until_done(writer, window, 12)
    _check(outcomes, kinds)
    good = [n for n, kind in enumerate(kinds) if kind == "good"]
    assert outcomes.keys() >= set(good), "bad events, or a past fault, hold good ones up"
    if len(outcomes) < len(kinds):
        outcomes = write_until_done(writer, window, 20 * (1 + len(kinds)))
        _check(outcomes, kinds)
        assert len(outcomes) == len(kinds), "bad events wait for ever"


def _check(outcomes: Mapping[int, Outcome], kinds: list[str]) -> None:
    for n, outcome in outcomes.items():
        assert isinstance(outcome, Written) == (kinds[n] == "good"), f"{kinds[n]}: {outcome}"


@contextmanager
def at_transactions(
    repository: Repository, writer: ButlerWriter, fault: Fault, moments: tuple[int, int]
) -> Iterator[None]:
    """Let a fault begin and end before some transactions of a writer."""
    engine, numbers = engine_of(writer._butler), count()
    active = fault(repository)
    state = {"begun": False, "ended": False}

    def change(*_: object) -> None:
        number = next(numbers)
        if number >= moments[0] and not state["begun"]:
            state["begun"] = True
            active.__enter__()
        if number >= moments[1] and not state["ended"]:
            state["ended"] = True
            active.__exit__(None, None, None)

    sqlalchemy.event.listen(engine, "begin", change, insert=True)
    try:
        yield
    finally:
        sqlalchemy.event.remove(engine, "begin", change)
        if state["begun"] and not state["ended"]:
            active.__exit__(None, None, None)
