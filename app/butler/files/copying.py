"""Copy one file out of staging: the copy is complete or absent, and never replaces another file."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias
from uuid import uuid4

from lsst.resources import ResourcePath

from app.butler.away import StoreError
from app.butler.files.beneath import LocalFile
from models.errors import InvalidEventError

__all__ = ["copy_to_datastore"]

_Target: TypeAlias = str | ResourcePath
"""A final location: on disk, where making a `ResourcePath` takes as long as the copy, or not."""

#: Size of the blocks in which files are copied and compared, in bytes.
_BLOCK = 1024 * 1024

#: Errors of a file system for a path that no file can ever have.
_IMPOSSIBLE = frozenset(
    {errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR}
)


def copy_to_datastore(
    source: LocalFile | ResourcePath,
    root: ResourcePath,
    path: str,
    exists: Callable[[ResourcePath], bool] = ResourcePath.exists,
    *,
    links: bool = False,
) -> bool:
    """Copy a staged file to its final location, unless it is there already.

    Parameters
    ----------
    source : `LocalFile` or `lsst.resources.ResourcePath`
        The staged file.
    root : `lsst.resources.ResourcePath`
        The datastore's root.
    path : `str`
        The file's path in the datastore.
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
        If another file is at the final location, no file can be there, or the staged file is
        behind a link or not a regular file.
    UnreadableError
        If the worker may not read the staged file.
    StoreError
        If the file is to be linked, and that is not possible.
    """
    target: _Target = (
        str(Path(root.ospath, path)) if root.isLocal else root.join(path, forceDirectory=False)
    )

    def is_there() -> bool:
        return os.path.exists(target) if isinstance(target, str) else exists(target)  # noqa: PTH110

    try:
        if isinstance(source, LocalFile):
            is_same = _copy_local(source, target, is_there, links=links)
        else:
            is_same = _copy_remote(source, target, is_there)
    except FileNotFoundError:  # no staged file: it is removed once its event is written
        return is_there()
    except OSError as exc:
        if exc.errno in _IMPOSSIBLE:
            raise InvalidEventError(f"{source} cannot be copied to {target}: {exc}") from exc
        raise
    if not is_same:
        raise InvalidEventError(f"{target} exists already and is different from {source}")
    return True


def _copy_local(
    source: LocalFile, target: _Target, is_there: Callable[[], bool], *, links: bool
) -> bool:
    """Copy or link a file from disk; return whether the file at the target is the same now."""
    with source.open() as file:
        if not is_there():
            if not isinstance(target, str):
                # The descriptor by a name: to open the file again could open another one.
                opened = ResourcePath(f"/proc/self/fd/{file.fileno()}", forceDirectory=False)
                target.transfer_from(opened, "copy", overwrite=True, multithreaded=False)
                return True
            if (_link if links else _write)(file, target):
                return True
            file.seek(0)
        status = os.fstat(file.fileno())
        # Not by their content, if they are one file with two names.
        is_one = isinstance(target, str) and os.path.samestat(status, os.stat(target))  # noqa: PTH116
        return is_one or _is_same(file, status.st_size, target)


def _copy_remote(source: ResourcePath, target: _Target, is_there: Callable[[], bool]) -> bool:
    """Copy a file from an object store; return whether the file at the target is the same now."""
    if not is_there():
        if not isinstance(target, str):
            target.transfer_from(source, "copy", overwrite=True, multithreaded=False)
            return True
        folder = Path(target).parent
        folder.mkdir(parents=True, exist_ok=True)
        with (
            source.as_local(multithreaded=False, tmpdir=str(folder)) as local,
            Path(local.ospath).open("rb") as file,
        ):
            if _write(file, target):
                return True
    with source.open("rb") as file:
        return _is_same(file, source.size(), target)


def _write(file: BinaryIO, target: str) -> bool:
    """Copy an open file, unless another file is at the target; return whether it was copied."""
    folder = Path(target).parent
    folder.mkdir(parents=True, exist_ok=True)
    # Under a temporary name until it is complete: a worker may die at any time.
    partial = folder / f".{uuid4().hex}.partial"
    try:
        with partial.open("xb") as writer:
            shutil.copyfileobj(file, writer, _BLOCK)
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


def _link(file: BinaryIO, target: str) -> bool:
    """Give an open file a second name, unless another file has it; return whether it has it."""
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    try:
        # The opened file, whatever has its name by now.  With a descriptor (the path is absolute,
        # so it is not used), Python calls linkat, which follows the link in /proc; link does not.
        os.link(f"/proc/self/fd/{file.fileno()}", target, src_dir_fd=file.fileno())
    except FileExistsError:
        return False
    except OSError as exc:
        if exc.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
            raise
        raise StoreError(
            f"a file cannot be linked to {target}: {exc.strerror}; set "
            "BUTLER_WRITER_TRANSFER=copy, or keep both on one file system that has hard links",
            alarm=True,
        ) from exc
    return True


def _is_same(file: Any, size: int, target: _Target) -> bool:
    if not isinstance(target, str):
        if target.size() != size:
            return False
        with target.open("rb") as other:
            return _has_same_blocks(file, other)
    # A named pipe would wait for its writer.
    with closing(os.fdopen(os.open(target, os.O_RDONLY | os.O_NONBLOCK), "rb")) as other:
        status = os.fstat(other.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            return False
        return _has_same_blocks(file, other)


def _has_same_blocks(one: Any, other: Any) -> bool:
    while block := one.read(_BLOCK):
        if block != other.read(_BLOCK):
            return False
    return True
