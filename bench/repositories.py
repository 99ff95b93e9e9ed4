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
from bench.peer import PeerWriter
from bench.workload import Workload
from simulator.repository import make_repository
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

#: As a server is run, not as a test's: what is committed is on the disk.
SERVER_SETTINGS: dict[str, str | int] = {
    "fsync": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
    "max_connections": 200,
    "shared_preload_libraries": "pg_stat_statements",
    "track_io_timing": "on",
}

#: As a worker has it by default.
POLICY = WritePolicy()


#: Databases that are copied.
_EMPTY, _FILLED = "empty", "filled"

#: Datasets of the largest events.
MOST_DATASETS = 100

#: Of an event, if there is little time: the peer's calls for a visit of 100 take 8 to 20 seconds.
FEWER_DATASETS = 50


@dataclass(frozen=True)
class Repository:
    """A repository whose database is its own; the artifacts are all copies'.

    Attributes
    ----------
    database : `str`
        Name of the database.
    config : `pathlib.Path`
        Its configuration, which says where the database is.
    url : `str`
        The database.
    begin : `int`
        The transaction id from which on something was written to the copy.
    """

    database: str
    config: Path
    url: str
    begin: int

    def butler(self) -> Butler:
        """Open it as a worker does."""
        return open_butler(str(self.config), POLICY)

    def plain_butler(self) -> Butler:
        """Open it as a pod, or the deployed service, does."""
        return Butler.from_config(str(self.config), writeable=True)

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """Open a connection to its database, each statement a transaction of its own."""
        return psycopg.connect(self.url, autocommit=True)

    def now(self) -> int:
        """Return the next transaction's id."""
        with self.connect() as connection:
            return _now(connection)

    def wal(self) -> int:
        """Return how many bytes its server has written to its log, ever."""
        with self.connect() as connection:
            return _number(connection, "SELECT pg_current_wal_insert_lsn() - '0/0'")

    def tables(self) -> Tables:
        """Return what was written to all tables since it was copied.

        Without the chain's order: which of the night's runs comes first is left to chance.
        """
        engine = sqlalchemy.create_engine(self.url)
        try:
            tables = tables_of(engine, self.begin)
        finally:
            engine.dispose()
        return tables | {"collection_chain": [""] * len(tables["collection_chain"])}


class Repositories:
    """A server, a folder of artifacts, and a prepared repository to be copied.

    Parameters
    ----------
    **server_settings
        Settings of the server that differ from `SERVER_SETTINGS`.
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
        """Return events of so many datasets each; their artifacts go to the root."""
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
        """Make a copy, to be used and thrown away.

        Parameters
        ----------
        port : `int`, optional
            By which it reaches the server; absent: the server's own.
        filled : `bool`
            Whether of what `fill` has made.
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
        """Make a filled repository, once; return how many datasets it has.

        Parameters
        ----------
        events : `~collections.abc.Sequence` [`bytes`]
            The events of a visit.
        times : `int`
            How many such visits there shall be.
        """
        with self.copy() as repository:
            with repository.plain_butler() as butler:
                PeerWriter(butler).write(events)
            number = multiply(repository.url, repository.begin, times - 1)
            self._disconnect(repository.database)
            self._copy(repository.database, _FILLED)
        return number

    def _copy(self, original: str, name: str) -> Repository:
        # Without writing all of it to the log, which is twice as fast where there is much.
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
        """End all sessions: a database in use cannot be copied."""
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
