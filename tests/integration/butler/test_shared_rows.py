"""Windows that bring the same visit, run and dataset types do not wait for each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Event
from typing import Any

import pytest

from app.butler.failures import RetryableError
from app.butler.outcome import WriteReport
from app.butler.policy import WriteMethod
from app.butler.private.registry import engine_of
from app.butler.writer import ButlerWriter
from testbed.sent_messages import sent_messages
from testbed.writing import write_window
from tests.support.events import dataset_ids
from tests.support.repositories import Repository, decoded, written

pytestmark = pytest.mark.postgresql


class Rows:
    """How many rows some tables have, as another session sees them."""

    def __init__(self, repository: Repository) -> None:
        self._engine = engine_of(repository.reader)

    def __getitem__(self, table: str) -> int:
        with self._engine.connect() as connection:
            return int(connection.exec_driver_sql(f'SELECT count(*) FROM "{table}"').scalar_one())


@contextmanager
def written_but_not_committed(
    writer: ButlerWriter, *events: dict[str, Any]
) -> Iterator[Future[WriteReport[int]]]:
    """Let a writer insert all rows of a window, and commit them at the end of the context."""
    transaction = writer._commit._transaction
    insert, inserted, may_commit = transaction._insert.insert, Event(), Event()

    def waiting(batch: Any) -> int:
        number = insert(batch)
        inserted.set()
        assert may_commit.wait(30)
        return number

    transaction._insert.insert = waiting  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as thread:
        report = thread.submit(write_window, writer, decoded(*events))
        try:
            assert inserted.wait(30)
            yield report
        finally:
            may_commit.set()


def test_a_window_does_not_wait_for_another_one_that_brings_the_same_new_rows(
    postgresql_repository: Repository,
) -> None:
    repository = postgresql_repository
    night = repository.night()
    first, second = night.event(detector=0), night.event(detector=1)
    writer = repository.writer(lock_timeout=0.5)
    with written_but_not_committed(repository.writer(), first) as report:
        written(write_window(writer, decoded(second)))
        assert not report.done()
        assert repository.stored() == Counter(dataset_ids(second))
    written(report.result())
    assert repository.stored() == Counter(dataset_ids(first, second))


def test_other_writers_of_a_new_visit_wait_for_two_messages_only(
    postgresql_repository: Repository,
) -> None:
    """They wait from the first insert to the commit, however slow this worker is.

    Butler itself looks into a table between the records with a region and their overlaps.
    """
    repository = postgresql_repository
    writer, night = repository.writer(), repository.night()
    written(write_window(writer, decoded(night.event(visit=1))))
    with sent_messages(engine_of(writer._butler)) as sent:
        written(write_window(writer, decoded(night.event(visit=2))))
    texts = [text for *_, text in sent if "INSERT INTO" in text]
    for table in ('"group"', "exposure", "visit"):
        assert f"INSERT INTO public.{table} " in texts[0]
    for expected in ("INSERT INTO public.visit_definition ", ";COMMIT"):
        assert expected in texts[1]


def test_with_the_public_method_it_waits_for_the_first_datasets_of_a_run_alone(
    postgresql_repository: Repository,
) -> None:
    repository = postgresql_repository
    night = repository.night()
    writers = [
        repository.writer(write_method=WriteMethod.PUBLIC, lock_timeout=limit)
        for limit in (10, 0.5)
    ]
    written(write_window(writers[0], decoded(night.event(visit=1))))
    with written_but_not_committed(writers[0], night.event(visit=2, detector=0)):
        written(write_window(writers[1], decoded(night.event(visit=2, detector=1))))


def test_the_rows_of_a_single_detector_stay_in_the_transaction_of_its_datasets(
    postgresql_repository: Repository,
) -> None:
    rows = Rows(postgresql_repository)
    event = postgresql_repository.night().event()
    with written_but_not_committed(postgresql_repository.writer(), event):
        assert rows["visit"] == rows["exposure"] == rows["group"] == 1
        assert rows["visit_detector_region"] == rows["dataset"] == 0
    assert rows["visit_detector_region"] == 1


@pytest.mark.parametrize("write_method", WriteMethod)
def test_shared_rows_without_datasets_are_completed_by_the_redelivery(
    postgresql_repository: Repository, write_method: WriteMethod, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = postgresql_repository
    events = [repository.night().event(detector=n) for n in range(2)]
    died = repository.writer(write_method=write_method)
    monkeypatch.setattr(died._commit._transaction, "_insert_all", lambda *_: 1 / 0)
    with suppress(RetryableError):
        write_window(died, decoded(*events))
    rows = Rows(repository)
    assert (rows["visit"], rows["dataset"]) == (1, 0)
    report = write_window(repository.writer(write_method=write_method), decoded(*events))
    written(report)
    assert report.mismatched_records == 0
    assert repository.stored() == Counter(dataset_ids(*events))
