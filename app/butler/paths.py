"""Where an artifact is inside a datastore."""

from __future__ import annotations

import re

from lsst.daf.butler import Location
from lsst.resources import ResourcePath

from models import InvalidEventError

__all__ = ["path_in_datastore"]

#: A relative path that is stored as it is given: nothing to unquote, and no part that leads
#: elsewhere.  For speed alone: `_resolved` gives the same.
_PLAIN = re.compile(r"(?!\.{1,2}(?:/|$))[\w.+=,@-]+(?:/(?!\.{1,2}(?:/|$))[\w.+=,@-]+)*", re.ASCII)

#: lsst.resources would cut off a fragment, and fill in the reader's environment variables.
_UNFIT = frozenset("#$\0")


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
    return path if _PLAIN.fullmatch(path) else _resolved(path, root)


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
