"""What this service uses of Butler that Butler promises to nobody.

Every private name of ``lsst.daf.butler`` is in this module.  A test says which of them has moved
when a new release changes one, another holds the tables equal to what the public API writes;
``WritePath.PUBLIC`` does without them for writing datasets.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy
from astropy.time import Time
from lsst.daf.butler import (
    Butler,
    CollectionType,
    DataCoordinate,
    DatasetRef,
    DatasetType,
    DimensionElement,
)
from lsst.daf.butler.datastore.stored_file_info import StoredFileInfo
from lsst.daf.butler.registry import CollectionSummary, CollectionTypeError
from lsst.daf.butler.registry.datasets.byDimensions import tables as dataset_tables
from lsst.resources import ResourcePath

from app.butler.failures import RetryableError
from app.butler.paths import path_in_datastore
from app.butler.statements import matching
from models.errors import InvalidEventError

__all__ = [
    "Datastores",
    "FileStore",
    "RegistryTables",
    "engine_of",
    "make_tables",
    "uncovered_parts",
]

#: What the parity test covers; with anything else, the public path is taken.
_COVERED = {
    "attributes": "DefaultButlerAttributeManager",
    "dimensions": "StaticDimensionRecordStorageManager",
    "collections": "SynthIntKeyCollectionManager",
    "datasets": "ByDimensionsDatasetRecordStorageManagerUUID",
    "opaque": "ByNameOpaqueTableStorageManager",
    "datastores": "MonolithicDatastoreRegistryBridgeManager",
    "obscore": "NoneType",
}


def uncovered_parts(butler: Butler) -> list[str]:
    """Return the parts of a repository that `RecordsPath` is not known to be right for."""
    managers: Any = butler._registry._managers  # type: ignore[attr-defined]
    found = {name: type(getattr(managers, name)).__name__ for name in _COVERED}
    kinds = {type(part).__name__ for part in _flattened(butler._datastore)}
    return [
        f"{name} manager {found[name]}" for name in _COVERED if found[name] != _COVERED[name]
    ] + [f"datastore {kind}" for kind in sorted(kinds - {"FileDatastore", "InMemoryDatastore"})]


def engine_of(butler: Butler) -> sqlalchemy.Engine:
    """Return the engine by which a Butler, and every clone of it, reaches its database."""
    engine: sqlalchemy.Engine = butler._registry._db._engine  # type: ignore[attr-defined]
    return engine


def make_tables(butler: Butler, dataset_type: DatasetType) -> None:
    """Make the table that a new dataset type needs, if there is none for its dimensions yet.

    Butler, when a table cannot be made, takes it to be there: a dataset type that is registered
    then can be used by nobody, ever.

    Raises
    ------
    RetryableError
        If it could not be made: other writers held their locks for too long, for instance.
    """
    registry: Any = butler._registry  # type: ignore[attr-defined]
    database, managers = registry._db, registry._managers
    dimensions = dataset_type.dimensions
    if not managers.datasets._cache.full:
        managers.datasets._fetch_dataset_types()
    if managers.datasets._cache.get_by_dimensions(dimensions) is not None:
        return
    name = dataset_tables.makeTagTableName(managers.dimensions.save_dimension_group(dimensions))
    collections = type(managers.collections)
    try:
        database.ensureTableExists(name, dataset_tables.makeTagTableSpec(dimensions, collections))
        made = sqlalchemy.inspect(database._engine).has_table(name, schema=database.namespace)
    except BaseException:
        database._metadata.remove_table(name)
        raise
    if not made:
        database._metadata.remove_table(name)
        raise RetryableError(f"the table {name} could not be made")


def _flattened(datastore: Any) -> Iterator[Any]:
    for child in getattr(datastore, "datastores", None) or [datastore]:
        yield from [child] if child is datastore else _flattened(child)


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


class RegistryTables:
    """The tables of a registry, and the keys by which they refer to one another.

    Attributes
    ----------
    dataset : `sqlalchemy.Table`
        The table of all datasets.
    run_column, collection_column : `str`
        Names of the columns that hold a run's key, there and in the tags tables.
    """

    def __init__(self, butler: Butler) -> None:
        registry: Any = butler._registry  # type: ignore[attr-defined]
        self._butler = butler
        self._database = registry._db
        self._collections = registry._managers.collections
        self._datasets = registry._managers.datasets
        self._dimensions = registry._managers.dimensions
        self._types: dict[str, tuple[int, sqlalchemy.Table]] = {}
        self._runs: dict[str, Any] = {}
        self.dataset: sqlalchemy.Table = self._datasets._static.dataset
        self.run_column: str = self._datasets._run_key_column
        self.collection_column: str = self._collections.getCollectionForeignKeyName()

    @contextmanager
    def connection(self) -> Iterator[sqlalchemy.Connection]:
        """Give the connection of the Butler's transaction."""
        with self._database._session() as connection:
            yield connection

    def element(self, name: str) -> sqlalchemy.Table:
        """Return the table of a dimension element's records."""
        table: sqlalchemy.Table = self._dimensions._tables[name]
        return table

    def having_records(
        self, element: DimensionElement, data_ids: Sequence[DataCoordinate]
    ) -> Sequence[DataCoordinate]:
        """Return those data IDs of which a dimension element has a record.

        The statement is the same each time; the query system's has the name of a temporary table,
        and is made anew.
        """
        if not element.has_own_table:
            return data_ids  # the caller finds out
        keys = {tuple(data_id[n] for n in element.required.names): data_id for data_id in data_ids}
        columns = [*element.schema.required.names]
        with self.connection() as connection:
            found = matching(connection, self.element(element.name), columns, [*keys], columns)
            return [keys[row] for row in found]

    def dataset_type(self, name: str) -> tuple[int, sqlalchemy.Table]:
        """Return a dataset type's key, and the tags table of its dimensions."""
        known = self._types.get(name)
        if known is None:
            storage = self._datasets._find_storage(name)
            tags = self._datasets._get_tags_table(storage.dynamic_tables)
            known = self._types[name] = (storage.dataset_type_id, tags)
        return known

    def run(self, name: str) -> int:
        """Return the key of a run, which is registered if it is not yet.

        Raises
        ------
        lsst.daf.butler.registry.CollectionTypeError
            If it is a collection of another type.
        """
        known = self._runs.get(name)
        if known is None:
            self._butler.collections.register(name)
            known = self._collections.find(name)
            if known.type is not CollectionType.RUN:
                raise CollectionTypeError(f"{name!r} is not a run: it is a {known.type.name}")
            self._runs[name] = known
        key: int = known.key
        return key

    def now(self) -> Time | datetime:
        """Return the time as the column ``ingest_date`` of this version of the schema takes it."""
        return Time.now() if self._datasets._use_astropy_ingest_date else datetime.now(UTC)

    def summarize(self, run: str, refs: Iterable[DatasetRef]) -> None:
        """Note in a run's summary of which types and instruments it holds datasets."""
        new = CollectionSummary()
        new.add_datasets(refs)
        there = self._datasets.getCollectionSummary(self._runs[run])
        if new.dataset_types <= there.dataset_types and all(
            values <= there.governors.get(dimension, set())
            for dimension, values in new.governors.items()
        ):
            return  # as mostly: Butler would insert each again, by a statement of its own
        types = [self.dataset_type(found.name)[0] for found in new.dataset_types]
        self._datasets._summaries.update(self._runs[run], types, new)

    def forget(self) -> None:
        """Forget the keys: a run may not have been committed, or somebody may have removed it."""
        self._types.clear()
        self._runs.clear()
