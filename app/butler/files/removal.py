"""Remove staged files and their folders."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath

from lsst.resources import ResourcePath

__all__ = ["remove_empty_folders", "remove_files"]


def remove_files(staged: Iterable[tuple[ResourcePath, str]]) -> list[str]:
    """Remove staged files.

    Parameters
    ----------
    staged : `~collections.abc.Iterable` [`tuple` [`lsst.resources.ResourcePath`, `str`]]
        A staging root, and the path of a file in it; the file may be removed already.

    Returns
    -------
    failed : `list` [`str`]
        A description of each failure.
    """
    failed: list[str] = []
    remote: list[ResourcePath] = []
    for staging, path in staged:
        if not staging.isLocal:
            remote.append(staging.join(path, forceDirectory=False))
            continue
        try:
            Path(staging.ospath, path).unlink(missing_ok=True)
        except OSError as exc:
            failed.append(f"{exc.filename}: {exc}")
    removed = ResourcePath.mremove(remote, do_raise=False)
    return failed + [
        f"{uri}: {result.exception}" for uri, result in removed.items() if result.exception
    ]


def remove_empty_folders(folders: Iterable[tuple[ResourcePath, PurePosixPath]]) -> None:
    """Remove those folders on disk that are empty."""
    for staging, folder in folders:
        with suppress(OSError):  # it is not empty
            Path(staging.ospath, folder).rmdir()
