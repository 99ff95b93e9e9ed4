"""What may come back by itself is told from what an operator has to correct."""

from __future__ import annotations

import errno
import socket
import sqlite3
from pathlib import Path

import psycopg
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from sqlalchemy.exc import OperationalError, ProgrammingError

from app.butler.away import (
    LostStoreError,
    StoreError,
    database_of,
    is_away,
    is_of_store,
    unmounted,
)
from app.butler.failures import RetryableError


def answer(text: str) -> OperationalError:
    """Return the error of a connection that the server, or a pooler, has refused."""
    return OperationalError("connect", {}, psycopg.OperationalError(f"connection failed: {text}"))


def no_file() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorname = "SQLITE_CANTOPEN"
    return error


def s3(code: str, status: int) -> ClientError:
    response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "PutObject")  # type: ignore[arg-type]


AWAY: list[BaseException] = [
    answer("Connection refused"),
    answer("FATAL:  the database system is starting up"),
    answer("FATAL:  sorry, too many clients already"),
    answer("FATAL:  remaining connection slots are reserved for superusers"),
    answer('FATAL:  too many connections for role "writer"'),
    answer('FATAL:  database "butler" is not currently accepting connections'),
    OperationalError("x", {}, psycopg.errors.IdleInTransactionSessionTimeout("idle")),
    answer("SSL SYSCALL error: EOF detected"),
    answer("could not translate host name"),
    OperationalError("x", {}, psycopg.errors.CannotConnectNow("starting up")),
    OperationalError("x", {}, psycopg.errors.ReadOnlySqlTransaction("read-only")),
    EndpointConnectionError(endpoint_url="http://store"),
    s3("InternalError", 503),
    s3("SlowDown", 429),
    s3("RequestTimeTooSkewed", 403),
    ConnectionRefusedError(),
    socket.gaierror(-2, "Name or service not known"),
    OSError(errno.ESTALE, "Stale file handle"),
    OSError(errno.ENOSPC, "No space left on device"),
]

WRONG: list[BaseException] = [
    answer('FATAL:  password authentication failed for user "writer"'),
    answer('FATAL:  database "butler" does not exist'),
    answer('FATAL:  role "writer" does not exist'),
    answer('FATAL:  no pg_hba.conf entry for host "10.0.0.1"'),
    answer('FATAL:  pg_hba.conf rejects connection for host "10.0.0.1"'),
    answer('FATAL:  role "writer" is not permitted to log in'),
    answer('FATAL:  permission denied for database "butler"'),
    answer("fe_sendauth: no password supplied"),
    answer("server does not support SSL, but SSL was required"),
    ProgrammingError("x", {}, psycopg.errors.UndefinedTable("no such table")),
    OperationalError("x", {}, no_file()),
    NoCredentialsError(),
    s3("AccessDenied", 403),
    s3("NoSuchBucket", 404),
    PermissionError(errno.EACCES, "Permission denied"),
    OSError(errno.EROFS, "Read-only file system"),
    FileNotFoundError(errno.ENOENT, "No such file or directory"),
    ValueError("no such option"),
]


@pytest.mark.parametrize("error", AWAY, ids=repr)
def test_what_may_pass_is_waited_for(error: BaseException) -> None:
    assert is_away(error)
    wrapped = RuntimeError("the Butler's own")
    wrapped.__cause__ = error
    assert is_away(wrapped)


@pytest.mark.parametrize("error", WRONG, ids=repr)
def test_what_an_operator_has_to_correct_is_not_waited_for(error: BaseException) -> None:
    assert not is_away(error)


def test_an_error_of_the_database_is_told_from_one_of_the_store() -> None:
    assert database_of(answer("Connection refused"))
    assert not database_of(ConnectionRefusedError())


def test_only_an_empty_folder_is_taken_for_a_mount_point(tmp_path: Path) -> None:
    missing = tmp_path / "mount" / "repository" / "butler.yaml"
    (tmp_path / "mount").mkdir()
    assert unmounted(missing) == tmp_path / "mount"
    (tmp_path / "mount" / "other").touch()
    assert unmounted(missing) is None


def raised_from(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StoreError("no answer"), True),
        (LostStoreError("the root does not exist"), True),
        (s3("InternalError", 500), True),
        (EndpointConnectionError(endpoint_url="http://store"), True),
        (NotADirectoryError("lists"), True),
        (raised_from(RetryableError("x"), OSError(errno.EIO, "x")), True),
        (raised_from(RetryableError("x"), answer("Connection refused")), False),
        (raised_from(answer("Connection refused"), ConnectionRefusedError()), False),
        (raised_from(RuntimeError("Kafka"), ConnectionRefusedError()), False),
        (RetryableError("a dataset type has changed"), False),
        (ValueError("x"), False),
    ],
    ids=repr,
)
def test_a_failure_of_a_file_store_is_told_from_others(error: Exception, expected: bool) -> None:
    assert is_of_store(error) is expected
