"""The datastores of a repository that keep files, and their private names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy
from lsst.daf.butler import Butler, DatasetRef
from lsst.daf.butler.datastore.stored_file_info import StoredFileInfo
from lsst.resources import ResourcePath

from app.butler.failures import RetryableError
from app.butler.paths import path_in_datastore
from models.errors import InvalidEventError

__all__ = ["Datastores", "FileStore"]


class FileStore:
    """A datastore that keeps files, alone or in a chain.

    Attributes
    ----------
    name : `str`
        The datastore's name, as the table of locations has it.
    root : `lsst.resources.ResourcePath`
        Its root.
    records : `sqlalchemy.Table`
        The table with a row for each of its datasets, which has the path.
    locations : `sqlalchemy.Table`
        The table with a row for each dataset of each datastore.
    unknown : `dict` [`str`, `~typing.Any`]
        The columns of a record that no event tells of, such as the component.
    """

    def __init__(self, datastore: Any, constraints: tuple[Any, ...]) -> None:
        # To ask those that let all pass would take a dataset's storage class, known here or not.
        self._constraints = tuple(c for c in constraints if c._accept or c._reject)
        self._formatters = datastore.formatterFactory._mappingFactory
        self.name: str = datastore._bridge.datastoreName
        self.root: ResourcePath = datastore.root
        self.records: sqlalchemy.Table = datastore._table._table
        self.locations: sqlalchemy.Table = datastore._bridge._tables.dataset_location
        record = StoredFileInfo("", "", None, None, None, -1, storage_class_name="").to_record()
        self.unknown = {
            column: value
            for column, value in record.items()
            if column not in ("path", "formatter", "storage_class", "file_size", "checksum")
        }

    def accepts(self, ref: DatasetRef) -> bool:
        """Tell whether it takes a dataset."""
        return all(constraints.isAcceptable(ref) for constraints in self._constraints)

    def formatter(self, ref: DatasetRef) -> str | None:
        """Return the name of a dataset's formatter by the configuration, not imported."""
        names = (self._formatters._getNameKey(name) for name in ref._lookupNames())
        registry = self._formatters._registry
        return next((registry[name]["type"] for name in names if name in registry), None)

    def place(self, path: str) -> ResourcePath:
        """Return where a path of the records is."""
        return self.root.join(path, forceDirectory=False)

    def has(self, path: str) -> bool:
        """Tell whether there is a file."""
        if self.root.isLocal:  # a fiftieth of the time that a ResourcePath takes to make
            return os.path.exists(os.path.join(self.root.ospath, path))  # noqa: PTH110, PTH118
        return self.place(path).exists()


def _stores(datastore: Any, constraints: tuple[Any, ...] = ()) -> Iterator[FileStore]:
    """Find the datastores that keep files; those in memory never take a file that is there."""
    constraints += (datastore.constraints,)
    if children := getattr(datastore, "datastores", None):
        for child, limits in zip(children, datastore.datastoreConstraints, strict=True):
            yield from _stores(child, constraints + ((limits,) if limits else ()))
    elif not datastore.isEphemeral:
        yield FileStore(datastore, constraints)


class Datastores:
    """The datastores of a repository that keep files.

    Attributes
    ----------
    stores : `tuple` [`FileStore`]
        All of them.
    """

    def __init__(self, butler: Butler) -> None:
        self.stores = tuple(_stores(butler._datastore))
        self._accepting: dict[tuple[str, Any], tuple[FileStore, ...]] = {}
        self._formatters: dict[tuple[str, Any], str] = {}

    def accepting(self, ref: DatasetRef) -> tuple[FileStore, ...]:
        """Return the datastores that take a dataset: by its type and instrument, as configured.

        Raises
        ------
        InvalidEventError
            If there is none.
        """
        key = _lookup(ref)
        known = self._accepting.get(key)
        if known is None:
            known = tuple(store for store in self.stores if store.accepts(ref))
            if not known:
                raise InvalidEventError(f"no datastore takes {ref.datasetType.name!r}")
            self._accepting[key] = known
        return known

    def default_formatter(self, ref: DatasetRef) -> str:
        """Return the formatter's name that the repository's configuration gives, not imported.

        Raises
        ------
        InvalidEventError
            If it gives none.
        """
        key = _lookup(ref)
        known = self._formatters.get(key)
        if known is None:
            known = self.accepting(ref)[0].formatter(ref)
            if known is None:
                raise InvalidEventError(f"no formatter is configured for {ref.datasetType.name!r}")
            self._formatters[key] = known
        return known

    def places(self, path: str, refs: Iterable[DatasetRef]) -> dict[FileStore, str]:
        """Return the datastores that take an artifact, each with its path in the records.

        Raises
        ------
        InvalidEventError
            If the path leads out of the root of one, or none takes one of its datasets.
        """
        return {
            store: path_in_datastore(path, store.root)
            for ref in refs
            for store in self.accepting(ref)
        }

    def check_mounted(self) -> None:
        """Check that the roots on file systems are there: without them, no file is.

        Raises
        ------
        RetryableError
            If one is not.
        """
        for store in self.stores:
            if store.root.isLocal and not store.root.exists():
                raise RetryableError(f"the datastore root {store.root} is not there", alarm=True)


def _lookup(ref: DatasetRef) -> tuple[str, Any]:
    """Return what a datastore's configuration chooses by."""
    return ref.datasetType.name, ref.dataId.get("instrument")
