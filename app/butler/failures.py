"""Exceptions of the Butler write: what to do about each, and the cause that a dead letter names.

The only place that tells retryable failures from permanent ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto

from botocore.exceptions import BotoCoreError, ClientError
from lsst.daf.butler import ButlerUserError, DatasetTypeNotSupportedError, MissingDatasetTypeError
from lsst.daf.butler.registry import CollectionTypeError, ConflictingDefinitionError, RegistryError
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from models.causes import Cause
from models.errors import InvalidEventError

__all__ = [
    "AbandonedError",
    "Failure",
    "RetryableError",
    "cause_of",
    "classify",
    "describe",
    "exception_chain",
]


class Failure(Enum):
    """What to do about a failure."""

    RETRY = auto()
    """A dependency is unavailable or busy, whatever the event contains: retry until it works."""

    RACE = auto()
    """Another writer changed the same rows at the same time: try again at once.

    If that fails each time, the failure counts as `POISON`.
    """

    POISON = auto()
    """The event can never be written."""

    UNKNOWN = auto()
    """Not a failure that this service knows.

    Counts as `POISON`, unless no event of the window can be written: then the fault is not in the
    events.
    """


class RetryableError(Exception):
    """The window cannot be written now; none of its events may be acked or made a dead letter.

    Attributes
    ----------
    alarm : `bool`
        Whether waiting is unlikely to help, so that an operator should look.
    """

    def __init__(self, reason: str, *, alarm: bool = False) -> None:
        super().__init__(reason)
        self.alarm = alarm


class AbandonedError(Exception):
    """The window's partitions were revoked; its events will be redelivered."""


#: SQLSTATEs, or their first characters, that concern the server and never the data (PostgreSQL
#: manual, appendix A): connection, authorization, serialization and deadlock, resources, lock not
#: available, operator intervention (which includes statement timeouts), system, read-only server,
#: idle for too long in a transaction (a frozen worker), insufficient privilege.
_SERVER_STATES = ("08", "28", "40", "53", "55P03", "57", "58", "25006", "25P03", "42501")

#: SQLSTATEs that another writer can cause by inserting or deleting a row after this one looked for
#: it: foreign key violation, unique violation.  SQLite has no SQLSTATE.
_RACE_STATES = (None, "23503", "23505")

#: What Butler raises for data that it cannot store.  `LookupError` itself, not a subclass, is a
#: missing dimension record.
_POISON = (
    InvalidEventError,
    ButlerUserError,
    RegistryError,
    DatasetTypeNotSupportedError,
    FileNotFoundError,
    OverflowError,  # SQLite, for a number that fits no column
)

#: The cause that each type of exception stands for; the first match counts.
_CAUSES: tuple[tuple[type[Exception], Cause], ...] = (
    (InvalidEventError, Cause.INVALID_EVENT),
    (MissingDatasetTypeError, Cause.UNKNOWN_DATASET_TYPE),
    (CollectionTypeError, Cause.WRONG_COLLECTION),
    (ConflictingDefinitionError, Cause.CONFLICT),
    (FileNotFoundError, Cause.MISSING_FILE),
    (OverflowError, Cause.VALUE_REFUSED),
)

#: The same for database errors, which Butler may have wrapped.
_DATABASE_CAUSES: tuple[tuple[type[DBAPIError], Cause], ...] = (
    (DataError, Cause.VALUE_REFUSED),
    (IntegrityError, Cause.CONSTRAINT),
)

#: Longest description of an error, in characters.
_MAX_DESCRIPTION = 500


def classify(error: BaseException) -> Failure:
    """Return what to do about a failure of the Butler write.

    Parameters
    ----------
    error : `BaseException`
        The exception.  Those that it was raised from count too: Butler wraps database errors.
    """
    database = _database_error(error)
    if database is not None:
        return _classify_database(database)
    if isinstance(error, _POISON) or type(error) is LookupError:  # its subclasses may be our bugs
        return Failure.POISON
    if isinstance(error, RetryableError | OSError | PoolTimeoutError | BotoCoreError):
        return Failure.RETRY
    if isinstance(error, ClientError):  # S3 responds, but perhaps with an internal error
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return Failure.RETRY if status >= 500 else Failure.UNKNOWN
    return Failure.UNKNOWN


def _classify_database(error: DBAPIError) -> Failure:
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    if error.connection_invalidated or (state and state.startswith(_SERVER_STATES)):
        return Failure.RETRY
    if isinstance(error, IntegrityError):
        return Failure.RACE if state in _RACE_STATES else Failure.POISON
    if isinstance(error, OperationalError | InterfaceError) and state is None:
        return Failure.RETRY
    if isinstance(error, DataError):
        return Failure.POISON
    return Failure.UNKNOWN


def cause_of(error: BaseException) -> Cause:
    """Return the cause that a dead letter names for a failure.

    Parameters
    ----------
    error : `BaseException`
        The exception.  Database errors that it was raised from count too.
    """
    for kind, cause in _CAUSES:
        if isinstance(error, kind):
            return cause
    if type(error) is LookupError:
        return Cause.MISSING_DIMENSION_RECORD
    database = _database_error(error)
    for kind, cause in _DATABASE_CAUSES:
        if isinstance(database, kind):
            return cause
    return Cause.REFUSED_BY_BUTLER if isinstance(error, _POISON) else Cause.UNKNOWN


def _database_error(error: BaseException) -> DBAPIError | None:
    return next((link for link in exception_chain(error) if isinstance(link, DBAPIError)), None)


def exception_chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception, the one that it was raised from or while handling, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def describe(error: BaseException) -> str:
    """Describe an error in one line of bounded length, without SQL parameters."""
    database = _database_error(error)
    text = str(error)
    if database is not None:
        text = text.replace(str(database), answer := str(database.orig))
        if answer not in text:
            text = f"{answer} ({text})"  # first, so that the row that it names is not cut off
    line = " ".join(text.split())
    return line if len(line) <= _MAX_DESCRIPTION else line[: _MAX_DESCRIPTION - 3] + "..."
