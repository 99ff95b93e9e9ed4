"""Resolve the paths and staging roots that events give, and refuse those outside of the roots."""

from __future__ import annotations

import os
import re
import string
from collections.abc import Sequence
from functools import lru_cache

from lsst.daf.butler import Location
from lsst.resources import ResourcePath

from models.errors import InvalidEventError

__all__ = [
    "address",
    "address_in",
    "is_own_file",
    "is_plain",
    "path_in_datastore",
    "staging_root",
    "uri_inside",
]

#: The characters of a relative path that is recorded as it is: nothing to unquote.  For speed only:
#: `_resolved` returns the same.
_PLAIN = f"{string.ascii_letters}{string.digits}_.+=,@-/".encode()

#: What a URI has as it is.  For speed only: `ResourcePath` takes 25 us for each file.
_UNQUOTED = re.compile(r"[\w./-]+", re.ASCII)

#: lsst.resources would remove a fragment, and expand the reader's environment variables.
_FORBIDDEN = frozenset("#$\0")

#: Longest URI of a staging root, in characters: as long as a path on disk may be.
_LONGEST_URI = 4096

#: How many characters of one a reason contains.
_SHOWN = 200


def is_plain(path: str) -> bool:
    """Tell whether a relative path needs no unquoting and no normalization."""
    if not path.isascii() or path.encode().translate(None, _PLAIN):
        return False
    enclosed = f"/{path}/"
    return not ("//" in enclosed or "/./" in enclosed or "/../" in enclosed)


def is_own_file(path: str) -> bool:
    """Tell whether the path of a datastore record is that of a file below the datastore's root.

    Others are absolute, or name an artifact inside of another file.
    """
    return not (path.startswith("/") or "://" in path or "#" in path)


def path_in_datastore(path: str, root: ResourcePath) -> str:
    """Return the path that a datastore records for an artifact.

    The rules are those of ``Butler.ingest(transfer=None)``: relative to the root, and unquoted.

    Parameters
    ----------
    path : `str`
        The path as an event gives it: relative to the root, or absolute and inside the root.
    root : `lsst.resources.ResourcePath`
        Root of the datastore.

    Raises
    ------
    InvalidEventError
        If the path is outside the root, or does not name a file.
    """
    return path if is_plain(path) else _resolved(path, root)


def uri_inside(path: str, root: ResourcePath, root_uri: str) -> str:
    """Return the absolute URI of an artifact that stays where it is.

    Parameters
    ----------
    path : `str`
        The path as a message gives it: relative to the root, or absolute and inside the root.
    root : `lsst.resources.ResourcePath`
        Root of the datastore that has the artifact.
    root_uri : `str`
        Its URI, which takes time to make.

    Raises
    ------
    InvalidEventError
        If the path is outside the root, or does not name a file.
    """
    inside = path_in_datastore(path, root)
    if _UNQUOTED.fullmatch(inside) and root_uri.endswith("/"):
        return root_uri + inside
    return str(root.join(inside, forceDirectory=False))


def _resolved(path: str, root: ResourcePath) -> str:
    if not path or not _FORBIDDEN.isdisjoint(path):
        raise InvalidEventError(f"path {path!r} does not name a file")
    if not path.isprintable():
        raise InvalidEventError(f"path {path!r} has a character that is not printable")
    try:
        given = ResourcePath(path, forceAbsolute=False, forceDirectory=False)
        inside = (given if given.isabs() else root.join(path)).relative_to(root)
        # Butler unquotes the recorded path once more when it reads it: the file must be the same.
        read = inside and Location(root, inside, trusted_path=True).uri.relative_to(root)
    except (ValueError, RuntimeError) as exc:
        raise InvalidEventError(f"path {path!r}: {exc}") from exc
    if inside is None or read is None:
        raise InvalidEventError(f"path {path!r} is outside the datastore root {root}")
    if inside == "." or read != inside or not _FORBIDDEN.isdisjoint(inside):
        raise InvalidEventError(f"path {path!r} does not name a file")
    return inside


def staging_root(uri: str, allowed: Sequence[ResourcePath]) -> ResourcePath:
    """Return the staging root of an event.

    Parameters
    ----------
    uri : `str`
        The URI as the event gives it.
    allowed : `~collections.abc.Sequence` [`lsst.resources.ResourcePath`]
        The roots that the operator allows; an event may also name a folder inside one of them.

    Raises
    ------
    InvalidEventError
        If it is neither one of these nor inside one of them.
    """
    if not isinstance(uri, str):
        raise InvalidEventError(f"staging is a {type(uri).__name__}, and not a URI")
    shown = repr(uri if len(uri) <= _SHOWN else f"{uri[:_SHOWN]}...")
    if len(uri) > _LONGEST_URI:
        raise InvalidEventError(
            f"staging {shown} has {len(uri)} characters, more than the limit of {_LONGEST_URI}"
        )
    if not _FORBIDDEN.isdisjoint(uri):
        raise InvalidEventError(f"staging {shown} is not a URI")
    try:
        given = _name(ResourcePath(uri, forceDirectory=True)) if allowed else ""
    except (NotImplementedError, ValueError, RuntimeError) as exc:
        raise InvalidEventError(f"staging {shown}: {exc}") from exc
    # By their names alone: no file is looked at because a message names it.
    for root in allowed:
        for name in {_name(root), address(root)}:
            if given == name:
                return root
            inside = given.removeprefix(name).rstrip("/")
            if given.startswith(name) and is_plain(inside):
                return root.join(inside, forceDirectory=True)
    raise InvalidEventError(f"staging {shown} is not inside a root in BUTLER_WRITER_STAGING_ROOTS")


def address(folder: ResourcePath) -> str:
    """Return the address of a folder: the same for all URIs of it, and ending with a slash."""
    if folder.isLocal:
        return os.path.realpath(folder.ospath).rstrip("/") + "/"
    return _name(folder)


def _name(folder: ResourcePath) -> str:
    """Return what a folder is called, without looking at it."""
    if folder.isLocal:
        return folder.ospath.rstrip("/") + "/"
    # The part before an @ is the profile that lsst.resources takes credentials from.
    bucket = folder.netloc.rpartition("@")[2]
    return f"{folder.scheme}://{bucket}{folder.unquoted_path}".rstrip("/") + "/"


def address_in(folder: str, path: str) -> str:
    """Return the address of a file, from that of a folder and the path inside the folder."""
    given = folder + path
    if not given.startswith("/"):
        return given
    parent, _, name = given.rpartition("/")
    return f"{_real(parent)}/{name}"


@lru_cache(maxsize=100_000)
def _real(folder: str) -> str:
    return os.path.realpath(folder)
