"""Repositories on PostgreSQL: one is prepared, and every run gets a copy of its database."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import LiteralString, Self

import psycopg
import sqlalchemy
from lsst.daf.butler import Butler
from psycopg import sql

from app.butler.policy import WritePolicy
from app.butler.repository.connection import open_butler
from bench.filling import multiply
from bench.workload import Workload
from simulator.repository import make_repository
from testbed.peer import PeerWriter
from testbed.postgresql import PostgreSQL
from testbed.tables import Tables, tables_of

__all__ = [
    "FEWER_DATASETS",
    "MOST_DATASETS",
    "POLICY",
    "SERVER_SETTINGS",
    "Repositories",
    "Repository",
]

#: Settings of a production server, not of a test: committed data is on the disk.
SERVER_SETTINGS: dict[str, str | int] = {
    "fsync": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
    "max_connections": 200,
    "shared_preload_libraries": "pg_stat_statements",
    "track_io_timing": "on",
}

#: A worker's default.
POLICY = WritePolicy()


#: Databases that are copied.
_EMPTY, _FILLED = "empty", "filled"

#: Number of datasets in the largest events.
MOST_DATASETS = 100

#: Datasets per event in quick runs: the peer's calls for a visit of 100 take 8 to 20 seconds.
FEWER_DATASETS = 50


@dataclass(frozen=True)
class Repository:
    """A repository with its own database; all copies share the artifacts.

    Attributes
    ----------
    database : `str`
        Name of the database.
    config : `pathlib.Path`
        Its configuration file, which names the database.
    url : `str`
        The database.
    begin : `int`
        The first transaction id that can have written to the copy.
    """

    database: str
    config: Path
    url: str
    begin: int

    def butler(self) -> Butler:
        """Open it in the same way as a worker."""
        return open_butler(str(self.config), POLICY)

    def plain_butler(self) -> Butler:
        """Open it in the same way as a pod or the deployed service."""
        return Butler.from_config(str(self.config), writeable=True)

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """Open a connection to its database in autocommit mode."""
        return psycopg.connect(self.url, autocommit=True)

    def now(self) -> int:
        """Return the next transaction's id."""
        with self.connect() as connection:
            return _now(connection)

    def wal(self) -> int:
        """Return the number of bytes that its server has ever written to its log."""
        with self.connect() as connection:
            return _number(connection, "SELECT pg_current_wal_insert_lsn() - '0/0'")

    def tables(self) -> Tables:
        """Return the rows of all tables that were written since it was copied.

        They do not include the chain's order, because the order of the night's runs is random.
        """
        engine = sqlalchemy.create_engine(self.url)
        try:
            tables = tables_of(engine, self.begin)
        finally:
            engine.dispose()
        return tables | {"collection_chain": [""] * len(tables["collection_chain"])}


class Repositories:
    """A server, a folder of artifacts, and a prepared repository to copy.

    Parameters
    ----------
    **server_settings
        Server settings that differ from `SERVER_SETTINGS`.
    """

    def __init__(self, **server_settings: str | int) -> None:
        self._server_settings = SERVER_SETTINGS | server_settings
        self._numbers = count(1)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = tempfile.TemporaryDirectory(prefix="butler-writer-bench-")
            self.root = Path(stack.enter_context(folder)) / "repository"
            self.server = stack.enter_context(PostgreSQL(self._server_settings))
            self._prepare()
            self._parts = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._parts.close()

    def workload(self, datasets: int, cadence: float = 34.0) -> Workload:
        """Return a load with a number of datasets per event; its artifacts are in the root."""
        return Workload(self.root, datasets, cadence)

    def _prepare(self) -> None:
        with self.server.connect() as connection:
            connection.execute("CREATE EXTENSION pg_stat_statements")
        make_repository(self.root, self.server.create_database(_EMPTY))
        with Butler.from_config(str(self.root), writeable=True) as butler:
            for dataset_type in self.workload(MOST_DATASETS).night.dataset_types:
                butler.registry.registerDatasetType(dataset_type)
        with self.server.connect(_EMPTY) as connection:
            connection.execute("VACUUM ANALYZE")
        self._disconnect(_EMPTY)

    @contextmanager
    def copy(self, *, port: int | None = None, filled: bool = False) -> Iterator[Repository]:
        """Create a copy, which is removed after use.

        Parameters
        ----------
        port : `int`, optional
            Port of the server; by default the server's own.
        filled : `bool`
            Whether to copy the repository that `fill` has created.
        """
        name = f"copy{next(self._numbers)}"
        repository = self._copy(_FILLED if filled else _EMPTY, name)
        text = (self.root / "butler.yaml").read_text()
        url = repository.url.replace(f":{self.server.port}/", f":{port or self.server.port}/")
        repository.config.write_text(text.replace(self.server.url(_EMPTY), url))
        try:
            yield repository
        finally:
            self.server.drop_database(name)
            repository.config.unlink()

    def fill(self, events: Sequence[bytes], times: int) -> int:
        """Create a filled repository, once; return its number of datasets.

        Parameters
        ----------
        events : `~collections.abc.Sequence` [`bytes`]
            The events of a visit.
        times : `int`
            Number of such visits.
        """
        with self.copy() as repository:
            with repository.plain_butler() as butler:
                PeerWriter(butler).write(events)
            number = multiply(repository.url, repository.begin, times - 1)
            self._disconnect(repository.database)
            self._copy(repository.database, _FILLED)
        return number

    def _copy(self, original: str, name: str) -> Repository:
        # Without writing all of it to the log: twice as fast for a large database.
        strategy = "FILE_COPY" if original != _EMPTY else "WAL_LOG"
        with self.server.connect() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY {}").format(
                    sql.Identifier(name), sql.Identifier(original), sql.SQL(strategy)
                )
            )
            begin = _now(connection)
        return Repository(name, self.root / f"{name}.yaml", self.server.url(name), begin)

    def _disconnect(self, database: str) -> None:
        """End all sessions, because a database that is in use cannot be copied."""
        with self.server.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
                (database,),
            )


def _now(connection: psycopg.Connection[tuple[object, ...]]) -> int:
    return _number(connection, "SELECT pg_current_xact_id()::text")


def _number(connection: psycopg.Connection[tuple[object, ...]], statement: LiteralString) -> int:
    row = connection.execute(statement).fetchone()
    assert row is not None
    return int(str(row[0]))
