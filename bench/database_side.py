"""Measures what a load costs the database, with the database's own counters."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

import psutil

from simulator.transactions import PostgresTransactions
from testbed.postgresql import PostgreSQL

__all__ = ["COLUMNS", "Cost", "observe", "observe_waits"]

#: Seconds between two samples of the sessions that wait for a lock.
_INTERVAL = 0.02


@dataclass
class Cost:
    """The cost of a load, from the start of a block to its end.

    Attributes
    ----------
    statements, transactions : `int`
        As the server counts them; BEGIN, COMMIT and COPY are statements, too.
    commits : `int`
        Transactions that wrote something.
    execution : `float`
        Seconds that the statements took, including waits for locks.
    cpu : `float`
        Seconds of processor time of all the server's processes.
    wal_bytes : `int`
        Bytes written to the write-ahead log.
    lock_waits : `float`
        Total seconds that sessions waited for row locks, found by sampling.
    connections : `int`
        Maximum number of open connections.
    dearest : `list` [`tuple`]
        The statements that took the longest: text, calls, seconds.
    """

    statements: int = 0
    transactions: int = 0
    commits: int = 0
    execution: float = 0.0
    cpu: float = 0.0
    wal_bytes: int = 0
    lock_waits: float = 0.0
    connections: int = 0
    dearest: list[tuple[str, int, float]] = field(default_factory=list)

    def per(self, events: int) -> list[str]:
        """Return the cost per event, as cells for the columns `COLUMNS`."""
        return [
            f"{self.statements / events:.2f}",
            f"{self.transactions / events:.2f}",
            f"{self.commits / events:.3f}",
            f"{1000 * self.execution / events:.1f}",
            f"{1000 * self.cpu / events:.1f}",
            f"{self.wal_bytes / events / 1024:.0f}",
            f"{1000 * self.lock_waits / events:.1f}",
            str(self.connections),
        ]


#: Column headings for `Cost.per`.
COLUMNS = [
    "statements",
    "transactions",
    "commits",
    "execution (ms)",
    "CPU (ms)",
    "WAL (KiB)",
    "lock waits (ms)",
    "connections",
]


@contextmanager
def observe_waits(server: PostgreSQL, database: str) -> Iterator[Cost]:
    """Measure the processor time, lock waits and connections of a block."""
    cost = Cost()
    cpu = _cpu(server)
    over = Event()
    looking = Thread(target=_look, args=(server, database, over, cost), daemon=True)
    looking.start()
    try:
        yield cost
    finally:
        over.set()
        looking.join()
    cost.cpu = _cpu(server) - cpu


@contextmanager
def observe(server: PostgreSQL, database: str) -> Iterator[Cost]:
    """Measure the cost of a block; autovacuum must be off, and no other session active."""
    transactions = PostgresTransactions(server)
    transactions.start()
    with server.connect() as connection:
        connection.execute("SELECT pg_stat_statements_reset()")
        wal = _one(connection, "SELECT pg_current_wal_insert_lsn() - '0/0'")
        with observe_waits(server, database) as cost:
            yield cost
        cost.wal_bytes = int(_one(connection, "SELECT pg_current_wal_insert_lsn() - '0/0'") - wal)
        cost.commits = transactions.count()
        ours = "FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid WHERE datname = %s"
        cost.statements = int(_one(connection, f"SELECT sum(calls) {ours}", database))
        cost.transactions = int(
            _one(
                connection,
                f"SELECT coalesce(sum(calls), 0) {ours} AND query ILIKE 'BEGIN%%'",
                database,
            )
        )
        cost.execution = _one(connection, f"SELECT sum(total_exec_time) {ours}", database) / 1000
        found = connection.execute(
            "SELECT left(regexp_replace(query, '\\s+', ' ', 'g'), 100), calls, "
            f"total_exec_time / 1000 {ours} ORDER BY total_exec_time DESC LIMIT 12",
            (database,),
        )
        cost.dearest = [(str(q), int(calls), float(seconds)) for q, calls, seconds in found]


def _look(server: PostgreSQL, database: str, over: Event, cost: Cost) -> None:
    last = time.monotonic()
    with server.connect() as connection:
        while not over.wait(_INTERVAL):
            row = connection.execute(
                "SELECT count(*), count(*) FILTER (WHERE wait_event_type = 'Lock') "
                "FROM pg_stat_activity WHERE datname = %s",
                (database,),
            ).fetchone()
            assert row is not None
            now = time.monotonic()
            cost.connections = max(cost.connections, int(row[0]))
            cost.lock_waits += int(row[1]) * (now - last)
            last = now


def _one(connection: Any, statement: str, *parameters: object) -> float:
    row = connection.execute(statement, parameters or None).fetchone()
    return float(row[0] or 0)


def _cpu(server: PostgreSQL) -> float:
    """Return the processor time of the server and its children, including ended ones."""
    process = psutil.Process(server.pid)
    times = [process.cpu_times()]
    for child in process.children(recursive=True):
        try:
            times.append(child.cpu_times())
        except psutil.NoSuchProcess:
            continue
    ended = times[0].children_user + times[0].children_system
    return float(ended + sum(t.user + t.system for t in times))
