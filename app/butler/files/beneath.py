"""Files and folders beneath a root, without following any link.

A pod may replace a folder by a link at any moment.  So each folder on the way is opened from the
descriptor of the one before, and what is read or removed is what was opened and looked at.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

import structlog

from models.causes import Cause
from models.errors import NotAllowedError

__all__ = ["ChangedFileError", "LocalFile", "UnreadableError", "remove_folder", "walk"]

logger = structlog.get_logger("butler_writer")

#: For a folder on the way; O_PATH, which only Linux has, needs no right to list it.
_PASS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

#: For a file.  Without O_NONBLOCK, to open a named pipe would wait for its writer.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

#: Folders that are nested more deeply are not searched: no pod makes them.
_DEEPEST = 100


class UnreadableError(Exception):
    """The worker may not read a staged file: a fault of its pod, or of the staging's setup."""


class ChangedFileError(OSError):
    """A file is not the one that was looked at before."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file on disk that somebody else may replace at any moment.

    Attributes
    ----------
    root : `str`
        A folder that an operator has chosen; it may be a link.
    path : `str`
        The path beneath it; no part of it may be a link.
    seen : `os.stat_result`, optional
        What the file was when it was decided to remove it.
    may_have_other_names : `bool`, optional
        Whether it may be a second name of somebody else's file.
    """

    root: str
    path: str
    seen: os.stat_result | None = None
    may_have_other_names: bool = False

    def __str__(self) -> str:
        return os.path.join(self.root, self.path)  # noqa: PTH118 - for messages

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the file for reading.

        Raises
        ------
        FileNotFoundError
            If it does not exist.
        NotAllowedError
            If it is behind a link, not a regular file, or a second name of somebody else's file.
        UnreadableError
            If the worker may not read it.
        OSError
            If no file can have this path, or it cannot be read.
        """
        with self._parent() as (folder, name):
            # A device is not even opened: that may have effects.
            self._check_kind(os.stat(name, dir_fd=folder, follow_symlinks=False))
            descriptor = _open(name, _READ, folder, self)
            with os.fdopen(descriptor, "rb") as file:
                self._check(os.fstat(descriptor), os.fstat(folder))
                yield file

    def remove(self) -> None:
        """Remove the file; if it is a link, the link is removed.

        Raises
        ------
        FileNotFoundError
            If it does not exist.
        ChangedFileError
            If it is another file now, or was changed.
        NotAllowedError
            If it is behind a link.
        OSError
            If it cannot be removed.
        """
        with self._parent() as (folder, name):
            if (seen := self.seen) is not None:
                now = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if not os.path.samestat(now, seen) or now.st_mtime_ns != seen.st_mtime_ns:
                    raise ChangedFileError(f"{self} was replaced or changed meanwhile")
            os.unlink(name, dir_fd=folder)

    @contextmanager
    def _parent(self) -> Iterator[tuple[int, str]]:
        """Open the folder of the file; return its descriptor and the name of the file."""
        folder, _, name = self.path.rpartition("/")
        with _folder(self.root, folder, self) as descriptor:
            yield descriptor, name

    def _check(self, file: os.stat_result, folder: os.stat_result) -> None:
        self._check_kind(file)
        # A second name (hard link) of a file that the owner of the folder does not own: who made it
        # may not be able to read the file.
        is_one_of_several = file.st_nlink > 1 and not self.may_have_other_names
        if is_one_of_several and file.st_uid != folder.st_uid:
            raise NotAllowedError(
                Cause.PATH_NOT_ALLOWED, f"{self} is a hard link to a file of another owner"
            )

    def _check_kind(self, file: os.stat_result) -> None:
        if stat.S_ISLNK(file.st_mode):
            raise _behind_link(self)
        if not stat.S_ISREG(file.st_mode):
            raise NotAllowedError(Cause.PATH_NOT_ALLOWED, f"{self} is not a regular file")


def remove_folder(root: str, path: str) -> None:
    """Remove an empty folder beneath a root.

    Raises
    ------
    NotAllowedError
        If it is behind a link.
    OSError
        If it is not empty, or a link, or cannot be removed for another reason.
    """
    parent, _, name = path.rstrip("/").rpartition("/")
    with _folder(root, parent, path) as descriptor:
        os.rmdir(name, dir_fd=descriptor)


def walk(root: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield everything beneath a root: its path, and what it is; those of folders end with a slash.

    Links are not followed.  What is removed or replaced meanwhile may be missing.
    """
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        try:
            with _folder(root, inside, inside, _LIST) as folder, os.scandir(folder) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        path = f"{inside}{entry.name}"
                        if stat.S_ISDIR(status.st_mode):
                            path += "/"
                            if path.count("/") < _DEEPEST:
                                waiting.append(path)
                        yield path, status
        except (FileNotFoundError, NotADirectoryError, NotAllowedError):
            continue  # it was replaced or removed
        except UnreadableError as exc:  # a pod's own folder must not keep others from being found
            logger.warning("a folder cannot be searched", root=root, reason=str(exc))


@contextmanager
def _folder(root: str, path: str, of: object, last: int = _PASS) -> Iterator[int]:
    """Open a folder beneath a root, one name after another."""
    names = [name for name in path.split("/") if name]
    descriptor = os.open(root, (_PASS if names else last) & ~os.O_NOFOLLOW)
    try:
        for left, name in zip(range(len(names) - 1, -1, -1), names, strict=True):
            inner = _open(name, _PASS if left else last, descriptor, of)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def _open(name: str, flags: int, folder: int, of: object) -> int:
    if name in (".", ".."):
        raise NotAllowedError(Cause.PATH_NOT_ALLOWED, f"{of} contains {name!r}")
    try:
        return os.open(name, flags, dir_fd=folder)
    except PermissionError as exc:
        raise UnreadableError(f"{of}: {exc.strerror}") from exc
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.ENOTDIR) and _is_link(name, folder):
            raise _behind_link(of) from exc
        raise


def _is_link(name: str, folder: int) -> bool:
    with suppress(OSError):
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    return False


def _behind_link(of: object) -> NotAllowedError:
    return NotAllowedError(Cause.PATH_NOT_ALLOWED, f"{of} is behind a symbolic link")
