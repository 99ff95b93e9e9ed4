"""Rows straight into registry and datastore records.

The statements are few, however many the events are: a look for what is there already, an INSERT for
each table.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

import sqlalchemy
from lsst.daf.butler import DatasetId, DatasetRef, DatasetType

from app.butler.insert.batch import Batch, Dataset, RefusedEventsError
from app.butler.insert.references import References
from app.butler.private.datastores import Datastores, FileStore
from app.butler.private.registry import RegistryTables
from app.butler.statements import Addition, Row, append, holding, matching

__all__ = ["RecordsPath"]


@dataclass(slots=True)
class _Tags:
    """The rows of one tags table: each has a type's key, a run's key, the data ID, and the id.

    Attributes
    ----------
    columns : `list` [`str`]
        Their names.
    kind : `~collections.abc.Callable`
        Returns what tells kinds of datasets apart: type, run and the data ID's governors, by which
        summaries are made and datastores choose.
    rows : `dict` [`lsst.daf.butler.DatasetId`, `Row`]
        The rows, in the order of the ids.
    """

    columns: list[str]
    kind: Callable[[Row], Row]
    rows: dict[DatasetId, Row] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset_type: DatasetType, collection_column: str) -> _Tags:
        """Return the table of a dataset type, and of all others of its dimensions, without rows."""
        dimensions = dataset_type.dimensions
        columns = ["dataset_type_id", collection_column, *dimensions.required, "dataset_id"]
        return cls(columns, itemgetter(0, 1, *map(columns.index, dimensions.governors)))

    def without(self, ids: Collection[DatasetId]) -> list[Row]:
        """Return the rows but those of some datasets."""
        if not ids:
            return list(self.rows.values())
        return [row for dataset_id, row in self.rows.items() if dataset_id not in ids]


class RecordsPath:
    """Writes the rows of datasets; data IDs are not expanded, formatters stay names."""

    def __init__(self, tables: RegistryTables, datastores: Datastores) -> None:
        self._tables = tables
        self._datastores = datastores

    def insert(self, batch: Batch) -> int:
        """Write a batch's datasets, inside the caller's transaction.

        Returns
        -------
        inserted : `int`
            How many of them were not there.

        Raises
        ------
        RefusedEventsError
            If a dataset is there already with another data ID or path.
        sqlalchemy.exc.IntegrityError
            If the database refuses one; `blame` finds out which.
        """
        tables = self._tags(batch)
        with self._tables.connection() as connection:
            registered = self._registered(connection, batch, tables)
            missing = self._not_stored(connection, batch, tables, registered)
            new = {table: tags.without(registered) for table, tags in tables.items()}
            self._summarize(batch, tables, new)
            append(connection, self._additions(tables, new, missing))
        return len({d.id for datasets in missing.values() for d in datasets})

    def forget(self) -> None:
        """Forget what was looked up: its transaction is not committed, or somebody removed it."""
        self._tables.forget()

    def blame(self, batch: Batch) -> None:
        """Refuse the events that a write was refused over, as far as that can be told.

        To be called outside of its transaction.

        Raises
        ------
        RefusedEventsError
            If there is one.
        """
        tables = self._tags(batch)  # runs that somebody has removed are made again, for good
        with self._tables.connection() as connection:
            self._refuse_dangling(connection, batch)  # the cheaper one
            self._refuse_held(connection, batch, tables)

    def _refuse_dangling(self, connection: sqlalchemy.Connection, batch: Batch) -> None:
        """Refuse the events that need a dimension record that is not there and that none brings."""
        references = References()
        for position, event in enumerate(batch.events):
            for (element, _), raw in event.records.items():
                references.add(self._tables.element(element), raw.record.toDict(), position)
            refs = {(id(ref.dataId), ref.datasetType.dimensions): ref for ref in event.refs}
            for ref in refs.values():  # an event's data IDs are few
                _, table = self._tables.dataset_type(ref.datasetType.name)
                references.add(table, ref.dataId.required, position)
        brought = {
            (element, tuple(record[name] for name in columns))
            for event in batch.events
            for (element, _), raw in event.records.items()
            for record in [raw.record.toDict()]
            for columns in references.columns(element)
        }
        if dangling := references.dangling(connection, brought):
            raise RefusedEventsError(dangling)

    def _tags(self, batch: Batch) -> dict[sqlalchemy.Table, _Tags]:
        """Make the rows that say which dataset each data ID has."""
        tables: dict[sqlalchemy.Table, _Tags] = {}
        for dataset in batch.sorted_datasets:
            ref = dataset.ref
            key, table = self._tables.dataset_type(ref.datasetType.name)
            if (tags := tables.get(table)) is None:
                tags = tables[table] = _Tags.of(ref.datasetType, self._tables.collection_column)
            row = (key, self._tables.run(ref.run), *ref.dataId.required_values, dataset.id)
            tags.rows[dataset.id] = row
        return dict(sorted(tables.items(), key=lambda item: item[0].name))

    def _registered(
        self,
        connection: sqlalchemy.Connection,
        batch: Batch,
        tables: Mapping[sqlalchemy.Table, _Tags],
    ) -> set[DatasetId]:
        """Find the datasets that the registry has, as a redelivery has them; they must agree."""
        registered: set[DatasetId] = set()
        conflicts: dict[DatasetId, str] = {}
        for table, tags in tables.items():
            ids = [(dataset_id,) for dataset_id in tags.rows]
            for row in matching(connection, table, ["dataset_id"], ids, tags.columns):
                if row == tags.rows[row[-1]]:
                    registered.add(row[-1])
                else:  # if not in another collection only, into which somebody has put it
                    conflicts[row[-1]] = _otherwise(batch.datasets[row[-1]])
        batch.refuse({key: reason for key, reason in conflicts.items() if key not in registered})
        return registered

    def _refuse_held(
        self,
        connection: sqlalchemy.Connection,
        batch: Batch,
        tables: Mapping[sqlalchemy.Table, _Tags],
    ) -> None:
        """Refuse the events with a data ID that another dataset has, or an id that is another's."""
        conflicts: dict[DatasetId, str] = {}
        twins: dict[DatasetId, str] = {}
        new: list[DatasetId] = []
        for table, tags in tables.items():
            keys = list(dict.fromkeys(row[:-1] for row in tags.rows.values()))
            found = holding(connection, table, tags.columns[:-1], keys, tags.columns)
            holders = {row[:-1]: row[-1] for row in found}
            firsts: dict[Row, DatasetId] = {}
            in_order_of_arrival = (key for key in batch.datasets if key in tags.rows)
            for dataset_id in in_order_of_arrival:
                row = tags.rows[dataset_id]
                holder = holders.get(row[:-1])
                first = firsts.setdefault(row[:-1], dataset_id)
                if holder not in (None, dataset_id):
                    conflicts[dataset_id] = _held(batch.datasets[dataset_id], holder)
                elif first != dataset_id:
                    twins[dataset_id] = _held(batch.datasets[dataset_id], first)
                if holder is None:
                    new.append(dataset_id)
        ids = [(dataset_id,) for dataset_id in new]
        for (dataset_id,) in matching(connection, self._tables.dataset, ["id"], ids, ["id"]):
            conflicts[dataset_id] = _otherwise(batch.datasets[dataset_id])
        batch.refuse(conflicts)
        batch.refuse(twins)  # not before it is known that the earlier one has a right to be there

    def _not_stored(
        self,
        connection: sqlalchemy.Connection,
        batch: Batch,
        tables: Mapping[sqlalchemy.Table, _Tags],
        registered: Collection[DatasetId],
    ) -> dict[FileStore, list[Dataset]]:
        """Find the datasets that a datastore lacks; those that it has must agree."""
        wanted: dict[FileStore, list[Dataset]] = defaultdict(list)
        for tags in tables.values():
            stores: dict[Row, tuple[FileStore, ...]] = {}
            for dataset_id, row in tags.rows.items():
                dataset = batch.datasets[dataset_id]
                if (kind := tags.kind(row)) not in stores:
                    stores[kind] = self._datastores.accepting(dataset.ref)
                for store in stores[kind]:
                    wanted[store].append(dataset)
        conflicts: dict[DatasetId, str] = {}
        missing: dict[FileStore, list[Dataset]] = {}
        for store, datasets in wanted.items():
            known = [(d.id,) for d in datasets if d.id in registered] if registered else []
            columns = ["dataset_id", "path"]
            found = matching(connection, store.records, ["dataset_id"], known, columns)
            stored = {row[0]: row[1] for row in found}
            for dataset_id, there in stored.items():
                if there != (path := batch.datasets[dataset_id].artifact.places[store]):
                    conflicts[dataset_id] = (
                        f"dataset {dataset_id} is in {there!r}, but given in {path!r}"
                    )
            absent = [d for d in datasets if d.id not in stored] if stored else datasets
            missing[store] = sorted(absent, key=lambda dataset: dataset.id.int)
        batch.refuse(conflicts)
        return missing

    def _additions(
        self,
        tables: Mapping[sqlalchemy.Table, _Tags],
        new: Mapping[sqlalchemy.Table, Sequence[Row]],
        missing: Mapping[FileStore, Sequence[Dataset]],
    ) -> Iterator[Addition]:
        """Return what is to be appended, in the order that foreign keys ask for."""
        datasets = sorted(
            ((row[0], row[1], row[-1]) for rows in new.values() for row in rows),
            key=lambda row: row[-1].int,
        )
        columns = ["dataset_type_id", self._tables.run_column, "id"]
        same = {"ingest_date": self._tables.now()}
        yield Addition(self._tables.dataset, columns, datasets, same)
        for table, rows in new.items():
            yield Addition(table, tables[table].columns, rows)
        for store, stored in missing.items():
            yield from _records(store, stored)

    def _summarize(
        self,
        batch: Batch,
        tables: Mapping[sqlalchemy.Table, _Tags],
        new: Mapping[sqlalchemy.Table, Sequence[Row]],
    ) -> None:
        """Note which kinds of datasets each run has now, which the tags refer to."""
        kinds: dict[str, list[DatasetRef]] = defaultdict(list)
        for table, rows in new.items():
            for row in dict(zip(map(tables[table].kind, rows), rows, strict=True)).values():
                ref = batch.datasets[row[-1]].ref
                kinds[ref.run].append(ref)
        for run, refs in sorted(kinds.items()):
            self._tables.summarize(run, refs)


def _records(store: FileStore, datasets: Sequence[Dataset]) -> Iterator[Addition]:
    """Record the artifacts as ``Butler.ingest`` does: each by the first of its datasets."""
    ids = ((dataset.id,) for dataset in datasets)
    yield Addition(store.locations, ["dataset_id"], ids, {"datastore_name": store.name})
    rows = (
        (
            dataset.id,
            (artifact := dataset.artifact).places[store],
            artifact.formatter,
            artifact.refs[0].datasetType.storageClass_name,
            artifact.size,
            artifact.checksum,
        )
        for dataset in datasets
    )
    columns = ["dataset_id", "path", "formatter", "storage_class", "file_size", "checksum"]
    yield Addition(store.records, columns, rows, store.unknown)


def _otherwise(dataset: Dataset) -> str:
    return f"dataset {dataset.id} is there already, but not as {dataset.ref}"


def _held(dataset: Dataset, holder: DatasetId) -> str:
    return f"{dataset.ref} cannot be {dataset.id}: it is dataset {holder}"
