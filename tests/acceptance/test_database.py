"""A database that is restarted, unavailable, slow, or shared with another writer."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count

import psycopg
import pytest

from testbed.postgresql import PostgreSQL
from testbed.waiting import wait_until
from tests.acceptance.laboratory import FAIL_POINTS, Laboratory
from tests.support.events import DETECTORS, INSTRUMENT, group_name

MakeLaboratory = Callable[..., Laboratory]


@pytest.fixture
def laboratory(make_laboratory: MakeLaboratory, private_postgresql: PostgreSQL) -> Laboratory:
    """A laboratory with its own database server."""
    return make_laboratory(database=private_postgresql.create_database("butler"))


@pytest.mark.slow
def test_postgresql_is_restarted(laboratory: Laboratory, private_postgresql: PostgreSQL) -> None:
    laboratory.start(2)
    with laboratory.pods.load():
        for _ in range(3):
            laboratory.wait_finished(50)
            private_postgresql.restart()
    laboratory.reconcile()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_postgresql_is_unavailable_for_60_s(
    laboratory: Laboratory, private_postgresql: PostgreSQL
) -> None:
    """Ten session timeouts: no worker may leave the group."""
    workers = laboratory.start(2)
    with laboratory.pods.load():
        laboratory.wait_finished(20)
        private_postgresql.kill()
        laboratory.wait_not_ready(*workers)
        time.sleep(60)
        assert laboratory.busy(*workers) == workers
        private_postgresql.start()
        laboratory.wait_finished(200)
    laboratory.reconcile()


def test_a_database_session_is_terminated_in_mid_transaction(
    laboratory: Laboratory, private_postgresql: PostgreSQL
) -> None:
    laboratory.start(2)
    with laboratory.pods.load(), private_postgresql.connect() as administrator:
        for _ in range(5):
            wait_until(
                lambda: administrator.execute(
                    # Wait until the session has ended, so that the next one found is another.
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                    "WHERE datname = 'butler' AND backend_xid IS NOT NULL LIMIT 1"
                ).fetchone(),
                60,
                "a transaction to break",
                interval=0.01,
            )
    laboratory.reconcile()


@pytest.mark.parametrize(
    ("isolation", "failure"),
    [
        ("read committed", "deadlock detected"),
        pytest.param("repeatable read", "could not serialize access", marks=pytest.mark.slow),
    ],
    ids=["deadlocks", "serialization failures"],
)
def test_another_writer_writes_the_same_visits(
    laboratory: Laboratory, private_postgresql: PostgreSQL, isolation: str, failure: str
) -> None:
    """The service locks the first of two visits and then needs the other, which is locked."""
    with private_postgresql.connect() as administrator:
        administrator.execute(
            f"ALTER DATABASE butler SET default_transaction_isolation TO '{isolation}'"
        )
        administrator.execute("ALTER DATABASE butler SET deadlock_timeout TO '2s'")
    # Both visits are in one window.
    (worker,) = laboratory.start(
        BUTLER_WRITER_WINDOW_SECONDS="60", BUTLER_WRITER_WINDOW_EVENTS=str(2 * DETECTORS)
    )
    with private_postgresql.connect("butler") as rival:
        rival.execute("SET default_transaction_isolation TO 'read committed'")
        rival.execute(
            "SET deadlock_timeout TO '1min'"
        )  # the service must detect the deadlock first
        for visit in count(1, 2):
            if worker.log_text().count(failure) >= 3:
                break
            assert visit < 20, f"{failure}: not forced"
            earlier, later = sorted(map(group_name, (visit, visit + 1)))
            with rival.transaction():
                add_group(rival, later)
                laboratory.pods.send(2 * DETECTORS)
                wait_until(lambda: blocks_another_session(rival), 60, "the service waits")
                if failure == "deadlock detected":
                    add_group(rival, earlier)
    laboratory.reconcile()


def add_group(rival: psycopg.Connection[tuple[object, ...]], name: str) -> None:
    """Insert a group's dimension record."""
    rival.execute(
        'INSERT INTO "group" (instrument, name) VALUES (%s, %s) ON CONFLICT DO NOTHING',
        (INSTRUMENT, name),
    )


def blocks_another_session(rival: psycopg.Connection[tuple[object, ...]]) -> bool:
    """Return whether another session waits for a lock of this one."""
    # Not pg_stat_activity, which would show the same sessions for as long as the transaction lasts.
    blocked = (
        "SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    )
    return rival.execute(blocked).rowcount > 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_slow_database_does_not_fill_the_memory(make_laboratory: MakeLaboratory) -> None:
    """Writes take 5 s longer; more events wait than a worker may hold (1,500 by default).

    Some may wait for a turn of their own, since others' shared rows are locked for as long; the
    bound does not count them.
    """
    laboratory = make_laboratory(partitions=1)
    laboratory.pods.send(9_000)
    (worker,) = laboratory.start(
        PYTHONPATH=str(FAIL_POINTS), FAIL_POINT="slow-database", SLOW_SECONDS="5"
    )
    states = [worker.state()]

    def is_done() -> bool:
        with suppress(OSError):  # on a busy machine it may not answer in time
            states.append(worker.state())
        return laboratory.deployment.committed() == 9_000

    wait_until(is_done, 400, "everything is written", interval=0.2)
    most = 500 * (laboratory.lanes + 1)
    assert {state["max_events_in_windows"] for state in states} == {most}
    assert max(state["events_in_windows"] for state in states) >= most
    assert all(state["events_in_windows"] - state["postponed_events"] <= most for state in states)
    assert max(state["bytes_held"] for state in states) < most * 10_000
    assert laboratory.reconcile().peak_rss < 1024, "the deployed pod has 1 GiB"


@pytest.mark.slow
def test_connections_are_refused_for_a_while(
    laboratory: Laboratory, private_postgresql: PostgreSQL
) -> None:
    (worker,) = laboratory.start()
    with laboratory.pods.load(), private_postgresql.connect() as administrator:
        laboratory.wait_finished(20)
        administrator.execute("ALTER DATABASE butler ALLOW_CONNECTIONS false")
        administrator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'butler'"
        )
        laboratory.wait_not_ready(worker)
        with pytest.raises(psycopg.OperationalError):
            private_postgresql.connect("butler")
        administrator.execute("ALTER DATABASE butler ALLOW_CONNECTIONS true")
    laboratory.reconcile()
