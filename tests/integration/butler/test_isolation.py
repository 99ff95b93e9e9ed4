"""Events whose write fails each time in a way that looks as if the server were at fault."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from app.butler.failures import RetryableError
from app.butler.outcome import Rejection, Written
from app.butler.policy import WriteMethod
from app.butler.private.probe import Probe
from app.butler.private.registry import RegistryTables, engine_of
from models.causes import Cause
from testbed.writing import write_until_done, write_window
from tests.support.events import dataset_ids, group_name
from tests.support.faulty_writes import NO_MEMORY, on_insert
from tests.support.repositories import Repository, decoded
from tests.support.statements import statements

#: What the database does at one event's row, and whether that proves that the event is at fault.
HOLD_UPS = {
    "the statement takes too long": "PERFORM pg_sleep(60)",
    "the memory is not enough": NO_MEMORY,
    "a configured limit is exceeded": "RAISE 'temporary files' USING ERRCODE = '53400'",
}


def indexed(*events: dict[str, Any]) -> dict[int, Any]:
    return dict(enumerate(decoded(*events)))


@pytest.mark.postgresql
@pytest.mark.parametrize(
    "write_method",
    [WriteMethod.RECORDS, pytest.param(WriteMethod.PUBLIC, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("others", [pytest.param(0, marks=pytest.mark.slow), 5])
@pytest.mark.parametrize(
    "action",
    [
        pytest.param(action, marks=() if "memory" in action else pytest.mark.slow)
        for action in HOLD_UPS.values()
    ],
    ids=HOLD_UPS,
)
def test_an_event_that_exceeds_a_limit_alone_holds_up_no_other_and_is_rejected(
    postgresql_repository: Repository, action: str, others: int, write_method: WriteMethod
) -> None:
    repository = postgresql_repository
    night = repository.night()
    good = [night.event(detector=n) for n in range(others)]
    writer = repository.writer(
        write_method=write_method, statement_timeout=4 if "sleep" in action else 1
    )
    with on_insert("visit", action, "NEW.id = 77")(repository):
        outcomes = write_until_done(writer, indexed(night.event(77), *good), 2)
        assert list(outcomes) == list(range(1, others + 1)), "others were held up"
        outcomes = write_until_done(writer, indexed(night.event(77), *good), 9)
    assert isinstance(rejected := outcomes[0], Rejection)
    assert rejected.cause is Cause.LIMIT_EXCEEDED
    assert "OperationalError" in rejected.reason
    assert all(isinstance(outcomes[n], Written) for n in range(1, others + 1))
    assert repository.stored() == Counter(dataset_ids(*good))


def test_as_many_rows_as_a_large_event_has_are_tried_with_few_statements(
    repository: Repository,
) -> None:
    """Row by row, they take longer than is allowed, and no large event would be rejected."""
    butler, rows = repository.butler(), 400
    known = RegistryTables(butler)
    elements = ["exposure", "group", "visit", "visit_definition", "visit_detector_region"]
    tables = [*known.written(elements, ["isr_log", "calibrate_log"])]
    before = repository.sql("SELECT count(*) FROM dataset")
    with statements() as executed:
        assert Probe(butler).takes_rows(lambda: tables, rows, 60)
    assert 2 * len(tables) < len(executed) < rows
    assert not Probe(butler).takes_rows(lambda: tables, rows, 0.001)
    assert repository.sql("SELECT count(*) FROM dataset") == before


@contextmanager
def row_locked(repository: Repository) -> Iterator[None]:
    """Hold the row of visit 77, uncommitted, in another session."""
    with engine_of(repository.reader).connect() as connection, connection.begin() as transaction:
        connection.exec_driver_sql(
            "INSERT INTO \"group\" (instrument, name) SELECT 'TestCam', %(name)s",
            {"name": group_name(77)},
        )
        yield
        transaction.rollback()


@pytest.mark.postgresql
def test_an_event_that_waits_for_a_lock_holds_up_no_other_and_is_written_in_the_end(
    postgresql_repository: Repository,
) -> None:
    repository = postgresql_repository
    night = repository.night()
    good = [night.event(detector=n) for n in range(5)]
    events = indexed(night.event(77), *good)
    writer = repository.writer(lock_timeout=0.3)
    with row_locked(repository):
        outcomes = write_until_done(writer, events, 10)
        assert sorted(outcomes) == [1, 2, 3, 4, 5]
    outcomes = write_until_done(writer, events, 3)
    assert all(isinstance(outcome, Written) for outcome in outcomes.values())
    assert repository.stored() == Counter(dataset_ids(night.event(77), *good))


@pytest.mark.postgresql
def test_the_events_of_a_locked_visit_do_not_hold_up_others_that_they_are_mixed_with(
    postgresql_repository: Repository,
) -> None:
    repository = postgresql_repository
    night = repository.night()
    visits = [*range(1, 8), 77]
    events = [night.event(visit, detector) for detector in range(12) for visit in visits]
    good = {n for n in range(len(events)) if n % len(visits) != visits.index(77)}
    writer = repository.writer(lock_timeout=1)
    with row_locked(repository):
        outcomes = write_until_done(writer, indexed(*events), 2)
    assert outcomes.keys() == good, "the first attempt fails; the next one writes all good events"


#: The server is at fault: what happens at every row of a table.
OUTAGES = {
    "the memory is not enough": ("dataset", HOLD_UPS["the memory is not enough"]),
    "every dataset is slow": ("dataset", "PERFORM pg_sleep(0.1)"),
    "every datastore record is slow": ("file_datastore_records", "PERFORM pg_sleep(0.1)"),
    "every overlap is slow": ("visit_skypix_overlap", "PERFORM pg_sleep(0.3)"),
    "every visit is very slow": ("visit", "PERFORM pg_sleep(60)"),
}


@pytest.mark.postgresql
@pytest.mark.parametrize(
    ("table", "action"),
    [
        pytest.param(*outage, marks=() if name == next(iter(OUTAGES)) else pytest.mark.slow)
        for name, outage in OUTAGES.items()
    ],
    ids=OUTAGES,
)
@pytest.mark.parametrize("number", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_no_event_is_rejected_while_the_server_is_too_slow_or_lacks_memory(
    postgresql_repository: Repository, table: str, action: str, number: int
) -> None:
    repository = postgresql_repository
    night = repository.night()
    events = [night.event(visit, 0) for visit in range(1, number + 1)]
    writer = repository.writer(statement_timeout=0.5)
    with on_insert(table, action)(repository):
        outcomes = write_until_done(writer, indexed(*events), 6)
        assert not any(isinstance(outcome, Rejection) for outcome in outcomes.values())
    outcomes = write_until_done(writer, indexed(*events), 2 + number)
    assert [isinstance(outcomes[n], Written) for n in range(number)] == [True] * number


@pytest.mark.postgresql
@pytest.mark.slow
def test_a_slow_server_takes_in_small_groups_what_it_does_not_take_at_once(
    postgresql_repository: Repository,
) -> None:
    repository = postgresql_repository
    night = repository.night()
    events = [night.event(visit, 0) for visit in range(1, 9)]
    writer = repository.writer(statement_timeout=1)
    with on_insert("dataset", "PERFORM pg_sleep(0.02)")(repository):
        with pytest.raises(RetryableError, match="statement timeout"):
            write_window(writer, decoded(*events))
        outcomes = write_until_done(writer, indexed(*events), 3)
    assert len(outcomes) == 8
    assert repository.stored() == Counter(dataset_ids(*events))


@pytest.mark.postgresql
@pytest.mark.slow
def test_the_next_event_of_the_kind_costs_the_others_little_time(
    postgresql_repository: Repository,
) -> None:
    repository = postgresql_repository
    night = repository.night()
    writer = repository.writer(lock_timeout=6)
    with row_locked(repository):
        write_until_done(writer, indexed(night.event(77), night.event(1)), 2)
        started = time.monotonic()
        outcomes = write_until_done(writer, indexed(night.event(77), night.event(2)), 1)
    assert list(outcomes) == [1]
    assert time.monotonic() - started < 4


@pytest.mark.postgresql
def test_a_table_that_one_event_needs_and_somebody_locks_holds_up_no_other(
    postgresql_repository: Repository,
) -> None:
    repository = postgresql_repository
    night = repository.night()
    given = {
        "name": "new",
        "storageClass": "StructuredDataDict",
        "dimensions": ["instrument", "physical_filter"],
    }
    events = indexed(night.event(1, dataset_types=[given]), night.event(2))
    writer = repository.writer(lock_timeout=0.5)
    with engine_of(repository.reader).begin() as connection:
        connection.exec_driver_sql("LOCK TABLE physical_filter IN ROW EXCLUSIVE MODE")
        outcomes = write_until_done(writer, events, 4)
        assert list(outcomes) == [1]
    assert len(write_until_done(writer, events, 2)) == 2
