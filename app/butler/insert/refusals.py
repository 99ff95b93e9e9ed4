"""Find the events for which the database refused a bulk insert."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy
from lsst.daf.butler import DatasetId

from app.butler.insert.batch import Batch, Dataset, DatasetKey, RefusedEventsError
from app.butler.insert.references import References, text_of
from app.butler.insert.tags import TagRows, tag_rows
from app.butler.private.registry import RegistryTables
from app.butler.statements import select_by_index, select_by_key

__all__ = ["different_dataset", "find_refused"]


def find_refused(tables: RegistryTables, batch: Batch) -> None:
    """Refuse the events for which the database refused a batch, if they can be identified.

    To be called outside the transaction of the batch.

    Raises
    ------
    RefusedEventsError
        If there are such events.
    """
    tags = tag_rows(tables, batch)  # also registers again, for good, the runs that were removed
    with tables.connection() as connection:
        _refuse_dangling(connection, tables, batch)  # the cheaper check
        _refuse_taken(connection, tables, batch, tags)


def _refuse_dangling(
    connection: sqlalchemy.Connection, tables: RegistryTables, batch: Batch
) -> None:
    """Refuse the events that need a dimension record that is not stored and that none brings."""
    references = References()
    for event in batch.events:
        for (element, _), parsed in event.records.items():
            references.add(tables.element(element), parsed.record.toDict(), event)
        refs = {(id(ref.dataId), ref.datasetType.dimensions): ref for ref in event.refs}
        for ref in refs.values():  # an event has few data IDs
            _, table = tables.dataset_type(ref.datasetType.name)
            references.add(table, ref.dataId.required, event)
    inserted = {
        (element, text_of(tuple(fields[name] for name in columns)))
        for event in batch.events
        for (element, _), parsed in event.records.items()
        for fields in [parsed.record.toDict()]
        for columns in references.columns(element)
    }
    if dangling := references.dangling(connection, inserted):
        raise RefusedEventsError(dangling)


def _refuse_taken(
    connection: sqlalchemy.Connection,
    tables: RegistryTables,
    batch: Batch,
    tags_by_table: Mapping[sqlalchemy.Table, TagRows],
) -> None:
    """Refuse the events with a data ID, or a dataset id, that another dataset has."""
    conflicts: dict[DatasetKey, str] = {}
    duplicates: dict[DatasetKey, str] = {}
    new: list[Dataset] = []
    for table, tags in tags_by_table.items():
        keys = list({text_of(row[:-1]): row[:-1] for row in tags.rows.values()}.values())
        found = select_by_index(connection, table, tags.columns[:-1], keys, tags.columns)
        owners = {text_of(row[:-1]): row[-1] for row in found}
        firsts: dict[str, DatasetId] = {}
        for key, row in ((key, tags.rows[key]) for key in batch.datasets if key in tags.rows):
            dataset = batch.datasets[key]
            owner = owners.get(text := text_of(row[:-1]))
            first = firsts.setdefault(text, dataset.id)
            if owner not in (None, dataset.id):
                conflicts[key] = _taken(dataset, owner)
            elif first != dataset.id:
                duplicates[key] = _taken(dataset, first)
            if owner is None:
                new.append(dataset)
    ids = [(dataset.id,) for dataset in new]
    for (dataset_id,) in select_by_key(connection, tables.dataset, ["id"], ids, ["id"]):
        conflicts[dataset_id.bytes] = different_dataset(batch.datasets[dataset_id.bytes])
    batch.refuse(conflicts)
    # Only now: if the first of two duplicates is refused, the second one may be written.
    batch.refuse(duplicates)


def different_dataset(dataset: Dataset) -> str:
    """Say that the registry has another dataset with the same id."""
    return f"dataset {dataset.id} is in the registry already, but not as {dataset.ref}"


def _taken(dataset: Dataset, owner: DatasetId) -> str:
    return f"{dataset.ref} cannot be dataset {dataset.id}: it is dataset {owner}"
