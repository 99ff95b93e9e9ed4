"""Rows straight into registry and datastore records, by Butler's private names.

Every private name of ``lsst.daf.butler`` that this service uses is in this module.  A test says
which of them has moved when a new release changes one, another holds the tables equal to what the
public API writes; ``WritePath.PUBLIC`` does without them for writing datasets.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from lsst.daf.butler import Butler, DatasetId, DatasetRef
from lsst.daf.butler.datastore.record_data import DatastoreRecordData
from lsst.daf.butler.datastore.stored_file_info import StoredDatastoreItemInfo, StoredFileInfo
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.resources import ResourcePath

from app.butler.batch import Batch, Dataset
from app.butler.failures import RetryableError
from app.butler.parsed import Artifact
from app.butler.paths import path_in_datastore
from models import InvalidEventError

__all__ = ["Datastores", "RecordsPath", "bound_statements", "uncovered_parts"]

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

#: Longest time that a sound worker does nothing in a transaction, in seconds: it builds rows.
_LONGEST_PAUSE = 10.0


def uncovered_parts(butler: Butler) -> list[str]:
    """Return the parts of a repository that `RecordsPath` is not known to be right for."""
    managers: Any = butler._registry._managers  # type: ignore[attr-defined]
    found = {name: type(getattr(managers, name)).__name__ for name in _COVERED}
    kinds = {type(part).__name__ for part in _flattened(butler._datastore)}
    return [
        f"{name} manager {found[name]}" for name in _COVERED if found[name] != _COVERED[name]
    ] + [f"datastore {kind}" for kind in sorted(kinds - {"FileDatastore", "InMemoryDatastore"})]


def bound_statements(butler: Butler, statement_timeout: float, lock_timeout: float) -> None:
    """Bound how long the statements of every PostgreSQL transaction run, and wait for a lock.

    A transaction that does nothing for as long as another would wait for its locks is ended: its
    worker may be frozen, and the others need the rows.

    For each transaction, not for the connection: behind a connection pooler the next transaction
    may be somebody else's.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The Butler, and with it every clone of it.
    statement_timeout, lock_timeout : `float`
        In seconds.
    """
    engine = butler._registry._db._engine  # type: ignore[attr-defined]
    if engine.dialect.name != "postgresql":
        return
    milliseconds = {
        "statement_timeout": round(statement_timeout * 1000),
        "lock_timeout": round(lock_timeout * 1000),
        "idle_in_transaction_session_timeout": round(max(lock_timeout, _LONGEST_PAUSE) * 1000),
    }
    settings = (f"set_config('{name}', '{value}', true)" for name, value in milliseconds.items())
    bounds = sqlalchemy.text(f"SELECT {', '.join(settings)}")

    @sqlalchemy.event.listens_for(engine, "begin")
    def _bound(connection: sqlalchemy.Connection) -> None:
        connection.execute(bounds)


def _flattened(datastore: Any) -> Iterator[Any]:
    for child in getattr(datastore, "datastores", None) or [datastore]:
        yield from [child] if child is datastore else _flattened(child)


@dataclass(frozen=True)
class _Leaf:
    """A file datastore, and the constraints that a dataset must pass to get there."""

    datastore: Any
    constraints: tuple[Any, ...]

    def accepts(self, ref: DatasetRef) -> bool:
        return all(constraints.isAcceptable(ref) for constraints in self.constraints)


def _leaves(datastore: Any, constraints: tuple[Any, ...] = ()) -> Iterator[_Leaf]:
    """Find the datastores that keep files; those in memory never take a file that is there."""
    constraints += (datastore.constraints,)
    if children := getattr(datastore, "datastores", None):
        for child, limits in zip(children, datastore.datastoreConstraints, strict=True):
            yield from _leaves(child, constraints + ((limits,) if limits else ()))
    elif not datastore.isEphemeral:
        # To ask those that let all pass would take a dataset's storage class, known here or not.
        yield _Leaf(datastore, tuple(c for c in constraints if c._accept or c._reject))


class Datastores:
    """The datastores of a repository that keep files, each alone or in a chain."""

    def __init__(self, butler: Butler) -> None:
        self._leaves = tuple(_leaves(butler._datastore))
        self._accepting: dict[tuple[str, Any], tuple[Any, ...]] = {}
        self._formatters: dict[tuple[str, Any], str] = {}

    def accepting(self, ref: DatasetRef) -> tuple[Any, ...]:
        """Return the datastores that take a dataset: by its type and instrument, as configured.

        Raises
        ------
        InvalidEventError
            If there is none.
        """
        key = _lookup(ref)
        known = self._accepting.get(key)
        if known is None:
            known = tuple(leaf.datastore for leaf in self._leaves if leaf.accepts(ref))
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
            factory = self.accepting(ref)[0].formatterFactory._mappingFactory
            names = (factory._getNameKey(name) for name in ref._lookupNames())
            found = next(
                (factory._registry[name] for name in names if name in factory._registry), None
            )
            if found is None:
                raise InvalidEventError(f"no formatter is configured for {ref.datasetType.name!r}")
            known = self._formatters[key] = found["type"]
        return known

    def check_path(self, path: str, ref: DatasetRef) -> None:
        """Check that a path is inside every datastore that takes the dataset.

        Raises
        ------
        InvalidEventError
            If it is not.
        """
        for datastore in self.accepting(ref):
            path_in_datastore(path, datastore.root)

    def check_mounted(self) -> None:
        """Check that the roots on file systems are there: without them, no file is.

        Raises
        ------
        RetryableError
            If one is not.
        """
        for leaf in self._leaves:
            root = leaf.datastore.root
            if root.isLocal and not root.exists():
                raise RetryableError(f"the datastore root {root} is not there", alarm=True)

    def uris(self, artifact: Artifact) -> list[ResourcePath]:
        """Return where an artifact must be."""
        return [
            datastore.root.join(
                path_in_datastore(artifact.path, datastore.root), forceDirectory=False
            )
            for datastore in self.accepting(artifact.refs[0])
        ]


def _lookup(ref: DatasetRef) -> tuple[str, Any]:
    """Return what a datastore's configuration chooses by."""
    return ref.datasetType.name, ref.dataId.get("instrument")


class RecordsPath:
    """Writes the rows of datasets; data IDs are not expanded, formatters stay names."""

    def __init__(self, butler: Butler, datastores: Datastores) -> None:
        self._butler = butler
        self._datastores = datastores

    def insert(self, batch: Batch) -> int:
        """Write a batch's datasets, inside the caller's transaction.

        Returns
        -------
        inserted : `int`
            How many of them were not there.

        Raises
        ------
        lsst.daf.butler.registry.ConflictingDefinitionError
            If a dataset is there already with another data ID or path, or its data ID as another.
        RuntimeError
            If not every row arrived.
        """
        self._register([d.ref for d in batch.datasets.values() if d.ref.id not in batch.registered])
        missing = self._not_stored(batch)
        for datastore, datasets in missing.items():
            table = datastore._table.name
            rows: dict[DatasetId, dict[str, list[StoredDatastoreItemInfo]]] = {
                d.ref.id: {table: [_row(d, datastore.root)]} for d in datasets
            }
            datastore.import_records({datastore.name: DatastoreRecordData(records=rows)})
            if (arrived := len(_stored(datastore, list(rows)))) != len(rows):
                raise RuntimeError(f"{datastore.name}: {arrived} of {len(rows)} records arrived")
        incomplete = {d.ref.id for datasets in missing.values() for d in datasets}
        return len(incomplete)

    def _register(self, refs: list[DatasetRef]) -> None:
        groups = defaultdict(list)
        for ref in refs:
            groups[ref.run, ref.datasetType.dimensions].append(ref)
        for run in sorted({run for run, _ in groups}):
            self._butler.collections.register(run)
        for _, group in sorted(groups.items(), key=lambda item: (item[0][0], str(item[0][1]))):
            self._butler._registry._importDatasets(group, expand=False)  # type: ignore[attr-defined]

    def _not_stored(self, batch: Batch) -> dict[Any, list[Dataset]]:
        """Find the datasets that a datastore lacks; those that it has must agree."""
        wanted: dict[Any, list[Dataset]] = defaultdict(list)
        for dataset in batch.datasets.values():
            for datastore in self._datastores.accepting(dataset.ref):
                wanted[datastore].append(dataset)
        missing = {}
        for datastore, datasets in wanted.items():
            stored = _stored(
                datastore, [d.ref.id for d in datasets if d.ref.id in batch.registered]
            )
            for dataset in datasets:
                there = stored.get(dataset.ref.id)
                given = path_in_datastore(dataset.artifact.path, datastore.root)
                if there is not None and there != given:
                    raise ConflictingDefinitionError(
                        f"dataset {dataset.ref.id} is in {there!r}, but given in {given!r}"
                    )
            missing[datastore] = [d for d in datasets if d.ref.id not in stored]
        return missing


def _row(dataset: Dataset, root: ResourcePath) -> StoredFileInfo:
    """Describe the artifact as ``Butler.ingest`` does: by the first of its datasets."""
    artifact = dataset.artifact
    return StoredFileInfo(
        artifact.formatter,
        path_in_datastore(artifact.path, root),
        None,
        None,
        None,
        -1,
        storage_class_name=artifact.refs[0].datasetType.storageClass_name,
    )


def _stored(datastore: Any, dataset_ids: list[DatasetId]) -> dict[DatasetId, str]:
    """Return the path that a datastore records for each of some datasets that it has."""
    if not dataset_ids:
        return {}
    return {
        row["dataset_id"]: row["path"] for row in datastore._table.fetch(dataset_id=dataset_ids)
    }
