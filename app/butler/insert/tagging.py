"""Put datasets into a tagged collection, in which each data ID has one dataset of a type."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy
from lsst.daf.butler import Butler, DatasetId, DatasetRef

from app.butler.insert.batch import Batch
from app.butler.insert.tags import TagRows, tag_rows
from app.butler.policy import ReplicaPolicy, TagWinner
from app.butler.private.registry import RegistryTables
from app.butler.statements import Insertion, Row, insert_rows, select_by_index, select_by_key

__all__ = ["Tagging"]


class Tagging:
    """Puts the datasets of a batch into a tagged collection, in the caller's transaction.

    Which of two datasets with the same data ID has the tag depends on when they came into this
    repository, and so not on the order in which a window is written again.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    name : `str`
        The collection.
    winner : `TagWinner`
        Which of several datasets with the same data ID has the tag.
    """

    def __init__(self, butler: Butler, name: str, winner: TagWinner) -> None:
        self._tables = RegistryTables(butler)
        self._name = name
        self._best = max if winner is TagWinner.NEWEST else min

    @classmethod
    def of(cls, butler: Butler, replica: ReplicaPolicy | None) -> Tagging | None:
        """Return what a downstream repository needs; `None` if nothing is tagged."""
        if replica is None or replica.tag is None:
            return None
        return cls(butler, replica.tag, replica.tag_winner)

    def write(self, batch: Batch) -> int:
        """Tag the datasets of a batch, which are in the registry.

        Returns
        -------
        lost : `int`
            Number of datasets that have the tag no more, or do not get it, because of another one.

        Raises
        ------
        lsst.daf.butler.registry.CollectionTypeError
            If a collection of another type has the name.
        """
        self._tables.forget()
        key = self._tables.tagged_collection(self._name)
        refs = {(ref.datasetType.name, _governors(ref)): ref for ref in _refs(batch)}
        lost = 0
        with self._tables.connection() as connection:
            self._tables.lock_collection(connection, key)
            # First: the rows of tags refer to the summary.
            self._tables.update_summary(self._name, refs.values())
            for table, tags in tag_rows(self._tables, batch).items():
                lost += self._write(connection, table, tags, key)
        return lost

    def _write(
        self, connection: sqlalchemy.Connection, table: sqlalchemy.Table, tags: TagRows, key: int
    ) -> int:
        given = [(row[0], key, *row[2:]) for row in tags.rows.values()]
        data_ids = list(dict.fromkeys(row[:-1] for row in given))
        found = select_by_index(connection, table, tags.columns[:-1], data_ids, tags.columns)
        tagged: dict[Row, DatasetId] = {row[:-1]: row[-1] for row in found}
        candidates: defaultdict[Row, set[DatasetId]] = defaultdict(set)
        for row in [*given, *((*data_id, each) for data_id, each in tagged.items())]:
            candidates[row[:-1]].add(row[-1])
        contested = [ids for ids in candidates.values() if len(ids) > 1]
        order = self._order(connection, [i for ids in contested for i in ids])
        winners = {
            data_id: next(iter(ids)) if len(ids) == 1 else self._best(ids, key=order.__getitem__)
            for data_id, ids in candidates.items()
        }
        removed = [each for data_id, each in tagged.items() if winners[data_id] != each]
        if removed:
            columns = table.columns
            connection.execute(
                table.delete().where(
                    columns[tags.columns[1]] == key, columns["dataset_id"].in_(removed)
                )
            )
        new = sorted(
            (*data_id, winner)
            for data_id, winner in winners.items()
            if tagged.get(data_id) != winner
        )
        insert_rows(connection, [Insertion(table, tags.columns, new)])
        return sum(len(ids) - 1 for ids in contested)

    def _order(
        self, connection: sqlalchemy.Connection, ids: Iterable[DatasetId]
    ) -> Mapping[DatasetId, tuple[Any, int]]:
        """Return a key that sorts datasets by when they came into this repository."""
        keys = [(each,) for each in ids]
        columns = ["id", "ingest_date"]
        found = select_by_key(connection, self._tables.dataset, ["id"], keys, columns)
        return {row[0]: (row[1], row[0].int) for row in found}


def _refs(batch: Batch) -> Iterable[DatasetRef]:
    return (dataset.ref for dataset in batch.datasets.values())


def _governors(ref: DatasetRef) -> tuple[Any, ...]:
    return tuple([ref.dataId[name] for name in ref.dataId.dimensions.governors])
