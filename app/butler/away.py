"""Tells a dependency that is away, and may come back by itself, from a setting that is wrong."""

from __future__ import annotations

import errno
import re
from pathlib import Path

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.exceptions import SSLError as BotoSSLError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.butler.failures import exception_chain, http_status, sqlstate

__all__ = ["database_of", "is_away", "unmounted"]

#: SQLSTATEs, or their first characters, of a server that is starting, stopping, busy or read-only.
#: A refused login (28) and a missing database (3D) are not among them: whoever corrects that also
#: starts the worker again, which reads its secret only once.
_STATES_OF_THE_SERVER = ("08", "25006", "40", "53", "55P03", "57", "58")

#: The same refusals in the answers of libpq, which has no SQLSTATE while it connects.
_REFUSALS = re.compile(
    r"authentication failed|pg_hba\.conf|no password supplied|certificate|private key|"
    r"does not support SSL|(role|database) \".*\" does not exist|no such (database|user)|"
    r"not permitted to log in|permission denied"
)

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
        return status >= 500 or status == 429 or is_clock_wrong
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
    if state := sqlstate(error):
        return state.startswith(_STATES_OF_THE_SERVER)
    if name := getattr(error.orig, "sqlite_errorname", None):
        return str(name).startswith(_SQLITE_STATES)
    is_of_the_connection = isinstance(error, OperationalError | InterfaceError)
    return is_of_the_connection and _REFUSALS.search(str(error.orig)) is None


def database_of(error: BaseException) -> bool:
    """Return whether an error is one of the database."""
    return any(isinstance(link, DBAPIError | PoolTimeoutError) for link in exception_chain(error))


def unmounted(path: Path) -> Path | None:
    """Return the empty folder in which a missing file would be, like an empty mount point.

    Returns
    -------
    folder : `pathlib.Path` or `None`
        `None` if the folder has other entries: then the path is wrong.
    """
    folder = next(folder for folder in (path, *path.parents) if folder.exists())
    return folder if folder.is_dir() and not any(folder.iterdir()) else None
