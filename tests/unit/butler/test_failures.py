"""Which failures are retried, and which reject an event."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from lsst.daf.butler import (
    DatasetTypeNotSupportedError,
    DimensionNameError,
    MissingCollectionError,
    MissingDatasetTypeError,
)
from lsst.daf.butler.registry import CollectionTypeError, ConflictingDefinitionError
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.butler.failures import Failure, RetryableError, cause_of, classify
from app.butler.outcome import Rejection
from models.causes import Cause
from models.errors import InvalidEventError

STATEMENT = "INSERT INTO dataset (id, run) VALUES (%(id)s, %(run)s)"
PARAMETERS = {"id": 17, "run": "the-parameter"}


def wrapped(orig: Exception, *, invalidated: bool = False) -> DBAPIError:
    """Wrap a driver's error as SQLAlchemy does."""
    base = sqlite3.Error if isinstance(orig, sqlite3.Error) else psycopg.Error
    error = DBAPIError.instance(
        STATEMENT, PARAMETERS, orig, base, connection_invalidated=invalidated
    )
    assert isinstance(error, DBAPIError)
    return error


def postgresql_error(state: str, *, invalidated: bool = False) -> DBAPIError:
    """Return SQLAlchemy's exception for a PostgreSQL error with an SQLSTATE."""
    orig = psycopg.errors.lookup(state)("the server says no")
    assert orig.sqlstate == state
    return wrapped(orig, invalidated=invalidated)


def caused(error: Exception, cause: Exception) -> Exception:
    """Return an error as ``raise error from cause`` leaves it."""
    error.__cause__ = cause
    return error


def while_handling(error: Exception, context: Exception) -> Exception:
    """Return an error as ``raise error from None``, in a handler, leaves it."""
    error.__context__ = context
    error.__suppress_context__ = True
    return error


def s3_error(status: int) -> ClientError:
    return ClientError({"ResponseMetadata": {"HTTPStatusCode": status}}, "HeadObject")  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("state", "failure"),
    [
        ("08000", Failure.RETRY),
        ("08006", Failure.RETRY),
        ("28000", Failure.RETRY),
        ("28P01", Failure.RETRY),
        ("40001", Failure.RETRY),
        ("40P01", Failure.RETRY),
        ("53100", Failure.RETRY),
        ("53300", Failure.RETRY),
        ("55P03", Failure.RETRY),
        ("57014", Failure.RETRY),
        ("57P01", Failure.RETRY),
        ("57P03", Failure.RETRY),
        ("58030", Failure.RETRY),
        ("25006", Failure.RETRY),
        ("42501", Failure.UNKNOWN),
        ("3D000", Failure.RETRY),
        ("3F000", Failure.UNKNOWN),
        ("42703", Failure.UNKNOWN),
        ("54000", Failure.UNKNOWN),
        ("55000", Failure.UNKNOWN),
        ("P0001", Failure.UNKNOWN),
        ("23505", Failure.RACE),
        ("23502", Failure.UNKNOWN),
        ("23503", Failure.RACE),
        ("23514", Failure.UNKNOWN),
        ("23P01", Failure.UNKNOWN),
        ("22001", Failure.UNKNOWN),
        ("22003", Failure.UNKNOWN),
        ("42P01", Failure.UNKNOWN),
        ("42601", Failure.UNKNOWN),
        ("55006", Failure.UNKNOWN),
        ("XX000", Failure.UNKNOWN),
    ],
)
def test_a_postgresql_error_is_classified_by_its_sqlstate(state: str, failure: Failure) -> None:
    assert classify(postgresql_error(state)) is failure


@pytest.mark.parametrize("state", ["23505", "22001", "42P01"])
def test_a_lost_connection_is_retried_whatever_the_sqlstate(state: str) -> None:
    assert classify(postgresql_error(state, invalidated=True)) is Failure.RETRY


@pytest.mark.parametrize(
    ("orig", "failure"),
    [
        (psycopg.OperationalError("connection refused"), Failure.RETRY),
        (psycopg.InterfaceError("the connection is closed"), Failure.RETRY),
        (psycopg.DataError("text fields cannot contain NUL (0x00) bytes"), Failure.REJECT),
        (psycopg.ProgrammingError("the query has 1 placeholder"), Failure.UNKNOWN),
        (sqlite3.OperationalError("database is locked"), Failure.RETRY),
        (sqlite3.IntegrityError("UNIQUE constraint failed"), Failure.RACE),
        (sqlite3.ProgrammingError("wrong thread"), Failure.UNKNOWN),
    ],
    ids=repr,
)
def test_a_driver_error_without_sqlstate_is_classified_by_its_class(
    orig: Exception, failure: Failure
) -> None:
    assert classify(wrapped(orig)) is failure


def sqlite_error(statement: str, *before: str) -> DBAPIError:
    """Return SQLAlchemy's exception for an error of SQLite."""
    with sqlite3.connect(":memory:") as connection:
        for line in before:
            connection.execute(line)
        with pytest.raises(sqlite3.Error) as raised:
            connection.execute(statement)
    return wrapped(raised.value)


@pytest.mark.parametrize(
    ("statements", "failure"),
    [
        (["INSERT INTO nothing VALUES (1)"], Failure.UNKNOWN),
        (
            ["INSERT INTO t VALUES (1)", "CREATE TABLE t (a UNIQUE)", "INSERT INTO t VALUES (1)"],
            Failure.RACE,
        ),
        (["INSERT INTO t VALUES (1)", "CREATE TABLE t (a CHECK (a > 1))"], Failure.UNKNOWN),
        (["INSERT INTO t VALUES (NULL)", "CREATE TABLE t (a NOT NULL)"], Failure.UNKNOWN),
        (
            [
                "INSERT INTO t VALUES (1)",
                "CREATE TABLE t (a)",
                "CREATE TRIGGER r BEFORE INSERT ON t BEGIN SELECT RAISE(ABORT, 'no'); END",
            ],
            Failure.UNKNOWN,
        ),
        (
            ["INSERT INTO t VALUES (1)", "CREATE TABLE t (a)", "PRAGMA query_only = 1"],
            Failure.RETRY,
        ),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_an_error_of_sqlite_is_classified_by_its_name(
    statements: list[str], failure: Failure
) -> None:
    assert classify(sqlite_error(*statements)) is failure


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (StatementError("not bound", "INSERT", {}, ValueError("no time")), Failure.REJECT),
        (InvalidEventError("no such field"), Failure.REJECT),
        (ConflictingDefinitionError("two definitions"), Failure.REJECT),
        (ConflictingDefinitionError("but a post-insert query returned nothing"), Failure.UNKNOWN),
        (MissingDatasetTypeError("calexp"), Failure.REJECT),
        (MissingCollectionError("u/run"), Failure.REJECT),
        (CollectionTypeError("not a chain"), Failure.REJECT),
        (DimensionNameError("visits"), Failure.REJECT),
        (DatasetTypeNotSupportedError("no formatter"), Failure.REJECT),
        (FileNotFoundError("u/run/a.fits"), Failure.REJECT),
        (LookupError("no visit 5"), Failure.REJECT),
        (KeyError("visit"), Failure.UNKNOWN),
        (IndexError("list index out of range"), Failure.UNKNOWN),
        (TypeError("'NoneType' is not iterable"), Failure.UNKNOWN),
        (ValueError("badly formed"), Failure.UNKNOWN),
        (RuntimeError("2 of 3 records arrived"), Failure.UNKNOWN),
        (AssertionError(), Failure.UNKNOWN),
        (OSError("no space left on device"), Failure.RETRY),
        (PermissionError("forbidden"), Failure.RETRY),
        (ConnectionResetError("reset by peer"), Failure.RETRY),
        (TimeoutError(), Failure.RETRY),
        (PoolTimeoutError("QueuePool limit"), Failure.RETRY),
        (RetryableError("not now"), Failure.RETRY),
        (EndpointConnectionError(endpoint_url="http://s3"), Failure.RETRY),
        (s3_error(503), Failure.RETRY),
        (s3_error(429), Failure.RETRY),
        (s3_error(301), Failure.RETRY),
        (s3_error(400), Failure.UNKNOWN),
    ],
    ids=repr,
)
def test_any_other_error_is_classified_by_its_class(error: Exception, failure: Failure) -> None:
    assert classify(error) is failure


def test_a_value_that_cannot_be_encoded_is_the_events_fault() -> None:
    with pytest.raises(UnicodeEncodeError) as encoding:
        "\u20ac".encode("latin-1")
    assert classify(encoding.value) is Failure.REJECT
    assert cause_of(encoding.value) is Cause.VALUE_REFUSED
    with pytest.raises(UnicodeDecodeError) as decoding:
        b"\xff".decode()
    assert classify(decoding.value) is Failure.UNKNOWN


@pytest.mark.parametrize(
    ("cause", "failure"),
    [
        (postgresql_error("23505"), Failure.RACE),
        (postgresql_error("40P01"), Failure.RETRY),
        (postgresql_error("23503"), Failure.RACE),
        (wrapped(psycopg.OperationalError("server closed")), Failure.RETRY),
        (KeyError("visit"), Failure.REJECT),
    ],
    ids=repr,
)
def test_a_database_error_that_butler_wrapped_decides(cause: Exception, failure: Failure) -> None:
    assert classify(caused(ConflictingDefinitionError("two"), cause)) is failure
    assert classify(while_handling(ConflictingDefinitionError("two"), cause)) is failure
    deep = caused(RuntimeError("outer"), caused(ConflictingDefinitionError("two"), cause))
    if isinstance(cause, DBAPIError):
        assert classify(deep) is failure


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (InvalidEventError("no such field"), Cause.INVALID_EVENT),
        (MissingDatasetTypeError("calexp"), Cause.UNKNOWN_DATASET_TYPE),
        (ConflictingDefinitionError("two definitions"), Cause.CONFLICT),
        (FileNotFoundError("u/run/a.fits"), Cause.MISSING_FILE),
        (LookupError("no visit 5"), Cause.MISSING_DIMENSION_RECORD),
        (CollectionTypeError("not a chain"), Cause.WRONG_COLLECTION),
        (OverflowError("Python int too large"), Cause.VALUE_REFUSED),
        (postgresql_error("22003"), Cause.VALUE_REFUSED),
        (postgresql_error("23502"), Cause.CONSTRAINT),
        (postgresql_error("23503"), Cause.CONSTRAINT),
        (postgresql_error("23505"), Cause.CONSTRAINT),
        (wrapped(sqlite3.IntegrityError("UNIQUE constraint failed")), Cause.CONSTRAINT),
        (MissingCollectionError("u/run"), Cause.REFUSED_BY_BUTLER),
        (DimensionNameError("visits"), Cause.REFUSED_BY_BUTLER),
        (DatasetTypeNotSupportedError("no formatter"), Cause.REFUSED_BY_BUTLER),
        (postgresql_error("42P01"), Cause.UNKNOWN),
        (postgresql_error("42501"), Cause.MISSING_RIGHT),
        (postgresql_error("54000"), Cause.VALUE_REFUSED),
        (StatementError("not bound", "INSERT", {}, ValueError("no time")), Cause.VALUE_REFUSED),
        (s3_error(400), Cause.UNKNOWN),
        (KeyError("visit"), Cause.UNKNOWN),
        (ZeroDivisionError("division by zero"), Cause.UNKNOWN),
    ],
    ids=repr,
)
def test_an_error_has_a_cause(error: Exception, cause: Cause) -> None:
    assert cause_of(error) is cause
    assert Rejection.of(error).cause is cause


def test_a_wrapped_database_error_counts_unless_butler_raises_a_specific_error() -> None:
    database = postgresql_error("22003")
    assert cause_of(caused(RuntimeError("outer"), database)) is Cause.VALUE_REFUSED
    assert cause_of(while_handling(DimensionNameError("x"), database)) is Cause.VALUE_REFUSED
    assert cause_of(caused(ConflictingDefinitionError("two"), database)) is Cause.CONFLICT


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (AssertionError(), "AssertionError"),
        (postgresql_error("42P01"), "ProgrammingError: the server says no"),
        (DatasetTypeNotSupportedError("x"), "DatasetTypeNotSupportedError: x"),
        (InvalidEventError("no such field"), "no such field"),
        (postgresql_error("23505"), "the server says no"),
    ],
    ids=repr,
)
def test_the_reason_names_the_class_of_an_error_without_a_specific_cause(
    error: Exception, reason: str
) -> None:
    assert Rejection.of(error).reason == reason
