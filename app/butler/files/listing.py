"""List the files of a folder on disk or on S3, with their ages."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, cast
from urllib.parse import quote

from lsst.resources import ResourcePath

from app.butler.files.beneath import walk

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
    status : `os.stat_result` or `None`
        What a file on disk is.
    """

    path: str
    uri: ResourcePath
    size: int
    modified: datetime
    target: str | None = None
    status: os.stat_result | None = None


def list_files(folder: ResourcePath) -> Iterator[ListedFile]:
    """List the files of a folder and its subfolders; links to folders are not followed.

    On S3, a listing contains the ages too; requesting them file by file takes twenty times as long.

    Raises
    ------
    NotImplementedError
        If the folder is neither on disk nor on S3.
    """
    if folder.isLocal:
        for path, status in walk(folder.ospath):
            if not stat.S_ISDIR(status.st_mode):
                target = None
                if stat.S_ISLNK(status.st_mode):
                    try:
                        target = os.path.realpath(f"{folder.ospath}/{path}")
                    except OSError:
                        continue  # it, or a folder on the way, was replaced or removed meanwhile
                yield ListedFile(
                    path, _inside(folder, path), status.st_size, _changed(status), target, status
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


def _changed(status: os.stat_result) -> datetime:
    return datetime.fromtimestamp(status.st_mtime, UTC)


def list_folders(folder: ResourcePath) -> list[tuple[str, datetime]]:
    """Return the subfolders of a folder on disk, the innermost first, with their last changes.

    Their paths are relative to the folder.
    """
    if not folder.isLocal:
        return []
    found = [
        (path, _changed(status))
        for path, status in walk(folder.ospath)
        if stat.S_ISDIR(status.st_mode)
    ]
    return sorted(found, key=lambda each: each[0].count("/"), reverse=True)
