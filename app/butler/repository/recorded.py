"""List the files that the datastore records of a repository name.  Reads only."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote, unquote

import sqlalchemy
from lsst.daf.butler import Butler
from lsst.resources import ResourcePath

from app.butler.paths import address, address_in
from app.butler.private.datastores import FileStore
from app.butler.private.registry import RegistryTables

__all__ = ["recorded_addresses"]

#: Number of rows that are fetched at a time.
_ROWS = 10_000


def recorded_addresses(butler: Butler, store: FileStore, folder: str) -> Iterator[str]:
    """Yield the address of each file in a folder that the records of a datastore name.

    All records are read once, since paths have no index.  If a record may mean several files, the
    addresses of all of them are yielded; files outside the folder may be yielded too.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    store : `FileStore`
        The datastore.
    folder : `str`
        The folder, relative to the datastore's root.
    """
    column = store.records_table.columns["path"]
    in_folder = sqlalchemy.or_(
        column.startswith(folder, autoescape=True),
        column.startswith(quote(folder), autoescape=True),
        # A file that was ingested without a transfer may be in this folder too.
        column.startswith("/"),
        column.contains("://"),
    )
    root = address(store.root)
    statement = sqlalchemy.select(column).where(in_folder).execution_options(yield_per=_ROWS)
    with RegistryTables(butler).connection() as connection:
        for path in connection.execute(statement).scalars():
            # A fragment names an artifact inside a zip file.
            for name in {path, path.partition("#")[0]}:
                if name.startswith("/") or "://" in name:
                    yield _absolute(name)
                else:
                    yield address_in(root, name)
                    yield address_in(root, unquote(name))


def _absolute(name: str) -> str:
    uri = ResourcePath(name, forceDirectory=False)
    return address_in(address(uri.dirname()), uri.basename())
