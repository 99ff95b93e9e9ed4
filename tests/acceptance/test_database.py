"""A database that is restarted, away, slow, or shared with somebody who writes the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import psutil
import psycopg
import pytest
from lsst.daf.butler import Butler

from tests.acceptance.laboratory import FAIL_POINTS, Laboratory
from tests.events import DETECTORS, Night
from tests.parts.postgresql import PostgreSQL
from tests.parts.waiting import wait_until

MakeLaboratory = Callable[..., Laboratory]


@pytest.fixture
def laboratory(make_laboratory: MakeLaboratory, private_postgresql: PostgreSQL) -> Laboratory:
    """A laboratory whose database server is its own."""
    return make_laboratory(database=private_postgresql.create_database("butler"))


@pytest.mark.slow
def test_postgresql_is_restarted(laboratory: Laboratory, private_postgresql: PostgreSQL) -> None:
    laboratory.start(2)
    with laboratory.load():
        for _ in range(3):
            enough = laboratory.deployment.committed() + 20
            wait_until(lambda: laboratory.deployment.committed() > enough, 60, "events written")  # noqa: B023
            private_postgresql.restart()
    laboratory.make_books()


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("seconds", [20, 60])
def test_postgresql_is_away(
    laboratory: Laboratory, private_postgresql: PostgreSQL, seconds: float
) -> None:
    """For as long as several session timeouts (6 s each): nobody may leave the group."""
    workers = laboratory.start(2)
    with laboratory.load():
        wait_until(lambda: laboratory.deployment.committed() > 20, 60, "events are written")
        private_postgresql.kill()
        wait_until(lambda: all(w.status("/readyz") == 503 for w in workers), 60, "not ready")
        time.sleep(seconds)
        private_postgresql.start()
        wait_until(lambda: all(w.status("/readyz") == 200 for w in workers), 60, "ready again")
    laboratory.make_books()


def test_a_backend_is_ended_in_mid_transaction(
    laboratory: Laboratory, private_postgresql: PostgreSQL
) -> None:
    laboratory.start(2)
    with laboratory.load(), private_postgresql.connect() as administrator:
        for _ in range(5):
            wait_until(
                lambda: administrator.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = 'butler' AND backend_xid IS NOT NULL LIMIT 1"
                ).fetchone(),
                60,
                "a transaction to break",
            )
    laboratory.make_books()


@pytest.mark.slow
def test_somebody_else_writes_the_same_visits(laboratory: Laboratory) -> None:
    """In another order, in long transactions: deadlocks and lost races are forced."""
    laboratory.start(2)
    with competitor(laboratory), laboratory.load(rate=60):
        wait_until(lambda: laboratory.deployment.committed() > 200, 120, "events are written")
    laboratory.make_books()


@contextmanager
def competitor(laboratory: Laboratory) -> Iterator[None]:
    """Insert the dimension records of the visits to come, from the last to the first."""
    over = Event()

    def write() -> None:
        butler = Butler.from_config(str(laboratory.deployment.root), writeable=True)
        night = Night(universe=butler.dimensions)
        for visit in range(1, 1000):
            if over.is_set():
                return
            records = {
                record.definition.name: record
                for detector in reversed(range(DETECTORS))
                for record in night.visit_records(visit, detector)
            }
            try:
                with butler.transaction():
                    for element in butler.dimensions.sorted(records):
                        butler.registry.insertDimensionData(
                            element, records[element.name], skip_existing=True
                        )
                    time.sleep(0.1)
            except Exception:  # noqa: BLE001 - it may lose a deadlock, the service may not
                pass

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        try:
            yield
        finally:
            over.set()
        writing.result()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_slow_database_does_not_fill_the_memory(make_laboratory: MakeLaboratory) -> None:
    """Each write takes 5 s more, events come as fast as they can be sent."""
    bound = 8 * 2**20
    laboratory = make_laboratory(
        settings={
            "BUTLER_WRITER_MAX_BYTES_HELD": str(bound),
            "BUTLER_WRITER_WINDOW_BYTES": str(bound // 4),
        }
    )
    (worker,) = laboratory.start(
        PYTHONPATH=str(FAIL_POINTS), FAIL_POINT="slow-database", SLOW_SECONDS="5"
    )
    process = psutil.Process(worker.process.pid)
    before = process.memory_info().rss
    peak = 0
    held = 0
    laboratory.send(3000)
    while laboratory.deployment.committed() < 3000:
        peak = max(peak, process.memory_info().rss)
        held = max(held, int(worker.state()["bytes_held"]))
        time.sleep(0.2)
    print(f"bytes held at most {held}, bound {bound}; RSS {before >> 20} -> {peak >> 20} MiB")
    assert held <= bound + 2**20
    assert peak < 1024 * 2**20
    laboratory.make_books()


@pytest.mark.slow
def test_connections_are_refused_for_a_while(
    laboratory: Laboratory, private_postgresql: PostgreSQL
) -> None:
    laboratory.start(1)
    with laboratory.load(), private_postgresql.connect() as administrator:
        wait_until(lambda: laboratory.deployment.committed() > 20, 60, "events are written")
        administrator.execute("ALTER DATABASE butler ALLOW_CONNECTIONS false")
        administrator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'butler'"
        )
        (worker,) = laboratory.workers
        wait_until(lambda: worker.status("/readyz") == 503, 60, "the worker is not ready")
        with pytest.raises(psycopg.OperationalError):
            private_postgresql.connect("butler")
        administrator.execute("ALTER DATABASE butler ALLOW_CONNECTIONS true")
    laboratory.make_books()
