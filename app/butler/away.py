"""Tells what is away: the database or a file store; and whether it may come back by itself."""

from __future__ import annotations

import errno
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.exceptions import SSLError as BotoSSLError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.butler.failures import (
    PASSING_STATES,
    RetryableError,
    exception_chain,
    http_status,
    sqlstate,
)
from app.butler.refused_connections import RefusalKind, refused_connection

__all__ = ["LostStoreError", "StoreError", "database_of", "is_away", "is_of_store", "unmounted"]


class StoreError(RetryableError):
    """A file store is away, or refuses what the service needs."""


class LostStoreError(StoreError):
    """A file store has none of the files that it had before, or its root does not exist."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, alarm=True)


#: Errors of file stores; those of PostgreSQL and Kafka are of other classes.
_OF_STORES = (StoreError, BotoCoreError, ClientError, OSError)

#: HTTP statuses of S3: too many requests, and something that a store does not offer at all.
_TOO_MANY, _NOT_IMPLEMENTED = 429, 501

#: SQLite's names of errors that pass.
_SQLITE_STATES = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_FULL")

#: Errors of a file system that is not reachable, or full.
_FILE_SYSTEM_ERRORS = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.EDQUOT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EIO,
        errno.ENETUNREACH,
        errno.ENOSPC,
        errno.ENOTCONN,
        errno.EREMOTEIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)


def is_away(error: BaseException) -> bool:
    """Return whether an error, or one that it was raised from, may pass by itself."""
    return any(map(_is_away, exception_chain(error)))


def _is_away(error: BaseException) -> bool:
    if isinstance(error, DBAPIError):
        return _server_is_away(error)
    if isinstance(error, ClientError):
        status = http_status(error)
        is_clock_wrong = error.response.get("Error", {}).get("Code") == "RequestTimeTooSkewed"
        is_server_at_fault = status >= 500 and status != _NOT_IMPLEMENTED
        return is_server_at_fault or status == _TOO_MANY or is_clock_wrong
    if isinstance(error, BotoSSLError):
        return False
    if isinstance(error, PoolTimeoutError | BotoConnectionError | HTTPClientError):
        return True
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    # A name that is not found may be that of a service that has no running pod.
    return isinstance(error, OSError) and (
        error.errno in _FILE_SYSTEM_ERRORS or type(error).__name__ == "gaierror"
    )


def _server_is_away(error: DBAPIError) -> bool:
    if (refusal := refused_connection(error)) is not None:
        return refusal.kind is RefusalKind.BUSY
    if state := sqlstate(error):
        return state.startswith(PASSING_STATES)
    if name := getattr(error.orig, "sqlite_errorname", None):
        return str(name).startswith(_SQLITE_STATES)
    return isinstance(error, OperationalError | InterfaceError)


def database_of(error: BaseException) -> bool:
    """Return whether an error is one of the database."""
    return any(isinstance(link, DBAPIError | PoolTimeoutError) for link in exception_chain(error))


def is_of_store(error: BaseException) -> bool:
    """Return whether a failure of a step is one of a file store."""
    # Other errors may have been raised while an `OSError` was handled.
    chain = exception_chain(error) if isinstance(error, RetryableError) else [error]
    return not database_of(error) and any(isinstance(link, _OF_STORES) for link in chain)


def unmounted(path: Path) -> Path | None:
    """Return the empty folder in which a missing file would be, like an empty mount point.

    Returns
    -------
    folder : `pathlib.Path` or `None`
        `None` if the folder has other entries: then the path is wrong.
    """
    folder = next(folder for folder in (path, *path.parents) if folder.exists())
    return folder if folder.is_dir() and not any(folder.iterdir()) else None
