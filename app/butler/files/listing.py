"""List the files of a folder on disk or on S3, with their ages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from lsst.resources import ResourcePath

__all__ = ["ListedFile", "list_files", "list_folders", "list_some"]


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file of a folder.

    Attributes
    ----------
    path : `str`
        Relative to the folder.
    uri : `lsst.resources.ResourcePath`
        The file itself.
    size : `int`
        In bytes.
    modified : `datetime.datetime`
        Time of the last change.
    target : `str` or `None`
        The file that a symbolic link refers to; `None` for any other file.
    """

    path: str
    uri: ResourcePath
    size: int
    modified: datetime
    target: str | None = None


def list_files(folder: ResourcePath) -> Iterator[ListedFile]:
    """List the files of a folder and its subfolders; links to folders are not followed.

    On S3, a listing contains the ages too; requesting them file by file takes twenty times as long.

    Raises
    ------
    NotImplementedError
        If the folder is neither on disk nor on S3.
    """
    if folder.isLocal:
        for entry in _walk(folder.ospath):
            with suppress(FileNotFoundError):  # a worker removes the files that it has copied
                status = entry.stat(follow_symlinks=False)
                path = os.path.relpath(entry.path, folder.ospath)
                yield ListedFile(
                    path,
                    _inside(folder, path),
                    status.st_size,
                    datetime.fromtimestamp(status.st_mtime, UTC),
                    os.path.realpath(entry.path) if entry.is_symlink() else None,
                )
    elif folder.scheme == "s3":
        for path, item in _objects(folder):
            yield ListedFile(path, _inside(folder, path), item["Size"], item["LastModified"])
    else:
        raise NotImplementedError(f"{folder} is neither on disk nor on S3")


def list_some(folder: ResourcePath, prefix: str, limit: int) -> Iterator[str]:
    """List the paths in a folder that start with a prefix, up to a limit.

    On disk, all names in the prefix's folder are listed, in no particular order, except for links,
    which may be broken.

    Parameters
    ----------
    folder : `lsst.resources.ResourcePath`
        The folder, on disk or on S3; paths are relative to it.
    prefix : `str`
        The prefix.
    limit : `int`
        Largest number of paths.

    Raises
    ------
    botocore.exceptions.ClientError
        If S3 refuses the request.
    OSError
        If the folder cannot be read.
    """
    if folder.isLocal:
        inside = prefix[: prefix.rfind("/") + 1]
        with os.scandir(folder.ospath + inside) as entries:
            for entry in islice(entries, limit):
                if not entry.is_symlink():
                    yield inside + entry.name
        return
    bounds = {"MaxItems": limit, "PageSize": min(limit, 1000)}
    yield from (path for path, _ in _objects(folder, prefix, PaginationConfig=bounds))


def _objects(
    folder: ResourcePath, prefix: str = "", **bounds: Any
) -> Iterator[tuple[str, dict[str, Any]]]:
    bucket = folder.netloc.rpartition("@")[2]
    key = folder.unquoted_path.lstrip("/")
    pages = cast("Any", folder).client.get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket=bucket, Prefix=key + prefix, **bounds):
        for item in page.get("Contents", ()):
            yield item["Key"].removeprefix(key), item


def _inside(folder: ResourcePath, path: str) -> ResourcePath:
    # Not ``join``: it would take "file:x", "$HOME" or "a#b" for something else than a file name.
    return folder.replace(path=folder.path + quote(path), forceDirectory=False)


def _walk(folder: str) -> Iterator[os.DirEntry[str]]:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path)
            else:
                yield entry


def list_folders(folder: ResourcePath) -> Iterator[tuple[str, datetime]]:
    """List the subfolders of a folder on disk, the innermost first, with their last changes."""
    if folder.isLocal:
        for inside, _, _ in os.walk(folder.ospath, topdown=False):
            if inside.rstrip("/") != folder.ospath.rstrip("/"):
                with suppress(FileNotFoundError):
                    changed = Path(inside).stat().st_mtime
                    yield inside, datetime.fromtimestamp(changed, UTC)
