"""The files that the records of a repository's datastores name.  Reads only."""

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

#: How many rows are fetched at a time.
_ROWS = 10_000


def recorded_addresses(butler: Butler, store: FileStore, folder: str) -> Iterator[str]:
    """Yield the address of each file in a folder of a datastore that its records name.

    The records are looked through once, all of them: paths have no index.  Where it is not clear
    which file a record means, each is yielded that it may; other files may be, too.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        Has the registry.
    store : `FileStore`
        The datastore.
    folder : `str`
        The folder, relative to the datastore's root.
    """
    column = store.records.columns["path"]
    somewhere = sqlalchemy.or_(
        column.startswith(folder, autoescape=True),
        column.startswith(quote(folder), autoescape=True),
        # What was ingested in its place may be in this folder too.
        column.startswith("/"),
        column.contains("://"),
    )
    root = address(store.root)
    statement = sqlalchemy.select(column).where(somewhere).execution_options(yield_per=_ROWS)
    with RegistryTables(butler).connection() as connection:
        for path in connection.execute(statement).scalars():
            # An artifact inside of a zip file is named by a fragment.
            for name in {path, path.partition("#")[0]}:
                if name.startswith("/") or "://" in name:
                    yield _absolute(name)
                else:
                    yield address_in(root, name)
                    yield address_in(root, unquote(name))


def _absolute(name: str) -> str:
    uri = ResourcePath(name, forceDirectory=False)
    return address_in(address(uri.dirname()), uri.basename())
