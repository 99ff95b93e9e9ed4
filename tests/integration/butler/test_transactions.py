"""Each window is one transaction, as counted in PostgreSQL's write-ahead log."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

import orjson
import psycopg
import pytest
from lsst.daf.butler import DatasetType, DimensionUniverse

from testbed.availability import ServerUnavailableError
from testbed.cluster import Cluster
from testbed.postgresql import PostgreSQL
from testbed.worker import Worker
from tests.support.deployment import Deployment
from tests.support.events import RUN, Night

pytestmark = [pytest.mark.kafka, pytest.mark.postgresql]

EVENTS_A_WINDOW = 3


class Observed:
    """A worker with windows of a known number of events, and the write-ahead log of its database.

    Nobody else writes to the database server.
    """

    def __init__(
        self,
        deployment: Deployment,
        worker: Worker,
        connection: psycopg.Connection[tuple[Any, ...]],
    ) -> None:
        self._deployment = deployment
        self._worker = worker
        self._connection = connection
        self._visits = count(1)

    def events(self, windows: int, run: str = RUN, **more: Any) -> list[dict[str, Any]]:
        """Return the events of some windows, each of a new visit."""
        night = Night(self._deployment.root, run=run)
        visits = [next(self._visits) for _ in range(windows)]
        return [night.event(v, d, **more) for v in visits for d in range(EVENTS_A_WINDOW)]

    def known_visits(self, windows: int, run: str = RUN, **more: Any) -> list[dict[str, Any]]:
        """Return the events of some windows; the worker has written others of their visit."""
        night = Night(self._deployment.root, run=run)
        visit = next(self._visits)
        self.write(Night(self._deployment.root).event(visit, d) for d in range(EVENTS_A_WINDOW))
        detectors = range(EVENTS_A_WINDOW, EVENTS_A_WINDOW * (1 + windows))
        return [night.event(visit, detector, **more) for detector in detectors]

    def write(self, events: Iterable[dict[str, Any]]) -> tuple[int, int]:
        """Let the worker write events; return the numbers of windows and transactions."""
        windows, start = self._windows(), self._end_of_log()
        self._deployment.send(*events)
        self._deployment.wait_done()
        return self._windows() - windows, self._commits(start, self._end_of_log())

    def tables(self) -> int:
        """Return the number of tables."""
        return int(self._one("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"))

    def _windows(self) -> int:
        return self._worker.log_text().count('"event": "window flushed"')

    def _end_of_log(self) -> str:
        # With synchronous_commit on, a commit is flushed before the client is told.
        return str(self._one("SELECT pg_current_wal_flush_lsn()"))

    def _commits(self, start: str, end: str) -> int:
        if start == end:
            return 0
        return int(
            self._one(
                "SELECT count(*) FROM pg_get_wal_records_info(%s, %s)"
                " WHERE resource_manager = 'Transaction' AND record_type LIKE 'COMMIT%%'",
                start,
                end,
            )
        )

    def _one(self, query: str, *values: str) -> Any:
        row = self._connection.execute(query, values).fetchone()
        assert row is not None
        return row[0]


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[PostgreSQL]:
    try:
        # No autovacuum: only the worker writes to the log.
        server = PostgreSQL({"autovacuum": "off", "synchronous_commit": "on"})
    except ServerUnavailableError:
        request.getfixturevalue("postgresql")  # skips the test
        raise
    with server:
        yield server


@pytest.fixture(scope="module")
def observed(
    kafka: Cluster, server: PostgreSQL, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Observed]:
    name = f"transactions-{os.getpid()}"
    deployment = Deployment(
        kafka,
        name,
        tmp_path_factory.mktemp(name),
        database=server.create_database(name, ["btree_gist", "pg_walinspect"]),
        settings={
            "BUTLER_WRITER_WINDOW_EVENTS": str(EVENTS_A_WINDOW),
            # Otherwise the same shared rows may be looked up in each lane.
            "BUTLER_WRITER_LANES": "1",
            "BUTLER_WRITER_WINDOW_SECONDS": "600",
        },
    )
    with deployment.worker() as worker, server.connect(name) as connection:
        worker.wait_ready()
        observed = Observed(deployment, worker, connection)
        observed.write(observed.events(1))  # registers RUN
        yield observed


def new_type(name: str, *dimensions: str) -> dict[str, Any]:
    """Return a dataset type as an event brings it."""
    universe = DimensionUniverse()
    found = DatasetType(name, ("instrument", *dimensions), "StructuredDataDict", universe=universe)
    return dict(orjson.loads(found.to_simple().model_dump_json()))


def test_each_window_of_known_visits_is_one_transaction(observed: Observed) -> None:
    assert observed.write(observed.known_visits(3)) == (3, 3)


def test_a_window_that_brings_a_new_visit_takes_one_more_transaction(observed: Observed) -> None:
    assert observed.write(observed.events(4)) == (4, 4 + 4)


def test_each_chain_change_takes_one_more_transaction(observed: Observed) -> None:
    run, other = f"{RUN}-1", f"{RUN}-2"

    assert observed.write(observed.known_visits(1, run)) == (1, 1 + 1 + 1)
    assert observed.write(observed.known_visits(3, run)) == (3, 3)
    # A new visit and a new run are committed together.
    assert observed.write(observed.events(1, other)) == (1, 1 + 1 + 1)


def test_a_new_chain_is_made_in_the_transaction_of_its_first_run(observed: Observed) -> None:
    run = RUN.replace("2026-11-23", "2026-11-24")

    assert observed.write(observed.known_visits(1, run)) == (1, 1 + 1 + 1)


def test_a_run_without_a_chain_takes_no_transaction_for_one(observed: Observed) -> None:
    assert observed.write(observed.known_visits(2, "u/somebody/run")) == (2, 1 + 2)


def test_each_new_dataset_type_takes_one_more_transaction(observed: Observed) -> None:
    types = [new_type(f"new_{n}", "visit", "detector") for n in range(2)]
    tables = observed.tables()

    # And one for its entry in the summary of the run.
    assert observed.write(observed.known_visits(1, dataset_types=types[:1])) == (1, 1 + 1 + 1)
    assert observed.write(observed.known_visits(3, dataset_types=types)) == (3, 3 + 1 + 1)
    assert observed.tables() == tables


def test_a_new_set_of_dimensions_takes_two_more_transactions(observed: Observed) -> None:
    types = [new_type(f"whole_visit_{n}", "visit") for n in range(2)]
    tables = observed.tables()

    # daf_butler uses a transaction for the key of the dimensions, one for their table, and one for
    # each dataset type: it creates no table inside another transaction.
    windows, transactions = observed.write(observed.known_visits(1, dataset_types=types))
    assert (windows, transactions) == (1, 1 + 1 + 2 + len(types))
    assert observed.tables() == tables + 1


def test_redelivered_events_take_no_transaction(observed: Observed) -> None:
    events = observed.known_visits(2)
    assert observed.write(events) == (2, 2)

    assert observed.write(events) == (2, 0)
