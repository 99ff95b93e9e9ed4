"""A copy is whole, or it is not there; and it never replaces another file."""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar
from uuid import uuid4

from lsst.resources import ResourcePath

from models.errors import InvalidEventError

__all__ = ["UnreadableError", "bring_home"]

_Place = TypeVar("_Place", str, ResourcePath)

#: How much of two files is compared at a time, in bytes.
_BLOCK = 1024 * 1024

#: What a file system says of a name that it cannot give to a file, ever.
_IMPOSSIBLE = frozenset(
    {errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR}
)


class UnreadableError(Exception):
    """A staged file may not be read: its pod's fault, or that of whoever set up the staging."""


def bring_home(staging: ResourcePath, root: ResourcePath, path: str) -> bool:
    """Copy a file to its final place, unless it is there already.

    Parameters
    ----------
    staging, root : `lsst.resources.ResourcePath`
        The folders that it is staged in, and that it belongs in.
    path : `str`
        Its path in both.

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
    if staging.isLocal and root.isLocal:  # to make two ResourcePaths takes as long as to copy
        staged, final = str(Path(staging.ospath, path)), str(Path(root.ospath, path))
        return _bring(staged, final, os.path.exists, _copy_on_disk, _is_same_on_disk)
    source = staging.join(path, forceDirectory=False)
    home = root.join(path, forceDirectory=False)
    return _bring(source, home, _exists, _copy, _is_same)


def _bring(
    source: _Place,
    home: _Place,
    exists: Callable[[_Place], bool],
    copy: Callable[[_Place, _Place], bool],
    is_same: Callable[[_Place, _Place], bool],
) -> bool:
    try:
        if not exists(home) and copy(source, home):
            return True
        same = is_same(source, home)
    except FileNotFoundError:  # the staged file: as when it has been removed, all being done
        return exists(home)
    except OSError as exc:
        if exc.errno in _IMPOSSIBLE:
            raise InvalidEventError(f"{source} cannot become {home}: {exc}") from exc
        raise
    if not same:
        raise InvalidEventError(f"there is another file than {source} at {home}")
    return True


def _exists(uri: ResourcePath) -> bool:
    return uri.exists()


def _copy(source: ResourcePath, home: ResourcePath) -> bool:
    """Copy a file; tell whether there was nothing in its place."""
    if not home.isLocal:
        home.transfer_from(source, "copy", overwrite=True, multithreaded=False)
        return True
    folder = Path(home.ospath).parent
    folder.mkdir(parents=True, exist_ok=True)
    with source.as_local(multithreaded=False, tmpdir=str(folder)) as local:
        return _copy_on_disk(local.ospath, home.ospath)


def _copy_on_disk(source: str, home: str) -> bool:
    if not os.path.isfile(source):  # noqa: PTH113 - Path's may raise
        raise FileNotFoundError(f"there is no file {source}")
    folder = Path(home).parent
    folder.mkdir(parents=True, exist_ok=True)
    # Under another name until it is complete: a worker may die at any moment.
    partial = folder / f".{uuid4().hex}.partial"
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


def _reading(source: str) -> BinaryIO:
    try:
        return Path(source).open("rb")
    except PermissionError as exc:
        raise UnreadableError(str(exc)) from exc


def _is_same_on_disk(one: str, other: str) -> bool:
    return filecmp.cmp(one, other, shallow=False)


def _is_same(one: ResourcePath, other: ResourcePath) -> bool:
    if one.size() != other.size():
        return False
    with one.open("rb") as left, other.open("rb") as right:
        while block := left.read(_BLOCK):
            if block != right.read(_BLOCK):
                return False
    return True
