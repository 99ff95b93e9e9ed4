"""The number of transactions that wrote to the database, as the database counts them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from testbed.postgresql import PostgreSQL

__all__ = ["CountsTransactions", "PostgresTransactions", "SqliteTransactions"]


class CountsTransactions(Protocol):
    """Counts write transactions."""

    def start(self) -> None:
        """Start counting."""

    def count(self) -> int:
        """Return the number of transactions that have written something since then."""


class SqliteTransactions:
    """Counts with the change counter in the database file's header.

    Every transaction that changes the file increments it (SQLite file format, 1.3.7).
    """

    def __init__(self, root: Path) -> None:
        self._file = root / "gen3.sqlite3"

    def start(self) -> None:
        """Start counting."""
        self._first = self._counter()

    def count(self) -> int:
        """Return the number of transactions that have written something since then."""
        return self._counter() - self._first

    def _counter(self) -> int:
        with self._file.open("rb") as file:
            return int.from_bytes(file.read(28)[24:], "big")


class PostgresTransactions:
    """Counts the commit records in the write-ahead log; autovacuum must be off."""

    def __init__(self, server: PostgreSQL) -> None:
        self._server = server

    def start(self) -> None:
        """Start counting."""
        with self._server.connect() as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
            self._first = connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone()

    def count(self) -> int:
        """Return the number of transactions that have written something since then."""
        with self._server.connect() as connection:
            found = connection.execute(
                "SELECT count(*) FROM pg_get_wal_records_info(%s, pg_current_wal_flush_lsn()) "
                "WHERE resource_manager = 'Transaction' AND record_type = 'COMMIT'",
                self._first,
            ).fetchone()
        return int(found[0]) if found else 0
