"""A downstream repository on PostgreSQL, and the worker that fills it from a product log."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Self
from uuid import UUID

import psycopg
from lsst.daf.butler import Butler, Config

from bench.repositories import Repositories
from bench.service import Progress, Run, watch
from testbed.postgresql import PostgreSQL
from testbed.worker import Worker

__all__ = ["RULES", "Target", "statements"]

#: The rules that release everything at once: the worker selects, as with an embargo.
RULES = '- dataset_types: ["*"]\n  embargo_hours: 0\n'

_numbers = count(1)


class Target:
    """A downstream repository with a worker, which starts when it is entered.

    Parameters
    ----------
    repositories : `Repositories`
        Have the server, and the source's root.
    transfer : `str`
        How it gets its artifacts; if ``in-place``, they are under the source's root.
    settings : `~collections.abc.Mapping` [`str`, `str`]
        The worker's settings for Kafka.
    rules : `str`, optional
        The release rules.
    """

    def __init__(
        self,
        repositories: Repositories,
        transfer: str,
        settings: Mapping[str, str],
        rules: str = RULES,
    ) -> None:
        folder, source = repositories.root.parent, repositories.root
        self.name = f"target{next(_numbers)}"
        self.url = repositories.server.create_database(self.name)
        self.root = folder / self.name
        seed = Config()
        seed["registry", "db"] = self.url
        if transfer == "in-place":
            seed["datastore", "root"] = str(source)
        Butler.makeRepo(str(self.root), config=seed, forceConfigRoot=False)
        file = folder / f"{self.name}.yaml"
        file.write_text(rules)
        self.worker = Worker(
            {
                "BUTLER_WRITER_ROLE": "replicate",
                "BUTLER_REPOSITORY": str(self.root),
                "BUTLER_WRITER_SOURCE_ROOT": str(source),
                "BUTLER_WRITER_TRANSFER": transfer,
                "BUTLER_WRITER_RULES": str(file),
                **settings,
            }
        )

    def __enter__(self) -> Self:
        self.worker.__enter__()
        self.worker.wait_ready(120)
        return self

    def __exit__(self, *exc: object) -> None:
        self.worker.__exit__(*exc)

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """Open a connection to its database in autocommit mode."""
        return psycopg.connect(self.url, autocommit=True)

    def follow(self, datasets: Iterable[UUID], *, is_stopped: bool = False) -> Run:
        """Let the frozen worker run until it has written all events of a load.

        Parameters
        ----------
        datasets : `~collections.abc.Iterable` [`uuid.UUID`]
            The last dataset of each event.
        is_stopped : `bool`, optional
            Whether the worker has ended, and has to start first.
        """
        begin = Progress.now(0)
        expected = dict.fromkeys(datasets, begin.at)
        run = Run()
        if is_stopped:
            self.worker.start()
        else:
            self.worker.continue_process()
        watch(self.connect, len(expected), expected, run)
        run.seconds = time.monotonic() - begin.at
        run.idle = begin.idle_share(run.progress[-1])
        self.worker.stop_process()
        return run

    def records(self) -> list[tuple[object, ...]]:
        """Return the dataset and the path of each datastore record."""
        with self.connect() as connection:
            return connection.execute(
                "SELECT dataset_id, path FROM file_datastore_records"
            ).fetchall()


def statements(server: PostgreSQL, database: str) -> int:
    """Return how many statements a database was sent since its server started."""
    with server.connect() as connection:
        row = connection.execute(
            "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements s"
            " JOIN pg_database d ON d.oid = s.dbid WHERE datname = %s",
            (database,),
        ).fetchone()
    assert row is not None
    return int(row[0])
