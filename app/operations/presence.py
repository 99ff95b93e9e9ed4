"""Tell whether datasets are in the Butler and their artifacts exist.  Reads only.

The rows are read by their keys, and ids stay text: to make a `UUID`, a `DatasetRef` and a
`ResourcePath` of each takes five times as long.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias
from uuid import UUID

import sqlalchemy
from lsst.daf.butler import Butler, MissingDatasetTypeError
from lsst.resources import ResourcePath
from lsst.utils.iteration import chunk_iterable

from app.butler.files.large_folders import Location, large_folders, listed
from app.butler.paths import is_plain
from app.butler.private.datastores import Datastores, FileStore
from app.butler.private.registry import RegistryTables, engine_of
from app.butler.statements import Row, select_by_key

__all__ = ["GivenDataset", "Presence", "Registered"]

#: Number of threads, and number of artifacts that a thread checks at a time.
_THREADS = 10
_CHUNK = 16

GivenDataset: TypeAlias = Mapping[str, Any]
"""A dataset as an event gives it: ``dataset_type_name``, ``run`` and ``data_id``."""


@dataclass(frozen=True, slots=True)
class _Type:
    """The key of a dataset type, and where its datasets are found."""

    key: int
    tags: sqlalchemy.Table
    dimensions: tuple[str, ...]


class Registered:
    """The rows of some datasets in the registry.

    Parameters
    ----------
    find_type, find_run : `~collections.abc.Callable`
        Find what has a name.
    rows : `~collections.abc.Mapping`
        The values of the data ID, by id, key of the dataset type and key of the run.
    """

    def __init__(
        self,
        find_type: Callable[[str], _Type | None],
        find_run: Callable[[str], int | None],
        rows: Mapping[Row, Row],
    ) -> None:
        self._find_type = find_type
        self._find_run = find_run
        self._rows = rows

    def has(self, dataset_id: str, given: GivenDataset) -> bool:
        """Return whether a dataset is registered with the type, run and data ID that are given."""
        name, run = given.get("dataset_type_name"), given.get("run")
        data_id = given.get("data_id")
        if not (isinstance(name, str) and isinstance(run, str) and isinstance(data_id, dict)):
            return False
        kind, run_key = self._find_type(name), self._find_run(run)
        if kind is None or run_key is None:
            return False
        values = self._rows.get((dataset_id, kind.key, run_key))
        if values is None:
            return False
        try:
            found = tuple([data_id[dimension] for dimension in kind.dimensions])
        except KeyError:
            return False
        # The detector "1" is accepted.
        return found == values or [*map(str, found)] == [*map(str, values)]


class Presence:
    """Looks up datasets in a repository; several threads may do so at once.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    """

    def __init__(self, butler: Butler) -> None:
        self._butler = butler
        self._engine = engine_of(butler)
        self._tables = RegistryTables(butler)
        self._datastores = Datastores(butler)
        self._types: dict[str, _Type | None] = {}
        self._runs: dict[str, int | None] = {}
        # One Butler in two threads breaks.
        self._lock = threading.Lock()

    def registered(self, given: Iterable[tuple[str, GivenDataset]]) -> Registered:
        """Look up datasets in the registry.

        Parameters
        ----------
        given : `~collections.abc.Iterable`
            The id of each dataset, in the usual notation, and the dataset as an event gives it;
            none of its fields need be valid.
        """
        by_type: defaultdict[str, set[str]] = defaultdict(set)
        for dataset_id, dataset in given:
            if isinstance(name := dataset.get("dataset_type_name"), str):
                by_type[name].add(dataset_id)
        keys: defaultdict[sqlalchemy.Table, set[str]] = defaultdict(set)
        dimensions: dict[sqlalchemy.Table, tuple[str, ...]] = {}
        for name, dataset_ids in by_type.items():
            if (kind := self._type(name)) is not None:
                keys[kind.tags] |= dataset_ids
                dimensions[kind.tags] = kind.dimensions
        found: dict[Row, Row] = {}
        for table, required in keys.items():
            columns = ("dataset_type_id", self._tables.collection_column, *dimensions[table])
            rows = self._rows(table, required, columns)
            found.update((row[:3], row[3:]) for row in rows)
        return Registered(self._type, self._run, found)

    def readable(self, dataset_ids: Collection[str]) -> set[str]:
        """Return those of some datasets that have a datastore record, and all their artifacts.

        Raises
        ------
        RetryableError
            If a datastore root is not mounted.
        Exception
            If a file store cannot be used.
        """
        paths: defaultdict[tuple[FileStore, str], list[str]] = defaultdict(list)
        for store in self._datastores.stores:
            for dataset_id, path in self._rows(store.records_table, dataset_ids, ("path",)):
                paths[store, dataset_id].append(path)
        missing = _find_missing({(store, path) for (store, _), of in paths.items() for path in of})
        if missing:
            self._datastores.check_mounted()
        return {
            dataset_id
            for (store, dataset_id), of_dataset in paths.items()
            if not missing or all((store, path) not in missing for path in of_dataset)
        }

    def _rows(
        self, table: sqlalchemy.Table, dataset_ids: Iterable[str], columns: Sequence[str]
    ) -> Iterator[Row]:
        """Return the id, and some columns, of the rows of datasets."""
        key = ("dataset_id",)
        with self._engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                text = sqlalchemy.cast(table.columns["dataset_id"], sqlalchemy.Text)
                ids = [(dataset_id,) for dataset_id in dataset_ids]
                yield from select_by_key(connection, table, key, ids, (text, *columns))
                return
            uuids = [(UUID(dataset_id),) for dataset_id in dataset_ids]
            for row in select_by_key(connection, table, key, uuids, (*key, *columns)):
                yield (str(row[0]), *row[1:])

    def _type(self, name: str) -> _Type | None:
        """Return the dataset type of a name, or `None` if there is none."""
        if name not in self._types:
            with self._lock:
                self._types[name] = self._find_type(name) if _is_possible(name) else None
        return self._types[name]

    def _find_type(self, name: str) -> _Type | None:
        try:
            key, tags = self._tables.dataset_type(name)
        except MissingDatasetTypeError:
            return None
        dimensions = self._butler.get_dataset_type(name).dimensions.required
        return _Type(key, tags, tuple(dimensions))

    def _run(self, name: str) -> int | None:
        """Return the key of a run, or `None` if there is none."""
        if name not in self._runs:
            with self._lock:
                self._runs[name] = self._tables.collection(name) if _is_possible(name) else None
        return self._runs[name]


def _is_possible(name: str) -> bool:
    """Return whether a database can have a name: PostgreSQL refuses to look for others."""
    return "\0" not in name


def _find_missing(artifacts: set[Location]) -> set[Location]:
    """Return the artifacts that do not exist."""
    # Not ``mexists``: it takes an error for a missing file, and so an unavailable store for empty.
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="presence") as pool:
        # For files on disk, threads would only be in the way.
        run = map if all(store.root.isLocal for store, _ in artifacts) else pool.map
        found = chain.from_iterable(run(listed, large_folders(artifacts)))
        others = chunk_iterable(artifacts.difference(found), _CHUNK)
        return set(chain.from_iterable(run(_missing_of, others)))


def _missing_of(artifacts: Iterable[Location]) -> set[Location]:
    return {(store, path) for store, path in artifacts if not _exists(store, path)}


def _exists(store: FileStore, path: str) -> bool:
    if is_plain(path):
        return store.exists(path)
    # It may be absolute, need to be unquoted, or name an artifact inside a zip file.
    uri = ResourcePath(path, forceAbsolute=False, forceDirectory=False)
    return (uri if uri.isabs() else store.root.join(uri, forceDirectory=False)).exists()
