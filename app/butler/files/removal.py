"""Remove staged files and their folders."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from lsst.resources import ResourcePath

from app.butler.files.beneath import LocalFile, UnreadableError, remove_folder
from models.errors import NotAllowedError

__all__ = ["remove_empty_folders", "remove_files"]


def remove_files(staged: Iterable[LocalFile | ResourcePath]) -> list[str]:
    """Remove staged files.

    Parameters
    ----------
    staged : `~collections.abc.Iterable` [`LocalFile` or `lsst.resources.ResourcePath`]
        The files; they may be removed already.

    Returns
    -------
    failed : `list` [`str`]
        A description of each failure.
    """
    failed: list[str] = []
    remote: list[ResourcePath] = []
    for file in staged:
        if not isinstance(file, LocalFile):
            remote.append(file)
            continue
        try:
            with suppress(FileNotFoundError):
                file.remove()
        except (OSError, NotAllowedError, UnreadableError) as exc:
            failed.append(f"{file}: {exc}")
    removed = ResourcePath.mremove(remote, do_raise=False)
    return failed + [
        f"{uri}: {result.exception}" for uri, result in removed.items() if result.exception
    ]


def remove_empty_folders(folders: Iterable[LocalFile]) -> None:
    """Remove those folders on disk that are empty."""
    for folder in folders:
        # It is not empty.
        with suppress(OSError, NotAllowedError, UnreadableError):
            remove_folder(folder.root, folder.path)
