"""What the product log has of a window suffices to fill another repository."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from lsst.daf.butler import Butler

from app.butler.events.parsed import ParsedEvent
from app.butler.failures import RetryableError
from app.butler.outcome import Written
from app.butler.private.dimension_rows import DimensionRows
from app.butler.private.registry import engine_of
from app.butler.products import window_files
from app.butler.products.messages import product_messages
from app.butler.products.related_keys import RecordId, RelatedKeys
from app.butler.products.stored_records import StoredRecords
from app.butler.repository.chains import ChainKeeper
from app.butler.writer import ButlerWriter
from models.product import Products
from testbed.tables import check_same, tables_of
from tests.support.events import (
    CHAIN,
    DETECTORS,
    INSTRUMENT,
    RUN,
    dataset_ids,
)
from tests.support.product_import import import_products
from tests.support.repositories import Repository, decoded

LIMIT = 10 * 2**20


def write(
    writer: ButlerWriter, events: Sequence[dict[str, Any]], limit: int = LIMIT
) -> list[Products]:
    """Write events in one window, and return the messages about it."""
    prepared = writer.prepare(dict(enumerate(decoded(*events))), is_current=lambda: True)
    report = writer.commit(prepared, is_current=lambda: True)
    assert all(isinstance(outcome, Written) for outcome in report.outcomes.values()), report
    parsed = [event for event in prepared.values() if isinstance(event, ParsedEvent)]
    sent = product_messages(
        writer.products(writer.serialize_products(parsed)),
        uuid4(),
        datetime.now(UTC),
        limit,
    )
    messages = [Products.decode(value) for _, value in sent]
    assert [run for run, _ in sent] == [message.run for message in messages]
    return messages


def ids(messages: Sequence[Products]) -> list[UUID]:
    return [UUID(i) for message in messages for file in message.datasets for i in file["refs"]]


def records(messages: Sequence[Products], element: str) -> list[dict[str, Any]]:
    return [
        given["record"]
        for message in messages
        for given in message.dimension_records
        if given["definition"] == element
    ]


@pytest.mark.parametrize("limit", [LIMIT, 20_000])
def test_an_empty_repository_that_is_filled_from_the_log_is_the_same(
    repository: Repository, empty: Butler, limit: int
) -> None:
    night = repository.night()
    writer = repository.writer()
    messages = []
    for visit in (1, 2):
        events = [night.event(visit, detector) for detector in range(DETECTORS)]
        messages += write(writer, events, limit)
    assert (len(messages) == 2) is (limit == LIMIT)
    ChainKeeper(repository.butler()).ensure([(CHAIN, RUN)])
    import_products(empty, messages, repository.root)
    check_same(tables_of(engine_of(empty)), tables_of(engine_of(repository.reader)))
    for ref in empty.query_all_datasets(CHAIN, find_first=False, limit=None):
        assert empty.get(ref) == repository.reader.get(ref)


def test_a_window_is_one_message_of_each_run_with_each_record_once(
    sqlite_repository: Repository,
) -> None:
    night, other = sqlite_repository.night(), sqlite_repository.night(f"{RUN}/other")
    events = [night.event(1, detector) for detector in range(3)] + [other.event(1, 0)]
    messages = write(sqlite_repository.writer(), events)
    assert [message.run for message in messages] == [RUN, f"{RUN}/other"]
    assert [message.sequence for message in messages] == [0, 1]
    assert sorted(ids(messages)) == sorted(dataset_ids(*events))
    for message in messages:
        keys = [json.dumps(given, sort_keys=True) for given in message.dimension_records]
        assert len(keys) == len(set(keys))
    detectors = [r["id"] for r in records(messages[:1], "detector")]
    assert sorted(detectors) == [0, 1, 2]
    assert [r["detector"] for r in records(messages[1:], "visit_detector_region")] == [0]
    assert messages[0].chains == [CHAIN]


def test_files_are_in_the_log_as_the_event_gives_them(sqlite_repository: Repository) -> None:
    """Whatever characters the names have."""
    event = sqlite_repository.night(f'{RUN}/"a"/\\å').event(1, 0)
    event["datasets"][0]["size"] = 7
    event["datasets"][1] |= {"size": 0, "checksum": "0a"}
    (message,) = write(sqlite_repository.writer(), [event])
    assert message.datasets == event["datasets"]


def test_a_message_says_where_its_run_is_in_the_chain(sqlite_repository: Repository) -> None:
    night, writer = sqlite_repository.night(), sqlite_repository.writer()
    for run in ("other", RUN):
        sqlite_repository.reader.collections.register(run)
    ChainKeeper(sqlite_repository.butler()).ensure([(CHAIN, "other"), (CHAIN, RUN)])
    (message,) = write(writer, [night.event(1, 0)])
    assert message.chain_positions == {CHAIN: -2}
    sqlite_repository.reader.collections.remove_from_chain(CHAIN, RUN)
    (message,) = write(sqlite_repository.writer(), [night.event(1, 1)])
    assert (message.chains, message.chain_positions) == ([CHAIN], {})


def test_a_file_with_many_datasets_is_divided_only_if_it_is_too_large(
    sqlite_repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_files, "_DATASETS_AT_ONCE", 3)
    event, other = (sqlite_repository.night().event(1, detector) for detector in range(2))
    (first, *rest) = event["datasets"]
    for artifact in rest:
        first["refs"] |= artifact["refs"]
    event["datasets"] = [first]
    for limit, is_divided in ((LIMIT, False), (4_000, True)):
        messages = write(sqlite_repository.writer(), [event, other], limit)
        assert sorted(ids(messages)) == sorted(dataset_ids(event, other))
        files = [
            (message.sequence, file["path"], file.get("is_part", False))
            for message in messages
            for file in message.datasets
        ]
        large = [(n, is_part) for n, path, is_part in files if path == first["path"]]
        assert (len(large) > 1) is is_divided
        assert {is_part for _, is_part in large} == {is_divided}
        assert not any(is_part for _, path, is_part in files if path != first["path"])
    (alone,) = write(sqlite_repository.writer(), [event])
    assert alone.chains == [CHAIN]


def test_what_was_written_before_is_in_the_log_again(sqlite_repository: Repository) -> None:
    events = [sqlite_repository.night().event(1, detector) for detector in range(2)]
    first = write(sqlite_repository.writer(), events)
    again = write(sqlite_repository.writer(), [*events, events[0]])
    assert sorted(ids(again)) == sorted(dataset_ids(*events)) == sorted(ids(first))
    assert [m.dimension_records for m in again] == [m.dimension_records for m in first]


def test_the_log_has_the_records_of_the_repository_not_those_of_the_event(
    repository: Repository,
) -> None:
    night = repository.night()
    write(repository.writer(), [night.event(1, 0)])
    later = night.event(1, 1)
    for given in later["dimension_records"]:
        if given["definition"] in ("visit", "exposure"):
            given["record"]["exposure_time"] = 7.0
            given["record"]["timespan"] = [1, 2]
    stored = night.event(1, 0)["dimension_records"]
    for writer in (repository.writer(), repository.writer(write_method="public")):
        messages = write(writer, [later])
        for element in ("visit", "exposure"):
            (expected,) = [r["record"] for r in stored if r["definition"] == element]
            (found,) = records(messages, element)
            assert found == expected


def test_records_that_the_event_lacks_are_those_of_the_repository(
    repository: Repository,
) -> None:
    night = repository.night()
    whole, bare = night.event(1, 0), night.event(1, 1)
    write(repository.writer(), [whole])
    bare["dimension_records"] = []
    bare["datasets"] = [
        f for f in bare["datasets"] if "group" not in next(iter(f["refs"].values()))["data_id"]
    ]
    messages = write(repository.writer(), [bare])
    found = {given["definition"] for given in messages[0].dimension_records}
    expected = {given["definition"] for given in whole["dimension_records"]}
    assert found >= expected - {"visit_detector_region"}
    assert found >= {"instrument", "detector", "physical_filter", "visit_system"}


def test_a_group_comes_with_its_exposures_and_their_visits(repository: Repository) -> None:
    """With those that are stored by then; others of the group may come later."""
    night = repository.night()
    event = night.event(1, 0)
    early = night.event(1, 1)
    groups = ("preload_log", "preload_metadata")
    early["datasets"] = [
        file
        for file in early["datasets"]
        if next(iter(file["refs"].values()))["dataset_type_name"] in groups
    ]
    early["dimension_records"] = [
        given for given in early["dimension_records"] if given["definition"] == "group"
    ]
    writer = repository.writer()
    before = write(writer, [early])
    assert records(before, "group")
    assert records(before, "exposure") == []
    write(repository.writer(), [event])
    after = write(writer, [early])
    for element in ("exposure", "visit", "visit_definition", "visit_system_membership"):
        expected = [r["record"] for r in event["dimension_records"] if r["definition"] == element]
        assert records(after, element) == expected, element
    assert records(after, "visit_detector_region") == []


def test_a_changed_visit_is_looked_up_again_after_a_minute(sqlite_repository: Repository) -> None:
    clock = [0.0]
    night = sqlite_repository.night()
    write(sqlite_repository.writer(), [night.event(1, 0)])
    universe, rows = sqlite_repository.reader.dimensions, DimensionRows(sqlite_repository.reader)
    stored = StoredRecords(universe, rows, RelatedKeys(universe, rows), lambda: clock[0])
    key: RecordId = ("visit", (INSTRUMENT, 1))

    def exposure_time() -> float:
        with rows.connection() as connection:
            records, _ = stored.find(connection, [key])
            found = json.loads(records[key].content)
        return float(found["record"]["exposure_time"])

    assert exposure_time() == 30
    sqlite_repository.sql("UPDATE visit SET exposure_time = 99")
    clock[0] = 59.0
    assert exposure_time() == 30
    clock[0] = 61.0
    assert exposure_time() == 99


def test_records_read_from_their_tables_are_those_of_the_query_system(
    repository: Repository,
) -> None:
    event = repository.night().event(1, 3)
    write(repository.writer(), [event])
    rows = DimensionRows(repository.reader)
    for given in event["dimension_records"]:
        name = given["definition"]
        element = repository.reader.dimensions[name]
        (expected,) = repository.reader.query_dimension_records(name, explain=False)
        with rows.connection() as connection:
            fetch = rows.records(element, [(*expected.dataId.required_values,)])
            assert rows.fetch(connection, [fetch]) == [[expected]]


@pytest.mark.postgresql
def test_a_session_that_is_lost_is_named_and_the_next_attempt_succeeds(
    postgresql_repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is lost between two statements of a look-up."""
    repository = postgresql_repository
    writer = repository.writer()
    prepared = writer.prepare(
        dict(enumerate(decoded(repository.night().event(1, 0)))), is_current=lambda: True
    )
    writer.commit(prepared, is_current=lambda: True)
    parsed = [event for event in prepared.values() if isinstance(event, ParsedEvent)]
    records = DimensionRows.records

    def end_sessions(self: DimensionRows, *arguments: Any) -> Any:
        monkeypatch.undo()
        repository.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return records(self, *arguments)

    monkeypatch.setattr(DimensionRows, "records", end_sessions)
    with pytest.raises(RetryableError, match=r"terminating connection|server closed"):
        writer.products(writer.serialize_products(parsed))
    assert writer.products(writer.serialize_products(parsed)).records
