"""Where an artifact is: inside a datastore, or staged."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import lru_cache

from lsst.daf.butler import Location
from lsst.resources import ResourcePath

from models.errors import InvalidEventError

__all__ = ["address", "address_in", "is_plain", "path_in_datastore", "staging_root"]

#: A relative path that is stored as it is given: nothing to unquote, and no part that leads
#: elsewhere.  For speed alone: `_resolved` gives the same.
_PLAIN = re.compile(r"(?!\.{1,2}(?:/|$))[\w.+=,@-]+(?:/(?!\.{1,2}(?:/|$))[\w.+=,@-]+)*", re.ASCII)

#: lsst.resources would cut off a fragment, and fill in the reader's environment variables.
_UNFIT = frozenset("#$\0")


def is_plain(path: str) -> bool:
    """Tell whether a relative path is the end of its file's address as it is, unquoted."""
    return bool(_PLAIN.fullmatch(path))


def path_in_datastore(path: str, root: ResourcePath) -> str:
    """Return the path that a datastore records for an artifact.

    The rules are those of ``Butler.ingest(transfer=None)``: relative to the root, unquoted.

    Parameters
    ----------
    path : `str`
        Path as an event gives it: relative to the root, or absolute inside it.
    root : `lsst.resources.ResourcePath`
        Root of the datastore.

    Raises
    ------
    InvalidEventError
        If the path leads out of the root, or names no file.
    """
    return path if is_plain(path) else _resolved(path, root)


def _resolved(path: str, root: ResourcePath) -> str:
    if not path or not _UNFIT.isdisjoint(path):
        raise InvalidEventError(f"path {path!r} does not name a file")
    try:
        given = ResourcePath(path, forceAbsolute=False, forceDirectory=False)
        inside = (given if given.isabs() else root.join(path)).relative_to(root)
        # The record is unquoted once more when it is read: it must lead to the same file then.
        read = inside and Location(root, inside, trusted_path=True).uri.relative_to(root)
    except (ValueError, RuntimeError) as exc:
        raise InvalidEventError(f"path {path!r}: {exc}") from exc
    if inside is None or read is None:
        raise InvalidEventError(f"path {path!r} is outside the datastore root {root}")
    if inside == "." or read != inside or not _UNFIT.isdisjoint(inside):
        raise InvalidEventError(f"path {path!r} does not name a file")
    return inside


def staging_root(uri: str, allowed: Sequence[ResourcePath]) -> ResourcePath:
    """Return the staging root that an event names.

    Parameters
    ----------
    uri : `str`
        As the event gives it.
    allowed : `~collections.abc.Sequence` [`lsst.resources.ResourcePath`]
        The roots that an operator allows; an event may also name a folder inside of one.

    Raises
    ------
    InvalidEventError
        If it is none of these.
    """
    if not isinstance(uri, str) or not _UNFIT.isdisjoint(uri):
        raise InvalidEventError(f"staging {uri!r} is not a URI")
    try:
        given = address(ResourcePath(uri, forceDirectory=True))
    except (NotImplementedError, ValueError, RuntimeError) as exc:
        raise InvalidEventError(f"staging {uri!r}: {exc}") from exc
    for root in allowed:
        inside = given.removeprefix(address(root)).rstrip("/")
        if not inside:
            return root
        if inside != given.rstrip("/") and is_plain(inside):
            return root.join(inside, forceDirectory=True)
    raise InvalidEventError(
        f"staging {uri!r} is not in one of the roots that BUTLER_WRITER_STAGING_ROOTS names"
    )


def address(folder: ResourcePath) -> str:
    """Return where a folder really is, however its URI is written; it ends with a slash."""
    if folder.isLocal:
        return os.path.realpath(folder.ospath).rstrip("/") + "/"
    # Before an @ is the profile, by which lsst.resources chooses credentials.
    bucket = folder.netloc.rpartition("@")[2]
    return f"{folder.scheme}://{bucket}{folder.unquoted_path}".rstrip("/") + "/"


def address_in(folder: str, path: str) -> str:
    """Return where a file of a folder really is, from the folder's address."""
    place = folder + path
    if not place.startswith("/"):
        return place
    parent, _, name = place.rpartition("/")
    return f"{_real(parent)}/{name}"


@lru_cache(maxsize=100_000)
def _real(folder: str) -> str:
    return os.path.realpath(folder)
