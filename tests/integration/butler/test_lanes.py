"""Two windows at once that contain datasets with the same data IDs or the same ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest

from app.butler.outcome import Outcome, Rejection, Written
from app.butler.writer import ButlerWriter
from models.causes import Cause
from testbed.writing import write_until_done
from tests.support.events import dataset_ids
from tests.support.repositories import Repository, decoded

pytestmark = pytest.mark.postgresql

DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


def write_at_once(
    writers: list[ButlerWriter], windows: list[list[dict[str, Any]]]
) -> list[dict[int, Outcome]]:
    """Write a window with each writer; both insert their rows at the same time."""
    barrier = Barrier(len(writers))

    def write(writer: ButlerWriter, events: list[dict[str, Any]]) -> dict[int, Outcome]:
        window = dict(enumerate(decoded(*events)))
        barrier.wait(30)
        return write_until_done(writer, window, 5)

    with ThreadPoolExecutor(len(writers)) as threads:
        return list(threads.map(write, writers, windows))


def same(event: dict[str, Any]) -> dict[str, Any]:
    return event


def with_other_ids(event: dict[str, Any]) -> dict[str, Any]:
    """Return the event with the same data IDs, but other dataset ids."""
    datasets = [
        dataset | {"refs": {str(uuid4()): ref for ref in dataset["refs"].values()}}
        for dataset in event["datasets"]
    ]
    return event | {"datasets": datasets}


@pytest.mark.parametrize("make_twin", [same, with_other_ids])
def test_windows_with_the_same_datasets_in_any_order_do_not_deadlock(
    postgresql_repository: Repository, make_twin: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    repository = postgresql_repository
    night = repository.night()
    deadlocks = repository.sql(DEADLOCKS)
    writers = [repository.writer() for _ in range(2)]
    for visit in range(1, 9):
        events = [night.event(visit, detector) for detector in range(8)]
        twins = [make_twin(event) for event in reversed(events)]
        first, second = write_at_once(writers, [events, twins])
        outcomes = [(first[n], second[7 - n]) for n in range(8)]
        if make_twin is same:
            assert all(isinstance(one, Written) for pair in outcomes for one in pair)
        else:
            for pair in outcomes:
                (rejected,) = [one for one in pair if isinstance(one, Rejection)]
                assert rejected.cause is Cause.CONFLICT
                assert "it is dataset" in rejected.reason
        stored = repository.stored()
        given = Counter(dataset_ids(*events)), Counter(dataset_ids(*twins))
        assert sum((stored & ids).total() for ids in given) == given[0].total() * (
            2 if make_twin is same else 1
        )
    assert deadlocks == repository.sql(DEADLOCKS)


def test_other_datasets_with_the_same_data_ids_are_inserted_in_the_same_order(
    postgresql_repository: Repository,
) -> None:
    """Every inserted row takes a while, so that two inserts overlap whatever the machine does."""
    repository = postgresql_repository
    earlier, night = repository.night("earlier/run"), repository.night()
    writers = [repository.writer() for _ in range(2)]
    # The detectors' records are stored, so that no window waits for the other one's.
    records = [earlier.event(1, detector) for detector in range(1, 9)]
    for writer in writers:
        for events in (records, [night.event(1, 0)]):
            write_until_done(writer, dict(enumerate(decoded(*events))), 1)
    slow_down_tags(repository)
    deadlocks = repository.sql(DEADLOCKS)
    events = [night.event(1, detector) for detector in range(1, 9)]
    first, second = write_at_once(writers, [events, [with_other_ids(e) for e in events]])
    for number in range(8):
        kinds = {type(first[number]), type(second[number])}
        assert kinds == {Written, Rejection}
    assert deadlocks == repository.sql(DEADLOCKS)


def slow_down_tags(repository: Repository) -> None:
    repository.sql(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_sleep(0.05); RETURN NEW; END'"
    )
    tables = repository.sql("SELECT tablename FROM pg_tables WHERE tablename LIKE 'dataset_tags_%'")
    for table in tables:
        repository.sql(
            f"CREATE TRIGGER slow BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION wait()"
        )
