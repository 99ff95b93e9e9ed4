"""Folders with many artifacts, which are listed: that is faster than to look for each artifact."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import structlog
from botocore.exceptions import ClientError

from app.butler.descriptions import describe_with_type
from app.butler.files.listing import list_some
from app.butler.paths import is_plain
from app.butler.private.datastores import FileStore

__all__ = ["Location", "large_folders", "listed"]

logger = structlog.get_logger("butler_writer")

Location: TypeAlias = tuple[FileStore, str]
"""A datastore, and a path in its records."""

#: Number of artifacts in one folder from which on the folder is listed first.  With fewer, a
#: listing saves less than its round trip takes.
_MANY = 16

#: Number of names that a listing goes through for each artifact that is expected.  On S3, a name
#: takes 0.145 ms of processor time and a single check 1.6 ms (our measurement), so that a listing
#: in vain costs no more than the checks.  A listing with only expected artifacts (four folders of
#: 189) takes 0.08 ms for each.  On a local disk, 18,000 checks took 0.21 s, and the listings of 100
#: folders 0.06 s.
_NAMES_EACH = 10


def large_folders(locations: Iterable[Location]) -> list[list[Location]]:
    """Return the locations in each folder that has many of them."""
    folders: defaultdict[tuple[FileStore, str], list[Location]] = defaultdict(list)
    for store, path in locations:
        if (store.root.isLocal or store.root.scheme == "s3") and is_plain(path):
            folders[store, path.rpartition("/")[0]].append((store, path))
    return [folder for folder in folders.values() if len(folder) >= _MANY]


def listed(locations: Sequence[Location]) -> list[Location]:
    """Return those locations of one folder that a listing of bounded length contains."""
    store = locations[0][0]
    expected = {path for _, path in locations}
    prefix = os.path.commonprefix([*expected])  # noqa: RUF071 - of the file names too
    try:
        listing = list_some(store.root, prefix, _NAMES_EACH * len(expected))
        return [(store, path) for path in listing if path in expected]
    except (ClientError, OSError) as exc:  # the single checks that follow report it
        logger.debug("a folder cannot be listed", store=store.name, error=describe_with_type(exc))
        return []
