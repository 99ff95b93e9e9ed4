"""The datastores of a repository that keep files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar
from urllib.parse import unquote

import sqlalchemy
from lsst.daf.butler import Butler, DatasetRef
from lsst.daf.butler.datastore.stored_file_info import StoredFileInfo
from lsst.resources import ResourcePath

from app.butler.away import LostStoreError, StoreError
from app.butler.paths import path_in_datastore
from app.butler.private.recent_paths import recent_paths
from app.butler.private.registry import engine_of
from models.errors import InvalidEventError

__all__ = ["Datastores", "FileStore"]

K = TypeVar("K")
V = TypeVar("V")

#: How many dataset types of instruments are remembered.
_REMEMBERED = 10_000


class FileStore:
    """A datastore that keeps files, by itself or in a chained datastore.

    Attributes
    ----------
    name : `str`
        The datastore's name, as in the table of dataset locations.
    root : `lsst.resources.ResourcePath`
        Its root.
    records_table : `sqlalchemy.Table`
        The table of its datastore records, with a path for each dataset.
    locations_table : `sqlalchemy.Table`
        The table with a row for each dataset of each datastore.
    other_columns : `dict` [`str`, `~typing.Any`]
        The columns of a datastore record that do not depend on the event, such as the component.
    own_paths : `frozenset` [`str`]
        The paths of the repository's own files that are below the root.
    """

    own_paths: frozenset[str] = frozenset()

    def __init__(self, datastore: Any, constraints: tuple[Any, ...]) -> None:
        # Constraints without rules accept everything.  To ask them would need the storage class of
        # the dataset, which may be unknown here.
        self._constraints = tuple(c for c in constraints if c._accept or c._reject)
        self._formatters = datastore.formatterFactory._mappingFactory
        self._templates = datastore.templates
        self.name: str = datastore._bridge.datastoreName
        self.root: ResourcePath = datastore.root
        self._folder = self.root.ospath if self.root.isLocal else None
        self.records_table: sqlalchemy.Table = datastore._table._table
        self.locations_table: sqlalchemy.Table = datastore._bridge._tables.dataset_location
        record = StoredFileInfo("", "", None, None, None, -1, storage_class_name="").to_record()
        self.other_columns = {
            column: value
            for column, value in record.items()
            if column not in ("path", "formatter", "storage_class", "file_size", "checksum")
        }

    def accepts(self, ref: DatasetRef) -> bool:
        """Tell whether the datastore accepts a dataset."""
        return all(constraints.isAcceptable(ref) for constraints in self._constraints)

    def formatter(self, ref: DatasetRef) -> str | None:
        """Return the name of the formatter configured for a dataset; it is not imported."""
        names = (self._formatters._getNameKey(name) for name in ref._lookupNames())
        registry = self._formatters._registry
        return next((registry[name]["type"] for name in names if name in registry), None)

    def template(self, ref: DatasetRef) -> str:
        """Return the file template configured for a dataset."""
        return str(self._templates.getTemplate(ref))

    def uri(self, path: str) -> ResourcePath:
        """Return the URI of a path in the datastore records."""
        return self.root.join(path, forceDirectory=False)

    def exists(self, path: str) -> bool:
        """Tell whether a file exists.

        Parameters
        ----------
        path : `str`
            As in the datastore records: relative to the root, or an absolute URI.
        """
        if path.startswith("file:///"):
            return os.path.isfile(unquote(path.removeprefix("file://")))  # noqa: PTH113
        # 50 times as fast as making a ResourcePath
        if self._folder is not None and "://" not in path:
            return os.path.isfile(os.path.join(self._folder, path))  # noqa: PTH113, PTH118
        return self.uri(path).exists()


def _file_stores(datastore: Any, constraints: tuple[Any, ...] = ()) -> Iterator[FileStore]:
    """Find the datastores that keep files; not those in memory, or without tables (read-only)."""
    constraints += (datastore.constraints,)
    if children := getattr(datastore, "datastores", None):
        for child, limits in zip(children, datastore.datastoreConstraints, strict=True):
            yield from _file_stores(child, constraints + ((limits,) if limits else ()))
    elif not datastore.isEphemeral and hasattr(datastore, "_bridge"):
        yield FileStore(datastore, constraints)


class Datastores:
    """The datastores of a repository that keep files.

    Attributes
    ----------
    stores : `tuple` [`FileStore`]
        All of them.
    """

    def __init__(self, butler: Butler) -> None:
        self.stores = tuple(_file_stores(butler._datastore))
        config_file = butler._config.configFile  # type: ignore[attr-defined]
        #: The repository's configuration, in those stores that hold it.
        self._engine = engine_of(butler)
        self._config_paths = {
            store: path
            for store in self.stores
            if config_file is not None and (path := config_file.relative_to(store.root))
        }
        own = _own_files(butler, self._engine)
        for store in self.stores:
            paths = (file.relative_to(store.root) for file in own)
            store.own_paths = frozenset(path for path in paths if path is not None)
        #: The artifact that was last seen in each store.
        self._last_seen: dict[FileStore, str] = {}
        self._accepting: dict[tuple[str, Any], tuple[FileStore, ...]] = {}
        self._formatters: dict[tuple[str, Any, str], str] = {}

    def accepting(self, ref: DatasetRef) -> tuple[FileStore, ...]:
        """Return the datastores that accept a dataset, according to its type and instrument.

        Raises
        ------
        InvalidEventError
            If none does.
        """
        key = _constraint_key(ref)
        known = self._accepting.get(key)
        if known is None:
            known = tuple(store for store in self.stores if store.accepts(ref))
            if not known:
                raise InvalidEventError(f"no datastore accepts {ref.datasetType.name!r}")
            _remember(self._accepting, key, known)
        return known

    def default_formatter(self, ref: DatasetRef) -> str:
        """Return the name of the formatter that the repository configures; it is not imported.

        Raises
        ------
        InvalidEventError
            If it configures none.
        """
        key = (*_constraint_key(ref), ref.datasetType.storageClass_name)
        known = self._formatters.get(key)
        if known is None:
            known = self.accepting(ref)[0].formatter(ref)
            if known is None:
                raise InvalidEventError(f"no formatter is configured for {ref.datasetType.name!r}")
            _remember(self._formatters, key, known)
        return known

    def recorded_paths(self, path: str, refs: Iterable[DatasetRef]) -> dict[FileStore, str]:
        """Return the datastores that accept an artifact, each with its path in their records.

        Parameters
        ----------
        path : `str`
            The path as an event gives it.
        refs : `~collections.abc.Iterable` [`lsst.daf.butler.DatasetRef`]
            The datasets of the artifact.

        Raises
        ------
        InvalidEventError
            If the path is outside the root of a datastore, or no datastore accepts a dataset.
        """
        return {
            store: path_in_datastore(path, store.root)
            for ref in refs
            for store in self.accepting(ref)
        }

    def saw(self, store: FileStore, path: str) -> None:
        """Remember an artifact that a store has; `check_not_emptied` looks for it."""
        self._last_seen[store] = path

    def check_not_emptied(self, store: FileStore) -> None:
        """Check that a store in which artifacts seem to be missing is still the same store.

        It must have an artifact that it had before: the one that was seen last, or one of a few
        with recent datastore records.  If there are no records, the repository's configuration will
        do.  If that is elsewhere, as in a new repository, nothing can be said of the store.

        Raises
        ------
        StoreError
            If it has none of them: it is another store, or it has lost its files.
        """
        seen = [self._last_seen[store]] if store in self._last_seen else []
        if any(_is_readable(store, path) for path in seen):
            return
        recorded = recent_paths(self._engine, store.records_table)
        config = [self._config_paths[store]] if store in self._config_paths else []
        if any(_is_readable(store, path) for path in recorded or config):
            return
        if known := [*recorded, *config, *seen]:
            raise LostStoreError(
                f"the datastore at {store.root} lacks artifacts that events name, and "
                f"{store.uri(known[-1])}, which it had before, is missing too; check that the "
                "right store is mounted or configured"
            )

    def check_access(self, store: FileStore, denied: str) -> None:
        """Check that a store that denies access to a file does not deny it to every file.

        It must have the artifact that was seen last or, if none was seen, the repository's
        configuration; or one of a few artifacts with recent datastore records.

        Parameters
        ----------
        store : `FileStore`
            The store.
        denied : `str`
            The path to which it denies access.

        Raises
        ------
        StoreError
            If it denies access to these too, or if none is known.
        """
        first = self._last_seen.get(store) or self._config_paths.get(store)
        if first is not None and _is_readable(store, first):
            return
        recorded = recent_paths(self._engine, store.records_table)
        if any(_is_readable(store, path) for path in recorded):
            return
        known = next((path for path in (first, *recorded) if path), None)
        also = f" and to {store.uri(known)}, which it had before" if known else ""
        raise StoreError(
            f"the file store denies access (403) to {store.uri(denied)}{also}; check the "
            "credentials, and that they have the rights s3:GetObject and s3:ListBucket",
            alarm=True,
        )

    def check_mounted(self) -> None:
        """Check that the roots on file systems exist: otherwise every file seems to be missing.

        Raises
        ------
        StoreError
            If one does not exist.
        """
        for store in self.stores:
            if store.root.isLocal and not store.root.exists():
                raise LostStoreError(f"the datastore root {store.root} does not exist")


def _own_files(butler: Butler, engine: sqlalchemy.Engine) -> list[ResourcePath]:
    """Return the repository's configuration, and the files of its SQLite database."""
    config_file = butler._config.configFile  # type: ignore[attr-defined]
    files = [] if config_file is None else [config_file]
    if engine.dialect.name == "sqlite" and engine.url.database:
        names = (f"{engine.url.database}{end}" for end in ("", "-journal", "-shm", "-wal"))
        files += [ResourcePath(name, forceDirectory=False) for name in names]
    return files


def _is_readable(store: FileStore, path: str) -> bool:
    try:
        return store.exists(path)
    except PermissionError:
        return False


def _remember(known: dict[K, V], key: K, value: V) -> None:
    """Remember a value; events may name any instrument, so all are forgotten now and then."""
    if len(known) >= _REMEMBERED:
        known.clear()
    known[key] = value


def _constraint_key(ref: DatasetRef) -> tuple[str, Any]:
    """Return what the configuration of datastores and formatters depends on."""
    return ref.datasetType.name, ref.dataId.get("instrument")
