"""Where an artifact is inside a datastore."""

from __future__ import annotations

import re

from lsst.resources import ResourcePath

from models import InvalidEventError

__all__ = ["path_in_datastore"]

#: A relative path that is stored as it is given: nothing to unquote, and no part that leads
#: elsewhere.  For speed alone: `_resolved` gives the same.
_PLAIN = re.compile(r"(?!\.{1,2}(?:/|$))[\w.+=,@-]+(?:/(?!\.{1,2}(?:/|$))[\w.+=,@-]+)*", re.ASCII)


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
    # A fragment would silently be cut off by lsst.resources, and another file be recorded.
    if not path or "#" in path or "\0" in path:
        raise InvalidEventError(f"path {path!r} does not name a file")
    try:
        given = ResourcePath(path, forceAbsolute=False, forceDirectory=False)
        inside = (given if given.isabs() else root.join(path)).relative_to(root)
    except (ValueError, NotImplementedError) as exc:
        raise InvalidEventError(f"path {path!r}: {exc}") from exc
    if inside is None:
        raise InvalidEventError(f"path {path!r} is outside the datastore root {root}")
    if inside == ".":
        raise InvalidEventError(f"path {path!r} does not name a file")
    return inside
