"""Windows that the Butler refuses: divided, retried later, or abandoned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from uuid import uuid4

import pytest
import sqlalchemy

from app.butler.events.parsed import ParsedEvent
from app.butler.failures import AbandonedError, RetryableError
from app.butler.insert.batch import Batch
from app.butler.insert.bulk_insert import BulkInsert
from app.butler.policy import WriteMethod
from testbed.writing import write_window
from tests.support.events import DETECTORS, Night, dataset_ids
from tests.support.repositories import Repository, decoded, rejection, written

RECORDS = "file_datastore_records"


@contextmanager
def table_renamed(repository: Repository, name: str) -> Iterator[None]:
    """Rename a table, as a failed migration might."""
    repository.sql(f"ALTER TABLE {name} RENAME TO away")
    try:
        yield
    finally:
        repository.sql(f"ALTER TABLE away RENAME TO {name}")


@pytest.mark.postgresql
@pytest.mark.parametrize("write_method", list(WriteMethod))
def test_no_event_is_rejected_if_all_fail_for_an_unknown_cause(
    postgresql_repository: Repository, write_method: WriteMethod
) -> None:
    repository = postgresql_repository
    night = Night(repository.root)
    events = [night.event(detector=detector) for detector in range(3)]
    bad = night.event(detector=4, staging="s3://staging/")
    window = decoded(*events, bad)
    writer = repository.writer(write_method=write_method)
    with table_renamed(repository, RECORDS), pytest.raises(RetryableError, match=RECORDS) as raised:
        write_window(writer, window)
    assert raised.value.alarm
    assert repository.stored() == Counter()

    report = write_window(writer, window)
    assert repository.stored() == Counter(dataset_ids(*events))
    assert "staging" in rejection(report, 3).reason


def current_for(times: int) -> Callable[[], bool]:
    """Return a function that returns `True` for the first calls, then `False`."""
    answers = count(1)
    return lambda: next(answers) <= times


def test_a_window_that_is_not_current_is_not_written(repository: Repository) -> None:
    window = decoded(Night(repository.root).event())
    with pytest.raises(AbandonedError):
        write_window(repository.writer(), window, is_current=lambda: False)
    assert repository.stored() == Counter()


def test_a_window_may_be_abandoned_between_any_two_attempts(sqlite_repository: Repository) -> None:
    repository = sqlite_repository
    night = Night(repository.root)
    good = [night.event(visit=visit) for visit in range(1, 5)]
    bad = night.event(detector=1)
    (dataset_id,) = bad["datasets"][0]["refs"]
    bad["datasets"][0]["refs"][dataset_id]["data_id"]["detector"] = 999
    window = decoded(good[0], bad, *good[1:])
    writer = repository.writer()
    for times in count():
        try:
            report = write_window(writer, window, is_current=current_for(times))
            break
        except AbandonedError:
            ids = sqlalchemy.table("dataset", sqlalchemy.column("id", sqlalchemy.Uuid()))
            stored = set(repository.sql(sqlalchemy.select(ids.c.id)))
            assert all(stored & dataset_ids(event) in (set(), dataset_ids(event)) for event in good)
    # Each event is parsed, and dividing the window takes at least three attempts.
    assert times >= len(window) + 3
    rejection(report, 1)
    assert repository.stored() == Counter(dataset_ids(*good))


@pytest.mark.parametrize("bad", [0, 31, 63])
@pytest.mark.parametrize(
    ("write_method", "transactions"),
    [
        # The bad event is identified, and the others are written.
        (WriteMethod.RECORDS, [63, 64]),
        # Bisection down to the bad event, and one more attempt with it after all others.
        (WriteMethod.PUBLIC, [1, 1, 1, 2, 2, 4, 4, 8, 8, 16, 16, 32, 32, 64]),
    ],
)
def test_one_bad_event_among_many_costs_one_transaction_or_a_logarithmic_number(
    sqlite_repository: Repository,
    monkeypatch: pytest.MonkeyPatch,
    write_method: WriteMethod,
    transactions: list[int],
    bad: int,
) -> None:
    repository = sqlite_repository
    night = Night(repository.root)
    events = [night.event(1 + n // DETECTORS, n % DETECTORS) for n in range(64)]
    twin = night.event(1 + bad // DETECTORS, bad % DETECTORS)
    for dataset in twin["datasets"]:
        dataset["refs"] = {str(uuid4()): ref for ref in dataset["refs"].values()}
    writer = repository.writer(write_method=write_method)
    written(write_window(writer, decoded(twin)))

    sizes = []

    def counted(batch: Sequence[ParsedEvent]) -> Batch:
        sizes.append(len(batch))
        return make(batch)

    make = Batch.of
    monkeypatch.setattr(Batch, "of", counted)
    report = write_window(writer, decoded(*events))
    rejection(report, bad)
    others = [event for n, event in enumerate(events) if n != bad]
    assert repository.stored() == Counter(dataset_ids(twin, *others))
    assert sorted(sizes) == transactions


@pytest.mark.postgresql
def test_a_data_id_without_a_dimension_record_is_noticed_before_datasets_are_inserted(
    postgresql_repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = postgresql_repository.night()
    events = [night.event(detector=detector) for detector in range(3)]
    for ref in events[1]["datasets"][-1]["refs"].values():
        ref["data_id"]["detector"] = 999
    written_to: list[int] = []
    insert = BulkInsert.insert

    def counting(path: BulkInsert, batch: Batch) -> int:
        written_to.append(len(batch.events))
        return insert(path, batch)

    monkeypatch.setattr(BulkInsert, "insert", counting)
    report = write_window(postgresql_repository.writer(), decoded(*events))

    reason = rejection(report, 1).reason
    assert "there is no detector with instrument='TestCam', detector=999" in reason
    assert postgresql_repository.stored() == Counter(dataset_ids(events[0], events[2]))
    assert written_to == [2]
