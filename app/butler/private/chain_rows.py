"""The rows of chains: each child of a chain has a position, and a smaller one comes first."""

from __future__ import annotations

from typing import Any

import sqlalchemy
from lsst.daf.butler import Butler, CollectionType
from lsst.daf.butler.registry import CollectionTypeError

from app.butler.private.registry import RegistryTables

__all__ = ["ChainRows"]


class ChainRows:
    """Reads and writes the positions of the children of chains.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    """

    def __init__(self, butler: Butler) -> None:
        registry: Any = butler._registry  # type: ignore[attr-defined]
        self._collections = registry._managers.collections
        self._table: sqlalchemy.Table = self._collections._tables.collection_chain
        self._tables = RegistryTables(butler)

    def exists(self, name: str) -> bool:
        """Return whether there is a collection; its children, thousands perhaps, are not read."""
        collection = self._collections._tables.collection
        with self._tables.connection() as connection:
            found = sqlalchemy.select(collection.columns.name).where(
                collection.columns.name == name
            )
            return connection.execute(found).first() is not None

    def position(self, chain: str, run: str) -> int | None:
        """Return the position of a run in a chain; `None` if it is not in it."""
        columns, collection = self._table.columns, self._collections._tables.collection
        (key,) = columns.parent.foreign_keys
        parent, child = collection.alias(), collection.alias()
        row = sqlalchemy.select(columns.position).where(
            parent.columns[key.column.name] == columns.parent,
            child.columns[key.column.name] == columns.child,
            parent.columns.name == chain,
            child.columns.name == run,
        )
        with self._tables.connection() as connection:
            found: int | None = connection.execute(row).scalars().first()
        return found

    def lock(self, chain: str) -> int:
        """Wait until nobody else changes a chain, as all changes of Butler do; return its key.

        The lock is held until the end of the caller's transaction.

        Raises
        ------
        lsst.daf.butler.registry.CollectionTypeError
            If it is a collection of another type.
        """
        key: int = self._collections._find_and_lock_collection_chain(chain, exclusive_lock=True)
        return key

    def put(self, chain: str, run: str, position: int, *, moves: bool) -> bool:
        """Put a run at a position of a chain, in the caller's transaction.

        Another child that has the position gets the one that the run had, or else comes first.

        Parameters
        ----------
        chain, run : `str`
            The chain, which is registered, and the run.
        position : `int`
            The position.
        moves : `bool`
            Whether to do so if the chain has the run at another position.

        Returns
        -------
        is_changed : `bool`
            Whether the chain did not have the run, or had it elsewhere.

        Raises
        ------
        lsst.daf.butler.MissingCollectionError
            If the run does not exist.
        lsst.daf.butler.registry.CollectionTypeError
            If the collections are not a chain and a run.
        """
        parent, child = self.lock(chain), self._collections.find(run)
        if child.type is not CollectionType.RUN:
            raise CollectionTypeError(f"{run!r} is a {child.type.name} collection, not a run")
        columns = self._table.columns
        children = sqlalchemy.select(columns.position, columns.child)
        with self._tables.connection() as connection:
            rows = connection.execute(children.where(columns.parent == parent)).all()
            child_at = {row.position: row.child for row in rows}
            before = next((at for at, each in child_at.items() if each == child.key), None)
            if before == position or (before is not None and not moves):
                return False
            other = child_at.get(position)
            connection.execute(
                self._table.delete().where(
                    columns.parent == parent, columns.position.in_([position, before])
                )
            )
            new = {position: child.key}
            if other is not None:
                new[min(child_at) - 1 if before is None else before] = other
            connection.execute(
                self._table.insert(),
                [{"parent": parent, "position": at, "child": each} for at, each in new.items()],
            )
        return True
