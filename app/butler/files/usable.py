"""Checks at the start that folders and stores can be used as the worker will use them.

Otherwise this is noticed with the first event, perhaps after its datasets are in the Butler.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from botocore.exceptions import ClientError
from lsst.resources import ResourcePath

from app.butler.away import is_away, unmounted
from app.butler.descriptions import describe_with_type
from app.butler.files.listing import list_some
from app.butler.logins import refused_login
from app.errors import OperatorError, UnavailableError
from app.printable import without_logins

__all__ = [
    "FolderError",
    "check_linking",
    "check_list_directory",
    "check_listing",
    "check_source_root",
    "check_staging_root",
    "check_store",
    "check_writing",
]

_LIST_DIRECTORY = "OUTPUT_DATASET_LIST_DIRECTORY"
_STAGING_ROOTS = "BUTLER_WRITER_STAGING_ROOTS"
_SOURCE_ROOT = "BUTLER_WRITER_SOURCE_ROOT"


class FolderError(OperatorError):
    """A folder cannot be used."""


def check_list_directory(folder: ResourcePath) -> None:
    """Write a file into the folder of the dataset lists, and remove it.

    On disk, the folder is created if its parent exists, as the first list does, and removed again.

    Raises
    ------
    FolderError
        If it cannot be used; the text names the variable.
    UnavailableError
        If it cannot be used at this moment.
    """
    with _explained(_LIST_DIRECTORY, folder, "name a folder that this user may write to"):
        path = Path(folder.ospath) if folder.isLocal else None
        if path is None or path.exists():
            _write_probe(folder)
            return
        path.mkdir()
        try:
            _write_on_disk(path)
        finally:
            path.rmdir()


def check_staging_root(folder: ResourcePath) -> None:
    """Check that staged files can be removed from a staging root.

    On disk, a file is written and removed.  On S3, a file that does not exist is removed, since the
    worker needs no right to write there.

    Raises
    ------
    FolderError
        If it cannot be used; the text names the variable.
    UnavailableError
        If it cannot be used at this moment.
    """
    remedy = "name folders that exist and that this user may remove files from"
    with _explained(_STAGING_ROOTS, folder, remedy):
        if folder.isLocal:
            _write_on_disk(Path(folder.ospath))
        elif folder.scheme == "s3":
            client, where = _object_in(folder)
            client.delete_object(**where)


def check_source_root(root: ResourcePath) -> None:
    """Check that the datastore of a source can be read; nothing is written there.

    Raises
    ------
    FolderError
        If it cannot be used; the text names the variable.
    UnavailableError
        If it cannot be used at this moment.
    """
    with _explained(_SOURCE_ROOT, root, "name a folder that exists and that this user may read"):
        if root.isLocal:
            next(Path(root.ospath).iterdir(), None)
        elif root.scheme == "s3":
            _read_nothing(root)


def check_linking(source: ResourcePath, root: ResourcePath) -> None:
    """Check that files of a source can get a second name in a datastore.

    Raises
    ------
    FolderError
        If they are not on the same file system.
    """
    remedy = "set BUTLER_WRITER_TRANSFER=copy, or keep both on one file system"
    if not (source.isLocal and root.isLocal):
        raise FolderError(f"{source} cannot be linked to {root}: not folders; {remedy}")
    with _explained(_SOURCE_ROOT, source, remedy):
        if Path(source.ospath).stat().st_dev != Path(root.ospath).stat().st_dev:
            raise FolderError(f"{source} and {root} are on different file systems; {remedy}")


def check_store(root: ResourcePath) -> None:
    """Check that a datastore can be reached; no file of it is read.

    Raises
    ------
    FolderError
        If it does not exist.
    UnavailableError
        If it cannot be reached at this moment.
    """
    with _explained("the datastore", root, "check the repository's configuration, or mount it"):
        if root.isLocal:
            if not root.exists():
                raise UnavailableError(f"{root} does not exist; is it mounted?", "the store")
        elif root.scheme == "s3":
            _read_nothing(root)


def check_listing(root: ResourcePath) -> None:
    """Check that a datastore can be listed: otherwise S3 does not tell that a file is missing.

    Raises
    ------
    FolderError
        If it cannot.
    UnavailableError
        If it cannot be reached at this moment.
    """
    with _explained("the datastore", root, "grant the right to list it (S3: s3:ListBucket)"):
        if root.isLocal or root.scheme == "s3":
            next(list_some(root, "", 1), None)


def check_writing(root: ResourcePath) -> None:
    """Put an object into a datastore, and delete it, as a worker does that copies staged files.

    Raises
    ------
    FolderError
        If it cannot.
    UnavailableError
        If it cannot be reached at this moment.
    """
    remedy = "grant the right to write and delete there (S3: s3:PutObject, s3:DeleteObject)"
    with _explained("the datastore", root, remedy):
        _write_probe(root)


def _write_probe(folder: ResourcePath) -> None:
    if folder.isLocal:
        _write_on_disk(Path(folder.ospath))
    elif folder.scheme == "s3":
        client, where = _object_in(folder)
        client.put_object(**where, Body=b"probe")
        client.delete_object(**where)
    else:
        probe = folder.join(_probe_name(), forceDirectory=False)
        probe.write(b"probe")
        probe.remove()


def _read_nothing(root: ResourcePath) -> None:
    client, where = _object_in(root)
    try:
        client.get_object(**where)
    except ClientError as exc:
        # The second is the answer for a missing file if the user may not list the bucket.
        if exc.response["Error"]["Code"] not in ("NoSuchKey", "AccessDenied"):
            raise


@contextmanager
def _explained(variable: str, folder: ResourcePath, remedy: str) -> Iterator[None]:
    """Turn an error into one line that names the variable and the folder."""
    shown = without_logins(str(folder))
    try:
        yield
    except OperatorError:
        raise
    except Exception as exc:
        cause = exc.__cause__ or exc
        reason = describe_with_type(cause)
        if (login := refused_login(exc)) is not None:
            raise FolderError(f"{variable}='{shown}' cannot be used: {login}") from exc
        if is_away(exc):
            raise UnavailableError(
                f"{variable}='{shown}': {reason}", _dependency(variable)
            ) from exc
        if isinstance(exc, FileNotFoundError) and folder.isLocal:
            empty = unmounted(Path(folder.ospath))
            if empty is not None and empty != Path(folder.ospath):
                raise UnavailableError(
                    f"{variable}='{shown}' does not exist, and {empty} is empty; is it mounted?",
                    _dependency(variable),
                ) from exc
        raise FolderError(f"{variable}='{shown}' cannot be used: {reason}; {remedy}") from exc


def _dependency(variable: str) -> str:
    names = {
        _LIST_DIRECTORY: "the list directory",
        _STAGING_ROOTS: "the staging root",
        _SOURCE_ROOT: "the source root",
    }
    return names.get(variable, "the store")


def _write_on_disk(folder: Path) -> None:
    probe = folder / _probe_name()
    try:
        probe.write_bytes(b"probe")
    finally:
        probe.unlink(missing_ok=True)


def _object_in(folder: ResourcePath) -> tuple[Any, dict[str, str]]:
    """Return S3's client, and an object that does not exist.

    `ResourcePath` itself would try again for a minute, with waits of up to half of that.
    """
    key = folder.unquoted_path.lstrip("/") + _probe_name()
    return cast("Any", folder).client, {"Bucket": folder.netloc.rpartition("@")[2], "Key": key}


def _probe_name() -> str:
    return f".butler-writer-probe-{uuid4().hex}"
