"""The tables of a repository's registry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
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
    MissingCollectionError,
    MissingDatasetTypeError,
)
from lsst.daf.butler.registry import CollectionSummary, CollectionTypeError
from lsst.daf.butler.registry.datasets.byDimensions import tables as dataset_tables

from app.butler.statements import select_by_key

__all__ = ["RegistryTables", "engine_of", "make_tables"]


def engine_of(butler: Butler) -> sqlalchemy.Engine:
    """Return the SQLAlchemy engine that a Butler and all its clones use."""
    engine: sqlalchemy.Engine = butler._registry._db._engine  # type: ignore[attr-defined]
    return engine


def make_tables(butler: Butler, dataset_type: DatasetType) -> None:
    """Create the table that a new dataset type needs, unless one exists for its dimensions.

    If Butler cannot create the table, it assumes that the table exists: a dataset type that is
    registered then can never be used by anyone.

    Raises
    ------
    sqlalchemy.exc.DBAPIError
        If the table could not be created, for example because other writers held locks for too
        long, or because the database user has no right to create tables.
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
    spec = dataset_tables.makeTagTableSpec(dimensions, collections)
    try:
        table = database.ensureTableExists(name, spec)
        if not sqlalchemy.inspect(database._engine).has_table(name, schema=database.namespace):
            with database._transaction() as (_, connection):
                table.create(connection)  # again, for the error that Butler has hidden
    except BaseException:
        database._metadata.remove_table(name)
        raise


class RegistryTables:
    """The tables of a registry, and the keys by which they refer to each other.

    Attributes
    ----------
    dataset : `sqlalchemy.Table`
        The table of all datasets.
    run_column, collection_column : `str`
        Names of the columns with the key of a run, in that table and in the tags tables.
    """

    def __init__(self, butler: Butler) -> None:
        registry: Any = butler._registry  # type: ignore[attr-defined]
        self._butler = butler
        self._database = registry._db
        self._managers = registry._managers
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
        """Return a context with the connection of the Butler's transaction."""
        with self._database._session() as connection:
            yield connection

    def element(self, name: str) -> sqlalchemy.Table:
        """Return the table of a dimension element's records."""
        table: sqlalchemy.Table = self._dimensions._tables[name]
        return table

    def written(
        self, elements: Iterable[str] = (), dataset_types: Iterable[str] = ()
    ) -> list[sqlalchemy.Table]:
        """Return the tables of the registry that a write touches.

        Summary tables are left out: foreign keys lead to them.

        Parameters
        ----------
        elements : `~collections.abc.Iterable` [`str`]
            Names of dimension elements that have records in the write.
        dataset_types : `~collections.abc.Iterable` [`str`]
            Names of dataset types; those that are not registered (any more) are left out.
        """
        collections = self._collections._tables
        tables = [collections.collection, collections.run, self.dataset]
        obscore = self._managers.obscore
        tables += [obscore.table] if obscore is not None else []
        for element in elements:
            overlaps = self._dimensions._overlap_tables.get(element, ())
            tables += [self.element(element), *overlaps[1:]]
        return list(dict.fromkeys([*tables, *self.of_types(dataset_types)]))

    def of_types(self, names: Iterable[str]) -> list[sqlalchemy.Table]:
        """Return the tags tables of dataset types that are registered."""
        tables = []
        for name in names:
            with suppress(MissingDatasetTypeError):
                tables.append(self.dataset_type(name)[1])
        return list(dict.fromkeys(tables))

    def are_current(self, dataset_types: Iterable[str]) -> bool:
        """Tell whether dataset types are as this Butler has looked them up, with one statement.

        Parameters
        ----------
        dataset_types : `~collections.abc.Iterable` [`str`]
            Their names.
        """
        renamed = self._datasets._reversed_renames
        known: dict[str, Any] = {}
        for name in dataset_types:
            try:
                known[renamed.get(name, name)] = self._datasets._find_storage(name)
            except MissingDatasetTypeError:
                return False
        table = self._datasets._static.dataset_type
        rows = sqlalchemy.select(table).where(table.columns.name.in_(known))
        with self.connection() as connection:
            found = connection.execute(rows).mappings().all()
        return len(found) == len(known) and all(
            (row["id"], row["tag_association_table"], record.dataset_type)
            == (
                (storage := known[row["name"]]).dataset_type_id,
                storage.dynamic_tables.tags_name,
                storage.dataset_type,
            )
            for row in found
            for record in [self._datasets._record_from_row(row)]
        )

    @property
    def may_reuse_keys(self) -> bool:
        """Whether the database may give the key of a removed row to a new one, as SQLite does.

        A key that was looked up may then mean something else, which no foreign key notices.
        """
        return bool(self._database.dialect.name == "sqlite")

    def check_readable(self) -> None:
        """Read from the tables that are needed to look up dataset types, without any row.

        Raises
        ------
        sqlalchemy.exc.DBAPIError
            If the database refuses that.
        """
        with self.connection() as connection:
            for table in (self._datasets._static.dataset_type, *self._groups()):
                connection.execute(sqlalchemy.select(*table.columns).limit(0))

    def _groups(self) -> Iterator[sqlalchemy.Table]:
        """Return the tables that define sets of dimensions."""
        storage = self._dimensions._dimension_group_storage
        yield from (storage._idTable, storage._definitionTable)

    def find_stored(
        self, element: DimensionElement, data_ids: Sequence[DataCoordinate]
    ) -> Sequence[DataCoordinate]:
        """Return those of some data IDs for which a dimension element has a stored record.

        The statement is the same each time, so that it is compiled once.  Those of the query system
        contain the name of a temporary table, and are compiled each time.
        """
        if not element.has_own_table:
            return data_ids  # the query system knows
        keys = [tuple(data_id[n] for n in element.required.names) for data_id in data_ids]
        by_text = dict(zip(map(repr, keys), data_ids, strict=True))  # see `RecordKey`
        columns = [*element.schema.required.names]
        with self.connection() as connection:
            found = select_by_key(connection, self.element(element.name), columns, keys, columns)
            return [by_text[repr(row)] for row in found]

    def dataset_type(self, name: str) -> tuple[int, sqlalchemy.Table]:
        """Return the key of a dataset type, and the tags table of its dimensions."""
        known = self._types.get(name)
        if known is None:
            storage = self._datasets._find_storage(name)
            tags = self._datasets._get_tags_table(storage.dynamic_tables)
            known = self._types[name] = (storage.dataset_type_id, tags)
        return known

    def collection(self, name: str) -> int | None:
        """Return the key of a collection, or `None` if there is no such collection."""
        try:
            key: int = self._collections.find(name).key
        except MissingCollectionError:
            return None
        return key

    def run(self, name: str) -> int:
        """Return the key of a run, which is registered if it does not exist.

        Raises
        ------
        lsst.daf.butler.registry.CollectionTypeError
            If a collection of another type has that name.
        """
        known = self._runs.get(name)
        if known is None:
            self._butler.collections.register(name)
            known = self._collections.find(name)
            if known.type is not CollectionType.RUN:
                raise CollectionTypeError(f"{name!r} is a {known.type.name} collection, not a run")
            self._runs[name] = known
        key: int = known.key
        return key

    def tagged_collection(self, name: str) -> int:
        """Return the key of a tagged collection, which is registered if it does not exist.

        Raises
        ------
        lsst.daf.butler.registry.CollectionTypeError
            If a collection of another type has that name.
        """
        self._butler.collections.register(name, CollectionType.TAGGED)
        known = self._collections.find(name)
        if known.type is not CollectionType.TAGGED:
            raise CollectionTypeError(f"{name!r} is a {known.type.name} collection, not tagged")
        self._runs[name] = known
        key: int = known.key
        return key

    def lock_collection(self, connection: sqlalchemy.Connection, key: int) -> None:
        """Wait until no other transaction has locked a collection; then lock it.

        Other transactions may still refer to the collection.
        """
        table = self._collections._tables.collection
        locked = sqlalchemy.select(table.columns[self.collection_column])
        locked = locked.where(table.columns[self.collection_column] == key)
        connection.execute(locked.with_for_update(key_share=True)).all()

    def now(self) -> Time | datetime:
        """Return the time in the type that this schema version needs for ``ingest_date``."""
        return Time.now() if self._datasets._use_astropy_ingest_date else datetime.now(UTC)

    def update_summary(self, run: str, refs: Iterable[DatasetRef]) -> None:
        """Add the dataset types and instruments of new datasets to the summary of a collection."""
        new = CollectionSummary()
        new.add_datasets(refs)
        stored = self._datasets.getCollectionSummary(self._runs[run])
        if new.dataset_types <= stored.dataset_types and all(
            values <= stored.governors.get(dimension, set())
            for dimension, values in new.governors.items()
        ):
            return  # the usual case; Butler would insert each again, with a statement of its own
        types = [self.dataset_type(found.name)[0] for found in new.dataset_types]
        self._datasets._summaries.update(self._runs[run], types, new)

    def forget(self) -> None:
        """Forget all keys: a run may not have been committed, or someone may have removed it."""
        self._types.clear()
        self._runs.clear()
