"""The tables of a registry, by names that are private to ``lsst.daf.butler``."""

from __future__ import annotations

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
from lsst.daf.butler.registry import CollectionSummary, CollectionTypeError
from lsst.daf.butler.registry.datasets.byDimensions import tables as dataset_tables

from app.butler.failures import RetryableError
from app.butler.statements import matching

__all__ = ["RegistryTables", "engine_of", "make_tables"]


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
