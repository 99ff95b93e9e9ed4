"""A copy is whole, or it is not there; and it never replaces another file."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from lsst.resources import ResourcePath

from models import InvalidEventError

__all__ = ["UnreadableError", "bring_home"]

#: How much of two files is compared at a time, in bytes.
_BLOCK = 1024 * 1024

#: What a file system says of a name that it cannot give to a file, ever.
_IMPOSSIBLE = frozenset(
    {errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR}
)


class UnreadableError(Exception):
    """A staged file may not be read: its pod's fault, or that of whoever set up the staging."""


def bring_home(source: ResourcePath, home: ResourcePath) -> bool:
    """Copy a file to its final place, unless it is there already.

    Parameters
    ----------
    source : `lsst.resources.ResourcePath`
        The staged file.
    home : `lsst.resources.ResourcePath`
        Its final place.

    Returns
    -------
    is_home : `bool`
        Whether it is there now; `False` if it is nowhere.

    Raises
    ------
    InvalidEventError
        If there is another file in its place, or none can be there.
    UnreadableError
        If the staged file may not be read.
    """
    try:
        if not home.exists() and _copy(source, home):
            return True
        same = _is_same(source, home)
    except FileNotFoundError:  # the staged file: as when it has been removed, all being done
        return home.exists()
    except OSError as exc:
        if exc.errno in _IMPOSSIBLE:
            raise InvalidEventError(f"{source} cannot become {home}: {exc}") from exc
        raise
    if not same:
        raise InvalidEventError(f"there is another file than {source} at {home}")
    return True


def _copy(source: ResourcePath, home: ResourcePath) -> bool:
    """Copy a file; tell whether there was nothing in its place."""
    if not home.isLocal:
        home.transfer_from(source, "copy", overwrite=True, multithreaded=False)
        return True
    if source.isLocal and not os.path.isfile(source.ospath):  # noqa: PTH113 - Path's may raise
        raise FileNotFoundError(f"there is no file {source}")
    place = Path(home.ospath)
    place.parent.mkdir(parents=True, exist_ok=True)
    with source.as_local(multithreaded=False, tmpdir=str(place.parent)) as local:
        return _copy_on_disk(Path(local.ospath), place)


def _copy_on_disk(source: Path, home: Path) -> bool:
    # Under another name until it is complete: a worker may die at any moment.
    partial = home.with_name(f".{uuid4().hex}.partial")
    try:
        with _reading(source) as reader, partial.open("xb") as writer:
            shutil.copyfileobj(reader, writer, _BLOCK)
            writer.flush()
            # The staged file is removed when the database has committed: this one must stay.
            os.fsync(writer.fileno())
        # A rename would replace what another worker has put there in the meantime.
        os.link(partial, home)
    except FileExistsError:
        return False
    finally:
        partial.unlink(missing_ok=True)
    return True


def _reading(source: Path) -> BinaryIO:
    try:
        return source.open("rb")
    except PermissionError as exc:
        raise UnreadableError(str(exc)) from exc


def _is_same(one: ResourcePath, other: ResourcePath) -> bool:
    if one.size() != other.size():
        return False
    with one.open("rb") as left, other.open("rb") as right:
        while block := left.read(_BLOCK):
            if block != right.read(_BLOCK):
                return False
    return True
