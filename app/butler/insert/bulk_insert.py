"""Insert datasets as rows into the tables of the registry and the datastores.

The number of statements does not depend on the number of events: a SELECT for the rows that are
stored already, and an INSERT for each table.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from operator import attrgetter

import sqlalchemy
from lsst.daf.butler import DatasetRef

from app.butler.insert.batch import Batch, Dataset, DatasetKey
from app.butler.insert.refusals import different_dataset, find_refused
from app.butler.insert.tags import TagRows, tag_rows
from app.butler.private.datastores import Datastores, FileStore
from app.butler.private.registry import RegistryTables
from app.butler.statements import Insertion, Row, insert_rows, select_by_key

__all__ = ["BulkInsert"]

#: How many entries of summaries are remembered; a night has some hundred.
_REMEMBERED = 50_000


class BulkInsert:
    """Inserts the rows of datasets; data IDs are not expanded, and formatters remain names.

    Parameters
    ----------
    tables : `RegistryTables`
        The registry.
    datastores : `Datastores`
        The datastores.
    """

    def __init__(self, tables: RegistryTables, datastores: Datastores) -> None:
        self._tables = tables
        self._datastores = datastores
        self._summarized: set[tuple[str, ...]] = set()

    def lacks_shared(self, batch: Batch) -> bool:
        """Tell whether runs, or entries of their summaries, may be missing."""
        return any(not self._summarized.issuperset(_entries(ref)) for ref in _kinds(batch))

    def insert_shared(self, batch: Batch) -> None:
        """Register the runs and complete their summaries, in the caller's transaction."""
        kinds: dict[str, list[DatasetRef]] = defaultdict(list)
        for ref in _kinds(batch):
            kinds[ref.run].append(ref)
        for run, refs in sorted(kinds.items()):
            self._tables.run(run)
            self._tables.update_summary(run, refs)

    def remember_shared(self, batch: Batch) -> None:
        """Remember that the runs and their summaries are complete; call after the commit."""
        if len(self._summarized) > _REMEMBERED:
            self._summarized.clear()
        self._summarized.update(entry for ref in _kinds(batch) for entry in _entries(ref))

    def insert(self, batch: Batch) -> int:
        """Insert the datasets of a batch, in the caller's transaction.

        Returns
        -------
        inserted : `int`
            Number of datasets that were not in the Butler before.

        Raises
        ------
        RefusedEventsError
            If the Butler has one of the ids with another data ID or path.
        sqlalchemy.exc.IntegrityError
            If the database refuses a row; `find_refused` finds the events at fault.
        """
        tags = tag_rows(self._tables, batch)
        with self._tables.connection() as connection:
            registered = self._registered(connection, batch, tags)
            missing = self._not_stored(connection, batch, tags, registered)
            new = {table: rows.without(registered) for table, rows in tags.items()}
            self._update_summaries(batch, tags, new)
            insert_rows(connection, self._insertions(tags, new, missing))
        return len({d.key for datasets in missing.values() for d in datasets})

    def forget(self) -> None:
        """Forget all lookups: the transaction was rolled back, or someone deleted rows."""
        self._tables.forget()

    def find_refused(self, batch: Batch) -> None:
        """Refuse the events for which the database refused a batch, if they can be identified.

        To be called outside the transaction of the batch.

        Raises
        ------
        RefusedEventsError
            If there are such events.
        """
        find_refused(self._tables, batch)

    def _registered(
        self,
        connection: sqlalchemy.Connection,
        batch: Batch,
        tags_by_table: Mapping[sqlalchemy.Table, TagRows],
    ) -> set[DatasetKey]:
        """Find the datasets that the registry has, for example from a previous delivery.

        They must be the same datasets.
        """
        registered: set[DatasetKey] = set()
        conflicts: dict[DatasetKey, str] = {}
        given = [(dataset.id,) for dataset in batch.datasets.values()]
        # Usually there are none, and the other tables need not be asked.
        found = select_by_key(connection, self._tables.dataset, ["id"], given, ["id"])
        known = {dataset_id.bytes for (dataset_id,) in found}
        for table, tags in tags_by_table.items():
            ids = [(batch.datasets[key].id,) for key in tags.rows.keys() & known]
            for row in select_by_key(connection, table, ["dataset_id"], ids, tags.columns):
                key = row[-1].bytes
                if row == tags.rows[key]:
                    registered.add(key)
                else:  # or just a tagged collection that someone put the dataset into
                    conflicts[key] = different_dataset(batch.datasets[key])
        batch.refuse({key: reason for key, reason in conflicts.items() if key not in registered})
        return registered

    def _not_stored(
        self,
        connection: sqlalchemy.Connection,
        batch: Batch,
        tags_by_table: Mapping[sqlalchemy.Table, TagRows],
        registered: Collection[DatasetKey],
    ) -> dict[FileStore, list[Dataset]]:
        """Find the datasets that a datastore does not have; the others must have the same path."""
        conflicts: dict[DatasetKey, str] = {}
        missing: dict[FileStore, list[Dataset]] = {}
        for store, datasets in self._accepted(batch, tags_by_table).items():
            known = [(d.id,) for d in datasets if d.key in registered] if registered else []
            columns = ["dataset_id", "path"]
            found = select_by_key(connection, store.records_table, ["dataset_id"], known, columns)
            stored = {row[0].bytes: row[1] for row in found}
            for key, recorded in stored.items():
                given = batch.datasets[key].artifact.recorded_paths[store]
                if recorded != given:
                    conflicts[key] = (
                        f"dataset {batch.datasets[key].id} is stored in {recorded!r}, "
                        f"but given in {given!r}"
                    )
            absent = [d for d in datasets if d.key not in stored] if stored else datasets
            missing[store] = sorted(absent, key=attrgetter("key"))
        batch.refuse(conflicts)
        return missing

    def _accepted(
        self, batch: Batch, tags_by_table: Mapping[sqlalchemy.Table, TagRows]
    ) -> dict[FileStore, list[Dataset]]:
        """Return the datasets that each datastore accepts."""
        accepted: dict[FileStore, list[Dataset]] = defaultdict(list)
        for tags in tags_by_table.values():
            stores: dict[Row, tuple[FileStore, ...]] = {}
            for key, row in tags.rows.items():
                dataset = batch.datasets[key]
                if (kind := tags.kind(row)) not in stores:
                    stores[kind] = self._datastores.accepting(dataset.ref)
                for store in stores[kind]:
                    accepted[store].append(dataset)
        return accepted

    def _insertions(
        self,
        tags_by_table: Mapping[sqlalchemy.Table, TagRows],
        new: Mapping[sqlalchemy.Table, Sequence[Row]],
        missing: Mapping[FileStore, Sequence[Dataset]],
    ) -> Iterator[Insertion]:
        """Return the rows to insert, in the order that foreign keys require."""
        datasets = sorted(
            ((row[0], row[1], row[-1]) for rows in new.values() for row in rows),
            key=lambda row: row[-1].int,
        )
        columns = ["dataset_type_id", self._tables.run_column, "id"]
        constants = {"ingest_date": self._tables.now()}
        yield Insertion(self._tables.dataset, columns, datasets, constants)
        for table, rows in new.items():
            yield Insertion(table, tags_by_table[table].columns, rows)
        for store, stored in missing.items():
            yield from _datastore_records(store, stored)

    def _update_summaries(
        self,
        batch: Batch,
        tags_by_table: Mapping[sqlalchemy.Table, TagRows],
        new: Mapping[sqlalchemy.Table, Sequence[Row]],
    ) -> None:
        """Add the new kinds of datasets to the summary of each run."""
        kinds: dict[str, list[DatasetRef]] = defaultdict(list)
        for table, rows in new.items():
            kind = tags_by_table[table].kind
            for row in dict(zip(map(kind, rows), rows, strict=True)).values():
                ref = batch.datasets[row[-1].bytes].ref
                kinds[ref.run].append(ref)
        for run, refs in sorted(kinds.items()):
            self._tables.update_summary(run, refs)


def _kinds(batch: Batch) -> Collection[DatasetRef]:
    """Return a dataset for each dataset type and each data ID that a run gets."""
    kinds: dict[tuple[str, int], DatasetRef] = {}
    for dataset in batch.datasets.values():
        ref = dataset.ref
        kinds.setdefault((ref.run, id(ref.datasetType)), ref)
        kinds.setdefault((ref.run, id(ref.dataId)), ref)
    return kinds.values()


def _entries(ref: DatasetRef) -> Iterator[tuple[str, ...]]:
    """Yield the entries in the summary of a dataset's run that the dataset needs."""
    yield ref.run, ref.datasetType.name
    for governor in ref.dataId.dimensions.governors:
        yield ref.run, governor, str(ref.dataId[governor])


def _datastore_records(store: FileStore, datasets: Sequence[Dataset]) -> Iterator[Insertion]:
    """Return the rows that ``Butler.ingest`` would insert: an artifact's first dataset counts."""
    ids = ((dataset.id,) for dataset in datasets)
    yield Insertion(store.locations_table, ["dataset_id"], ids, {"datastore_name": store.name})
    rows = (
        (
            dataset.id,
            (artifact := dataset.artifact).recorded_paths[store],
            artifact.formatter,
            artifact.storage_class,
            artifact.size,
            artifact.checksum,
        )
        for dataset in datasets
    )
    columns = ["dataset_id", "path", "formatter", "storage_class", "file_size", "checksum"]
    yield Insertion(store.records_table, columns, rows, store.other_columns)
