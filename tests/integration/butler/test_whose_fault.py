"""Whose fault a failed write is: that of events, or that of the repository."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import Phase, given, settings
from structlog.testing import capture_logs

from app.butler.events.limits import EventLimits
from app.butler.failures import RetryableError
from app.butler.outcome import Rejection
from app.butler.policy import WriteMethod
from app.butler.private.registry import engine_of
from models.causes import Cause
from testbed.postgresql import PostgreSQL
from testbed.writing import write_until_done, write_window
from tests.support.events import Night, dataset_ids, make_repository
from tests.support.faulty_writes import (
    FAULTS,
    LIMITED_MEMORY,
    SQLITE_FAULTS,
    Fault,
    changed,
    check_whose_fault,
    early_timespan,
    impossible_type,
    long_group,
    moments,
    statements,
    windows,
)
from tests.support.least_rights import DROP_ROLE, NEW_TYPES, ROLE, ROLES, use_role
from tests.support.repositories import Repository, decoded, rejection, written

#: Configuration of a repository whose datasets also get a row in the table ``obscore``.
#: Longer texts than usual may come to the database.
UNLIMITED = EventLimits(max_text_length=10**6)

OBSCORE: dict[str, Any] = {
    "registry": {
        "managers": {
            "obscore": {
                "cls": "lsst.daf.butler.registry.obscore.ObsCoreLiveTableManager",
                "config": {
                    "version": 0,
                    "facility_name": "Rubin",
                    "obs_collection": "prompt",
                    "collection_type": "RUN",
                    "dataset_types": {"isr_log": {"dataproduct_type": "image", "calib_level": 1}},
                },
            }
        }
    }
}

#: Begin and end of an exposure, in nanoseconds of TAI.
TIMESPAN = [1_800_000_000_000_000_000, 1_800_000_030_000_000_000]


@pytest.mark.parametrize("write_method", list(WriteMethod))
def test_events_with_impossible_dataset_types_do_not_hold_up_the_others(
    repository: Repository, write_method: WriteMethod
) -> None:
    night = repository.night()
    bad = [impossible_type(night, 90 + n) for n in range(2)]
    good = [night.event(detector=n) for n in range(5)]
    writer = repository.writer(write_method=write_method)

    for window in (bad, [*bad, *good]):
        report = write_window(writer, decoded(*window))
        for n in range(2):
            assert rejection(report, n).cause is Cause.UNKNOWN
            assert "dataset_tags" in rejection(report, n).reason
    assert repository.stored() == Counter(dataset_ids(*good))


@pytest.mark.postgresql
@pytest.mark.parametrize("write_method", list(WriteMethod))
@pytest.mark.parametrize("make_bad", [long_group, early_timespan])
@pytest.mark.parametrize("others", [0, 3])
def test_events_with_values_that_postgresql_does_not_take_are_rejected(
    postgresql_repository: Repository,
    write_method: WriteMethod,
    make_bad: Callable[[Night, int], dict[str, Any]],
    others: int,
) -> None:
    repository = postgresql_repository
    night = repository.night()
    bad = [make_bad(night, 80 + n) for n in range(2)]
    good = [night.event(detector=n) for n in range(others)]
    report = write_window(
        repository.writer(UNLIMITED, write_method=write_method), decoded(bad[0], *good, bad[1])
    )
    for n in (0, others + 1):
        assert rejection(report, n).cause is Cause.VALUE_REFUSED
        assert len(rejection(report, n).reason) < 300
    assert repository.stored() == Counter(dataset_ids(*good))


def check_nothing_is_rejected(
    repository: Repository,
    fault: Fault,
    events: int,
    write_method: WriteMethod,
) -> None:
    """Check that events are written after a fault, and that none is rejected while it lasts."""
    night = repository.night()
    writer = repository.writer(write_method=write_method)
    warm = night.event(50)
    written(write_window(writer, decoded(warm)))
    window = [night.event(detector=n) for n in range(events)]
    with fault(repository):
        for _ in range(2):
            with pytest.raises(RetryableError):
                write_window(writer, decoded(*window))
    report = write_window(writer, decoded(*window))
    for n in range(events):
        written(report, n)
    assert repository.stored() == Counter(dataset_ids(warm, *window))


@pytest.mark.postgresql
@pytest.mark.parametrize("events", [1, 3])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_nothing_is_rejected_while_postgresql_is_at_fault(
    postgresql_repository: Repository, fault: Fault, events: int
) -> None:
    check_nothing_is_rejected(postgresql_repository, fault, events, WriteMethod.RECORDS)


@pytest.mark.parametrize("fault", SQLITE_FAULTS.values(), ids=SQLITE_FAULTS)
@pytest.mark.parametrize("write_method", list(WriteMethod))
def test_nothing_is_rejected_while_sqlite_is_at_fault(
    sqlite_repository: Repository, fault: Fault, write_method: WriteMethod
) -> None:
    check_nothing_is_rejected(sqlite_repository, fault, 1, write_method)


@pytest.fixture
def limited(postgresql_repository: Repository) -> Iterator[Repository]:
    """A repository that is used with the rights of a role that owns nothing."""
    repository = postgresql_repository
    repository.sql(ROLES)
    use_role(repository.root)
    yield repository
    repository.sql(DROP_ROLE)


def new_type(*dimensions: str) -> dict[str, Any]:
    name = "_".join(dimensions)
    return {"name": name, "storageClass": "StructuredDataDict", "dimensions": list(dimensions)}


@pytest.mark.postgresql
def test_a_right_that_one_event_needs_is_a_cause_of_its_own(limited: Repository) -> None:
    night = limited.night()
    bad = night.event(1, dataset_types=[new_type("instrument", "physical_filter")])
    good = [
        night.event(2),
        night.event(3, dataset_types=[new_type("instrument", "group", "detector")]),
    ]
    writer = limited.writer()
    for window in ([bad], [bad, *good]):
        with capture_logs() as lines:
            report = write_window(writer, decoded(*window))
        assert rejection(report).cause is Cause.MISSING_RIGHT
        assert "permission denied" in rejection(report).reason
        assert f"GRANT CREATE ON SCHEMA public TO {ROLE}" in rejection(report).reason
        alarms = [line for line in lines if "lacks a right" in line["event"]]
        assert [line["log_level"] for line in alarms] == ["error"]
    assert limited.stored() == Counter(dataset_ids(*good))

    limited.sql(NEW_TYPES)
    written(write_window(writer, decoded(bad)))


@pytest.mark.postgresql
@pytest.mark.parametrize("write_method", list(WriteMethod))
def test_a_right_to_a_table_that_few_events_need_is_a_cause_of_its_own(
    limited: Repository, write_method: WriteMethod
) -> None:
    night = limited.night()
    bad = night.event(1)
    for element, fields in (("instrument", {"name": "NewCam"}), ("physical_filter", {"name": "i"})):
        (record,) = night.fixed_records(element)[:1]
        serialized = json.loads(record.to_simple().model_dump_json())
        serialized["record"] |= fields
        bad["dimension_records"].append(serialized)
    good = [night.event(2), night.event(3)]
    writer = limited.writer(write_method=write_method, allowed_elements="*")
    limited.sql(f"REVOKE INSERT ON instrument FROM {ROLE}")
    for window in ([bad], [bad, *good]):
        with capture_logs() as lines:
            report = write_window(writer, decoded(*window))
        assert rejection(report).cause is Cause.MISSING_RIGHT
        assert "permission denied" in rejection(report).reason
        assert f"GRANT SELECT, INSERT ON public.instrument TO {ROLE}" in rejection(report).reason
        alarms = [line for line in lines if "lacks a right" in line["event"]]
        assert [line["log_level"] for line in alarms] == ["error"]
    assert limited.stored() == Counter(dataset_ids(*good))

    limited.sql(f"GRANT INSERT ON instrument TO {ROLE}")
    written(write_window(writer, decoded(bad)))


@pytest.mark.postgresql
def test_a_right_to_the_table_of_a_rare_dataset_type_holds_up_no_other_event(
    limited: Repository,
) -> None:
    night = limited.night()
    types = [new_type("instrument", "physical_filter")]
    limited.sql(NEW_TYPES)
    written(write_window(limited.writer(), decoded(night.event(1, dataset_types=types))))
    (table,) = limited.sql(
        f"SELECT tag_association_table FROM dataset_type WHERE name = '{types[0]['name']}'"
    )
    limited.sql(f"REVOKE INSERT ON {table} FROM {ROLE}")
    other = limited.night("u/other")  # a dataset that is there already needs no right
    events = dict(enumerate(decoded(other.event(2, dataset_types=types), night.event(3))))
    writer = limited.writer()  # it has written nothing yet
    bad = {0: events[0]}
    assert write_until_done(writer, bad, 6) == {}, "nothing shows that others do not need the right"
    assert list(write_until_done(writer, events, 2)) == [1]
    with capture_logs() as lines:
        (rejected,) = write_until_done(writer, bad, 5).values()
    assert isinstance(rejected, Rejection)
    assert rejected.cause is Cause.MISSING_RIGHT
    assert f"GRANT SELECT, INSERT ON public.{table} TO {ROLE}" in rejected.reason
    assert any("lacks a right" in line["event"] for line in lines)
    limited.sql(f"GRANT INSERT ON {table} TO {ROLE}")
    assert len(write_until_done(writer, bad, 1)) == 1


@pytest.mark.postgresql
@pytest.mark.parametrize("right", ["INSERT ON visit", "SELECT ON visit", "INSERT ON dataset"])
def test_a_right_that_every_write_needs_is_named_by_the_alarm(
    limited: Repository, right: str
) -> None:
    night = limited.night()
    writer = limited.writer()
    limited.sql(f"REVOKE {right} FROM {ROLE}")
    table = right.rpartition(" ")[2]
    for window in ([night.event(1)], [night.event(1), night.event(2)]):
        with pytest.raises(RetryableError) as raised:
            write_window(writer, decoded(*window))
        assert raised.value.alarm
        assert f"GRANT SELECT, INSERT ON public.{table} TO {ROLE}" in str(raised.value)
    limited.sql(f"GRANT {right} TO {ROLE}")
    written(write_window(writer, decoded(night.event(1))))


@pytest.mark.postgresql
@pytest.mark.parametrize("table", ["visit", "visit_definition", "visit_detector_region"])
def test_a_right_that_every_new_visit_needs_is_waited_for_while_others_are_written(
    limited: Repository, table: str
) -> None:
    """Events of visits that are known do not need it."""
    night = limited.night()
    writer = limited.writer()
    written(write_window(writer, decoded(night.event(1, 0))))
    limited.sql(f"REVOKE INSERT ON {table} FROM {ROLE}")
    known, new = night.event(1, 1), night.event(2)
    known["dimension_records"].pop()  # that of the detector
    written(write_window(writer, decoded(known)))
    waiting = {0: decoded(new)[0]}
    assert write_until_done(writer, waiting, 7) == {}
    limited.sql(f"GRANT INSERT ON {table} TO {ROLE}")
    assert list(write_until_done(writer, waiting, 1)) == [0]
    assert limited.stored() == Counter(dataset_ids(night.event(1, 0), known, new))


@pytest.mark.postgresql
@pytest.mark.parametrize("events", [1, 3])
@pytest.mark.parametrize("table", ["dataset", "dataset_location", "visit"])
def test_a_right_that_every_write_needs_is_waited_for(
    limited: Repository, table: str, events: int
) -> None:
    fault = statements(
        f"REVOKE INSERT ON {table} FROM {ROLE}", f"GRANT INSERT ON public.{table} TO {ROLE}"
    )
    check_nothing_is_rejected(limited, fault, events, WriteMethod.RECORDS)


@pytest.mark.postgresql
def test_nothing_is_rejected_while_the_server_is_read_only(limited: Repository) -> None:
    end_sessions = (
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'"
    )
    fault = statements(
        f"ALTER ROLE {ROLE} SET default_transaction_read_only = on; {end_sessions}",
        f"ALTER ROLE {ROLE} RESET default_transaction_read_only; {end_sessions}",
    )
    check_nothing_is_rejected(limited, fault, 1, WriteMethod.RECORDS)


@pytest.mark.postgresql
@pytest.mark.parametrize("others", [0, 2])
def test_an_event_without_some_records_is_rejected_if_it_is_at_fault(
    postgresql_repository: Repository, others: int
) -> None:
    """Its regions refer to a visit that is in the Butler, and so does the row of the probe."""
    repository = postgresql_repository
    writer = repository.writer(UNLIMITED)
    night = repository.night()
    written(write_window(writer, decoded(night.event(1))))
    good = [night.event(1, 1 + detector) for detector in range(others)]
    bad = long_group(repository.night("u/other"), 1)
    for event in (bad, *good):
        event["dimension_records"] = [
            record
            for record in event["dimension_records"]
            if record["definition"] not in ("visit", "exposure")
        ]
    report = write_window(writer, decoded(bad, *good))
    assert rejection(report).cause is Cause.VALUE_REFUSED
    for n in range(others):
        written(report, 1 + n)


@pytest.mark.postgresql
def test_no_event_of_a_new_run_is_rejected_while_the_sequence_of_runs_is_at_its_end(
    postgresql_repository: Repository,
) -> None:
    repository = postgresql_repository
    writer = repository.writer()
    event = repository.night("u/new").event()
    fault = statements(
        "SELECT setval('collection_seq_collection_id', 7);"
        "ALTER SEQUENCE collection_seq_collection_id MAXVALUE 7",
        "ALTER SEQUENCE collection_seq_collection_id NO MAXVALUE",
    )
    with fault(repository), pytest.raises(RetryableError, match="reached maximum value"):
        write_window(writer, decoded(event))
    written(write_window(writer, decoded(event)))


@pytest.mark.postgresql
def test_nothing_is_rejected_while_a_sequence_lags_behind_its_table(
    postgresql_repository: Repository,
) -> None:
    """A logical replica that was promoted has the rows, and sequences that were never advanced."""
    repository = postgresql_repository
    repository.sql(
        "INSERT INTO collection (collection_id, name, type)"
        " SELECT n, 'u/' || n, 1 FROM generate_series(10, 90) AS n;"
        "SELECT setval('collection_seq_collection_id', 9)"
    )
    event = repository.night("u/new").event(2)
    writer = repository.writer()
    with pytest.raises(RetryableError, match="known to be good"):
        write_window(writer, decoded(event))
    repository.sql("SELECT setval('collection_seq_collection_id', 100)")
    written(write_window(writer, decoded(event)))
    assert repository.stored("u/new") == Counter(dataset_ids(event))


@pytest.mark.postgresql
@pytest.mark.parametrize("others", [0, 3])
def test_a_bad_event_does_not_hold_up_the_others_of_a_repository_with_obscore(
    postgresql_url: str, tmp_path: Path, others: int
) -> None:
    """ObsCore raises a `ValueError` for a timespan that ends before it begins."""
    root = tmp_path / "repository"
    make_repository(root, database=postgresql_url, config=OBSCORE).close()
    repository = Repository(root)
    night = repository.night()
    bad = night.event(90)
    for element in ("visit", "exposure"):
        changed(bad, element, timespan=TIMESPAN[::-1])
    good = [night.event(detector=n) for n in range(others)]
    writer = repository.writer()
    for window in ([bad], [bad, *good]):
        rejection(write_window(writer, decoded(*window)))
    assert repository.stored() == Counter(dataset_ids(*good))
    repository.close()


@pytest.mark.parametrize("others", [0, 3])
def test_a_trigger_that_refuses_one_event_is_that_events_fault(
    repository: Repository, others: int
) -> None:
    night = repository.night()
    if engine_of(repository.reader).dialect.name == "postgresql":
        repository.sql(
            "CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN"
            " IF NEW.id = 7 THEN RAISE EXCEPTION 'not seven'; END IF; RETURN NEW; END $$"
            " LANGUAGE plpgsql;"
            "CREATE TRIGGER refuse BEFORE INSERT ON visit FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
    else:
        repository.sql(
            "CREATE TRIGGER refuse BEFORE INSERT ON visit WHEN NEW.id = 7"
            " BEGIN SELECT RAISE(ABORT, 'not seven'); END"
        )
    good = [night.event(detector=n) for n in range(others)]
    writer = repository.writer()
    for _ in range(2):
        report = write_window(writer, decoded(night.event(7), *good))
        assert "not seven" in rejection(report).reason
    assert repository.stored() == Counter(dataset_ids(*good))


def test_an_examination_leaves_nothing_behind(repository: Repository) -> None:
    night = Night(repository.root, run="u/new")
    dangling = night.event(1)
    for ref in dangling["datasets"][0]["refs"].values():
        ref["data_id"]["detector"] = 999
    bad = [impossible_type(night, 90), dangling]
    writer = repository.writer(write_method=WriteMethod.PUBLIC)
    report = write_window(writer, decoded(*bad))
    assert [rejection(report, n).cause for n in range(2)]
    for table in ("dataset", "visit_detector_region", "file_datastore_records", "dataset_location"):
        assert repository.sql(f"SELECT count(*) FROM {table}") == [0]
    written(write_window(writer, decoded(night.event(2))))
    assert repository.stored("u/new") == Counter(dataset_ids(night.event(2)))


@pytest.mark.postgresql
@pytest.mark.timeout(600)
def test_bad_events_hold_up_no_good_one_and_faults_reject_none(
    postgresql_repository: Repository,
) -> None:
    writer = postgresql_repository.writer(lock_timeout=2)

    @settings(max_examples=10, phases=[Phase.explicit, Phase.generate])
    @given(windows(), st.sampled_from([*FAULTS]), moments())
    def check(kinds: list[str], fault: str, when: tuple[int, int]) -> None:
        check_whose_fault(postgresql_repository, writer, kinds, FAULTS[fault], when)

    with LIMITED_MEMORY(postgresql_repository):
        check()


@pytest.mark.postgresql
@pytest.mark.parametrize("write_method", list(WriteMethod))
def test_a_value_outside_of_the_encoding_of_the_database_is_refused(
    postgresql: PostgreSQL, tmp_path: Path, write_method: WriteMethod
) -> None:
    name = f"latin_{write_method}"
    with postgresql.connect() as connection:
        connection.execute(
            f"CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0"
            " LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    with postgresql.connect(name) as connection:
        connection.execute("CREATE EXTENSION btree_gist")
    make_repository(tmp_path / "repository", database=postgresql.url(name)).close()
    repository = Repository(tmp_path / "repository")
    night = repository.night()
    bad = changed(night.event(1), "visit", target_name="\u20ac")
    good = [changed(night.event(2), "visit", target_name="\u00fc"), night.event(3)]
    writer = repository.writer(write_method=write_method)
    for window in ([bad], [bad, *good]):
        report = write_window(writer, decoded(*window))
        assert rejection(report).cause is Cause.VALUE_REFUSED
    assert repository.stored() == Counter(dataset_ids(*good))
    repository.close()
    postgresql.drop_database(name)
