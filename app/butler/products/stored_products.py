"""Read products from a repository, as if a window had written them.  Reads only."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeAlias
from uuid import UUID

import sqlalchemy
from lsst.daf.butler import Butler, DatasetRef
from lsst.utils.iteration import chunk_iterable
from sqlalchemy import func

from app.butler.events.parsed import Artifact, ParsedEvent
from app.butler.private.datastores import Datastores, FileStore
from app.butler.private.ingest_dates import IngestDates, Period
from app.butler.private.registry import RegistryTables, engine_of
from app.butler.products.contents import ProductContents, WrittenProducts
from app.butler.sessions.limits import Limits

__all__ = ["StoredProducts"]

#: About how many datasets are read at a time.
_AT_ONCE = 2_000

#: How many ids one statement looks for.
_IDS = 500

#: The rows of a run may have no index, and are sorted by path; a worker's limits are too short.
_LIMITS = Limits(statement_timeout=3600.0, lock_timeout=10.0)

#: How long the rows of a run stay open while those before are dealt with, in milliseconds.
_LONGEST_PAUSE = "3600000"

_Row: TypeAlias = Any
"""A dataset's id, with the columns of its datastore record."""

_COLUMNS = ("path", "formatter", "storage_class", "file_size", "checksum", "component")


@dataclass
class StoredProducts:
    """Reads the datasets of a repository, with all that another repository needs of them.

    A dataset without an artifact is not found.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.

    Attributes
    ----------
    disassembled : `~collections.Counter` [`str`]
        How many files of composites that were stored in parts were left out, by run: the product
        log cannot describe them.
    """

    butler: Butler
    disassembled: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        datastores = Datastores(self.butler)
        self._stores = datastores.stores
        self._tables = RegistryTables(self.butler)
        self._dates = IngestDates(self.butler)
        self._contents = ProductContents(self.butler, datastores)

    def runs(self, period: Period) -> set[str]:
        """Return the runs that datasets came into in a period."""
        return self._dates.runs(period, _LIMITS)

    def of_run(
        self, run: str, chains: Iterable[str] = (), period: Period | None = None
    ) -> Iterator[ParsedEvent]:
        """Yield the datasets of a run, some at a time; those of an artifact stay together.

        Parameters
        ----------
        run : `str`
            The run; one that does not exist has no datasets.
        chains : `~collections.abc.Iterable` [`str`], optional
            The chains that it is in.
        period : `Period`, optional
            When the datasets came into the repository.
        """
        pairs = tuple((chain, run) for chain in chains)
        for store, statement in self._statements(
            self._in_run(run), *self._dates.within(period or Period())
        ):
            for rows in _chunks(self._rows(statement)):
                if event := self._event(store, rows, pairs):
                    yield event

    def of_ids(self, ids: Collection[UUID]) -> ParsedEvent:
        """Return datasets by their ids, as far as they are there; ids are of datasets."""
        artifacts: list[Artifact] = []
        for some in chunk_iterable(ids, _IDS):
            with_ids = self._tables.dataset.columns["id"].in_(some)
            for store, statement in self._statements(with_ids):
                with engine_of(self.butler).connect() as connection:
                    rows = connection.execute(statement).all()
                if event := self._event(store, rows, ()):
                    artifacts += event.artifacts
        return ParsedEvent({}, artifacts, ())

    def beside(self, ids: Collection[UUID]) -> set[UUID]:
        """Return the datasets in the artifacts that have one of some datasets, and in their run."""
        paths: defaultdict[str, set[str]] = defaultdict(set)
        for artifact in self.of_ids(ids).artifacts:
            paths[artifact.refs[0].run].update(artifact.recorded_paths.values())
        found: set[UUID] = set()
        for run, of_run in paths.items():
            for some in chunk_iterable(sorted(of_run), _IDS):
                for _, statement in self._statements(self._in_run(run), paths=some):
                    found.update(row.id for row in self._rows(statement))
        return found

    def ids_of_run(self, run: str) -> set[UUID]:
        """Return all datasets of a run, those without an artifact too."""
        statement = sqlalchemy.select(self._tables.dataset.columns["id"])
        return {row.id for row in self._rows(statement.where(self._in_run(run)))}

    def products(self, event: ParsedEvent) -> WrittenProducts:
        """Return what other repositories need of some datasets."""
        return self._contents.complete(self._contents.serialize([event]))

    def _in_run(self, run: str) -> sqlalchemy.ColumnElement[bool]:
        key = self._tables.collection(run)
        column = self._tables.dataset.columns[self._tables.run_column]
        return sqlalchemy.false() if key is None else column == key

    def _statements(
        self, *conditions: sqlalchemy.ColumnElement[bool], paths: Collection[str] = ()
    ) -> Iterator[tuple[FileStore, sqlalchemy.Select[Any]]]:
        """Yield a statement for each datastore; a dataset is found in the first that has it."""
        dataset = self._tables.dataset
        before: list[sqlalchemy.Table] = []
        for store in self._stores:
            records = store.records_table
            if records in before:
                continue
            elsewhere = [
                ~sqlalchemy.exists().where(other.columns["dataset_id"] == dataset.columns["id"])
                for other in before
            ]
            before.append(records)
            yield (
                store,
                sqlalchemy.select(dataset.columns["id"], *(records.columns[c] for c in _COLUMNS))
                .join_from(dataset, records, records.columns["dataset_id"] == dataset.columns["id"])
                .where(
                    *conditions,
                    *elsewhere,
                    *([records.columns["path"].in_(paths)] if paths else []),
                )
                .order_by(records.columns["path"], dataset.columns["id"]),
            )

    def _rows(self, statement: sqlalchemy.Select[Any]) -> Iterator[_Row]:
        with engine_of(self.butler).connect() as connection:
            _LIMITS.set(connection)
            if connection.dialect.name == "postgresql":
                pause = func.set_config(
                    "idle_in_transaction_session_timeout", _LONGEST_PAUSE, sqlalchemy.true()
                )
                connection.execute(sqlalchemy.select(pause))
                yield from connection.execution_options(yield_per=_AT_ONCE).execute(statement)
                return
            rows = connection.execute(statement).all()
        yield from rows  # an open transaction would hold up all writers of SQLite

    def _event(
        self, store: FileStore, rows: Iterable[_Row], pairs: tuple[tuple[str, str], ...]
    ) -> ParsedEvent | None:
        rows = list(rows)
        whole = [row for row in rows if row.component == store.other_columns["component"]]
        refs = {ref.id: ref for ref in self.butler.get_many_datasets(row.id for row in rows)}
        self.disassembled.update(
            refs[row.id].run
            for row in rows
            if row.component != store.other_columns["component"] and row.id in refs
        )
        artifacts = [
            _artifact(store, path, list(of_path), refs)
            for path, of_path in groupby(whole, lambda row: str(row.path))
        ]
        if not (artifacts := [artifact for artifact in artifacts if artifact.refs]):
            return None
        return ParsedEvent({}, artifacts, pairs)


def _artifact(
    store: FileStore, path: str, rows: list[_Row], refs: Mapping[UUID, DatasetRef]
) -> Artifact:
    first = rows[0]
    return Artifact(
        path=path,
        formatter=first.formatter,
        # Somebody may remove a dataset meanwhile.
        refs=[refs[row.id] for row in rows if row.id in refs],
        recorded_paths={store: path},
        size=-1 if first.file_size is None else int(first.file_size),
        checksum=first.checksum,
        storage_class=first.storage_class,
    )


def _chunks(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    """Divide rows that are sorted by path, where the path changes."""
    chunk: list[_Row] = []
    for _, of_path in groupby(rows, lambda row: row.path):
        chunk += of_path
        if len(chunk) >= _AT_ONCE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
