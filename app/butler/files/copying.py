"""Copy one file out of staging: the copy is complete or absent, and never replaces another file."""

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

from app.butler.away import StoreError
from models.errors import InvalidEventError

__all__ = ["UnreadableError", "copy_to_datastore"]

_File = TypeVar("_File", str, ResourcePath)

#: Size of the blocks in which files are copied and compared, in bytes.
_BLOCK = 1024 * 1024

#: Errors of a file system for a path that no file can ever have.
_IMPOSSIBLE = frozenset(
    {errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR}
)


class UnreadableError(Exception):
    """The worker may not read a staged file: a fault of its pod, or of the staging's setup."""


def copy_to_datastore(
    staging: ResourcePath,
    root: ResourcePath,
    path: str,
    exists: Callable[[ResourcePath], bool] = ResourcePath.exists,
    *,
    links: bool = False,
) -> bool:
    """Copy a staged file to its final location, unless it is there already.

    Parameters
    ----------
    staging, root : `lsst.resources.ResourcePath`
        The staging root, and the datastore's root.
    path : `str`
        The file's path in both.
    exists : `~collections.abc.Callable`, optional
        Tells whether a file of a datastore that is not on disk exists.
    links : `bool`, optional
        Whether to give the file a second name, instead of copying its content.

    Returns
    -------
    exists : `bool`
        Whether the file is in the datastore now; `False` if it is in neither.

    Raises
    ------
    InvalidEventError
        If another file is at the final location, or no file can be there.
    UnreadableError
        If the worker may not read the staged file.
    StoreError
        If the file is to be linked, and that is not possible.
    """
    if staging.isLocal and root.isLocal:  # making two ResourcePaths takes as long as the copy
        staged, final = str(Path(staging.ospath, path)), str(Path(root.ospath, path))
        copy = _link_on_disk if links else _copy_on_disk
        return _copy_or_compare(staged, final, os.path.exists, copy, _is_same_on_disk)
    source = staging.join(path, forceDirectory=False)
    target = root.join(path, forceDirectory=False)
    return _copy_or_compare(source, target, exists, _copy, _is_same)


def _copy_or_compare(
    source: _File,
    target: _File,
    exists: Callable[[_File], bool],
    copy: Callable[[_File, _File], bool],
    is_same: Callable[[_File, _File], bool],
) -> bool:
    try:
        if not exists(target) and copy(source, target):
            return True
        same = is_same(source, target)
    except FileNotFoundError:  # no staged file: it is removed once its event is written
        return exists(target)
    except OSError as exc:
        if exc.errno in _IMPOSSIBLE:
            raise InvalidEventError(f"{source} cannot be copied to {target}: {exc}") from exc
        raise
    if not same:
        raise InvalidEventError(f"{target} exists already and is different from {source}")
    return True


def _copy(source: ResourcePath, target: ResourcePath) -> bool:
    """Copy a file, unless another file is at the target; return whether it was copied."""
    if not target.isLocal:
        target.transfer_from(source, "copy", overwrite=True, multithreaded=False)
        return True
    folder = Path(target.ospath).parent
    folder.mkdir(parents=True, exist_ok=True)
    with source.as_local(multithreaded=False, tmpdir=str(folder)) as local:
        return _copy_on_disk(local.ospath, target.ospath)


def _copy_on_disk(source: str, target: str) -> bool:
    if not os.path.isfile(source):  # noqa: PTH113 - Path's may raise
        raise FileNotFoundError(f"there is no file {source}")
    folder = Path(target).parent
    folder.mkdir(parents=True, exist_ok=True)
    # Under a temporary name until it is complete: a worker may die at any time.
    partial = folder / f".{uuid4().hex}.partial"
    try:
        with _open(source) as reader, partial.open("xb") as writer:
            shutil.copyfileobj(reader, writer, _BLOCK)
            writer.flush()
            # After the database commit the staged file is removed, and this is the only copy.
            os.fsync(writer.fileno())
        # Not a rename: it would replace a file that another worker has put there meanwhile.
        os.link(partial, target)
    except FileExistsError:
        return False
    finally:
        partial.unlink(missing_ok=True)
    return True


def _link_on_disk(source: str, target: str) -> bool:
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    try:
        # The name of the file itself, and not of a link to it.
        os.link(os.path.realpath(source), target)
    except FileExistsError:
        return False
    except OSError as exc:
        if exc.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
            raise
        raise StoreError(
            f"{source} cannot be linked to {target}: {exc.strerror}; set "
            "BUTLER_WRITER_TRANSFER=copy, or keep both on one file system that has hard links",
            alarm=True,
        ) from exc
    return True


def _open(source: str) -> BinaryIO:
    try:
        return Path(source).open("rb")
    except PermissionError as exc:
        raise UnreadableError(str(exc)) from exc


def _is_same_on_disk(one: str, other: str) -> bool:
    # Not by their content, if they are one file with two names.
    return Path(one).samefile(other) or filecmp.cmp(one, other, shallow=False)


def _is_same(one: ResourcePath, other: ResourcePath) -> bool:
    if one.size() != other.size():
        return False
    with one.open("rb") as left, other.open("rb") as right:
        while block := left.read(_BLOCK):
            if block != right.read(_BLOCK):
                return False
    return True
