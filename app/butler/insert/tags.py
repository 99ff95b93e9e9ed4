"""The rows of the tags tables, which say which dataset has which data ID."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from operator import itemgetter

import sqlalchemy
from lsst.daf.butler import DatasetType

from app.butler.insert.batch import Batch, DatasetKey
from app.butler.private.registry import RegistryTables
from app.butler.statements import Row

__all__ = ["TagRows", "tag_rows"]


@dataclass(slots=True)
class TagRows:
    """Rows of one tags table: the dataset type's key, the run's key, the data ID, the dataset id.

    Attributes
    ----------
    columns : `list` [`str`]
        Names of the columns.
    kind : `~collections.abc.Callable`
        Returns the part of a row that collection summaries and the choice of datastores depend on:
        dataset type, run and governor dimensions.
    rows : `dict` [`DatasetKey`, `Row`]
        The rows, in the order of the ids.
    """

    columns: list[str]
    kind: Callable[[Row], Row]
    rows: dict[DatasetKey, Row] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset_type: DatasetType, collection_column: str) -> TagRows:
        """Return no rows of the table for all dataset types with the same dimensions."""
        dimensions = dataset_type.dimensions
        columns = ["dataset_type_id", collection_column, *dimensions.required, "dataset_id"]
        return cls(columns, itemgetter(0, 1, *map(columns.index, dimensions.governors)))

    def without(self, keys: Collection[DatasetKey]) -> list[Row]:
        """Return the rows except those of some datasets, sorted by run and data ID.

        Two writers of different datasets with the same data IDs then cannot deadlock.
        """
        return sorted(row for key, row in self.rows.items() if key not in keys)


def tag_rows(tables: RegistryTables, batch: Batch) -> dict[sqlalchemy.Table, TagRows]:
    """Return the tag rows of a batch, by table; runs that do not exist are registered."""
    by_table: dict[sqlalchemy.Table, TagRows] = {}
    for dataset in batch.sorted_datasets:
        ref = dataset.ref
        key, table = tables.dataset_type(ref.datasetType.name)
        if (tags := by_table.get(table)) is None:
            tags = by_table[table] = TagRows.of(ref.datasetType, tables.collection_column)
        row = (key, tables.run(ref.run), *ref.dataId.required_values, dataset.id)
        tags.rows[dataset.key] = row
    return dict(sorted(by_table.items(), key=lambda item: item[0].name))
