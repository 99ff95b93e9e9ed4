"""The files of a folder, with their ages: on disk, or on S3."""

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
        When it was written.
    target : `str` or `None`
        Of a link, where it leads.
    """

    path: str
    uri: ResourcePath
    size: int
    modified: datetime
    target: str | None = None


def list_files(folder: ResourcePath) -> Iterator[ListedFile]:
    """List the files of a folder and of those inside; links to folders are not followed.

    A listing of S3 tells the ages too; to ask for each file's takes twenty times as long.

    Raises
    ------
    NotImplementedError
        If it is neither on disk nor on S3.
    """
    if folder.isLocal:
        for entry in _walk(folder.ospath):
            with suppress(FileNotFoundError):  # a worker removes what it has brought home
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


def list_some(folder: ResourcePath, start: str, most: int) -> Iterator[str]:
    """List the paths inside of a folder that start alike, up to a number of them.

    On disk, all names of the folder that they are in are listed, in no order, but for links, which
    may lead nowhere.

    Parameters
    ----------
    folder : `lsst.resources.ResourcePath`
        The folder, on disk or on S3; paths are relative to it.
    start : `str`
        What they start with.
    most : `int`
        How many are listed, of as many as there are.

    Raises
    ------
    botocore.exceptions.ClientError
        If the store refuses.
    OSError
        If the folder cannot be read.
    """
    if folder.isLocal:
        inside = start[: start.rfind("/") + 1]
        with os.scandir(folder.ospath + inside) as entries:
            for entry in islice(entries, most):
                if not entry.is_symlink():
                    yield inside + entry.name
        return
    bounds = {"MaxItems": most, "PageSize": min(most, 1000)}
    yield from (path for path, _ in _objects(folder, start, PaginationConfig=bounds))


def _objects(
    folder: ResourcePath, start: str = "", **bounds: Any
) -> Iterator[tuple[str, dict[str, Any]]]:
    bucket = folder.netloc.rpartition("@")[2]
    prefix = folder.unquoted_path.lstrip("/")
    pages = cast("Any", folder).client.get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket=bucket, Prefix=prefix + start, **bounds):
        for item in page.get("Contents", ()):
            yield item["Key"].removeprefix(prefix), item


def _inside(folder: ResourcePath, path: str) -> ResourcePath:
    # Not ``join``: to it, a file may be called "file:x", "$HOME" or "a#b" and be another.
    return folder.replace(path=folder.path + quote(path), forceDirectory=False)


def _walk(folder: str) -> Iterator[os.DirEntry[str]]:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path)
            else:
                yield entry


def list_folders(folder: ResourcePath) -> Iterator[tuple[str, datetime]]:
    """List the folders inside of one on disk, the innermost first, each with its last change."""
    if folder.isLocal:
        for inside, _, _ in os.walk(folder.ospath, topdown=False):
            if inside.rstrip("/") != folder.ospath.rstrip("/"):
                with suppress(FileNotFoundError):
                    changed = Path(inside).stat().st_mtime
                    yield inside, datetime.fromtimestamp(changed, UTC)
