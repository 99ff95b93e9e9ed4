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
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from models.causes import Cause
from models.errors import CausedError, InvalidEventError, OverLimitError, RemovedMessageError

__all__ = [
    "PASSING_STATES",
    "AbandonedError",
    "Failure",
    "Limit",
    "RetryableError",
    "cause_of",
    "classify",
    "database_error",
    "exceeded_limit",
    "exception_chain",
    "http_status",
    "is_locked",
    "never_sent",
    "sqlstate",
]


class Failure(Enum):
    """What to do about a failure."""

    RETRY = auto()
    """A dependency is unavailable or busy, whatever the event contains: retry until it works."""

    RACE = auto()
    """Another writer changed the same rows at the same time: try again at once.

    If that fails each time, the failure counts as `UNKNOWN`.
    """

    REJECT = auto()
    """The event is bad: it can never be written."""

    UNKNOWN = auto()
    """The fault may be in the event, or in what this service depends on.

    A probe decides (rule fault-decided-by-evidence): if the repository takes other rows, the event
    is at fault.
    """


class Limit(Enum):
    """A limit on time or memory that a single event can exceed, or a server that is overloaded."""

    STATEMENT = auto()
    """The time that a statement may take; or somebody has cancelled the statement."""

    OTHER = auto()
    """The time between two statements, the memory, or the size of temporary files."""


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


#: SQLSTATEs, or their first characters, of a server's state that passes (PostgreSQL manual,
#: appendix A): connection, serialization and deadlock, resources, lock not available, operator
#: intervention (which includes statement timeouts), system, read-only server, idle for too long in
#: a transaction (a frozen worker).
PASSING_STATES = ("08", "25006", "25P03", "40", "53", "55P03", "57", "58")

#: The same, and a refused login and a missing database: all that concern the server and never the
#: data.  A starting worker does not wait for the last two: whoever corrects them also starts it
#: again, and it reads its secrets only once.
_SERVER_STATES = (*PASSING_STATES, "28", "3D")

#: The SQLSTATEs of these limits: statement cancelled, idle in a transaction, out of memory,
#: configured limit exceeded.
_LIMIT_STATES = {
    "57014": Limit.STATEMENT,
    "25P03": Limit.OTHER,
    "53200": Limit.OTHER,
    "53400": Limit.OTHER,
}

#: Errors that another writer can cause by inserting or deleting a row after this one looked for it:
#: foreign key violation, unique violation.
_RACE_STATES = ("23503", "23505")
_SQLITE_RACES = (
    "SQLITE_CONSTRAINT_FOREIGNKEY",
    "SQLITE_CONSTRAINT_PRIMARYKEY",
    "SQLITE_CONSTRAINT_ROWID",
    "SQLITE_CONSTRAINT_UNIQUE",
)

#: SQLite's name for what is wrong with a statement, such as a table that does not exist; its other
#: operational errors concern the file, the disk or a lock.
_SQLITE_STATEMENT = "SQLITE_ERROR"

#: What Butler raises for data that it cannot store.  `LookupError` itself, not a subclass, is a
#: missing dimension record.
_OF_BAD_EVENTS = (
    InvalidEventError,
    ButlerUserError,
    RegistryError,
    DatasetTypeNotSupportedError,
    FileNotFoundError,
    OverflowError,  # SQLite, for a number that fits no column
)

#: Part of the text of the `ConflictingDefinitionError` that Butler raises if a row is neither there
#: nor inserted.  ``ON CONFLICT DO NOTHING`` hides the reason: a sequence that lags behind its table
#: after a failover, for example.
_NOT_INSERTED = "post-insert query"

#: What SQLAlchemy and the driver raise for a value before they send it: it does not fit the type of
#: its column, or the encoding of the database.
_NEVER_SENT = (StatementError, UnicodeEncodeError)

#: The cause that each type of exception stands for; the first match counts.
_CAUSES: tuple[tuple[type[Exception], Cause], ...] = (
    (OverLimitError, Cause.OVER_LIMIT),
    (RemovedMessageError, Cause.REMOVED_MESSAGE),
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

#: The same for SQLSTATEs, or their first characters: insufficient privilege, and a limit of the
#: program, such as the length of a name in an index.
_STATE_CAUSES = {"42501": Cause.MISSING_RIGHT, "54": Cause.VALUE_REFUSED}

#: S3's HTTP status if it is overloaded.
_TOO_MANY = 429


def classify(error: BaseException) -> Failure:
    """Return what to do about a failure of the Butler write.

    Parameters
    ----------
    error : `BaseException`
        The exception.  Those that it was raised from count too: Butler wraps database errors.
    """
    database = database_error(error)
    if database is not None:
        return _classify_database(database)
    if never_sent(error) is not None:
        return Failure.REJECT
    if _is_of_bad_event(error):
        return Failure.REJECT
    if isinstance(error, RetryableError | OSError | PoolTimeoutError | BotoCoreError):
        return Failure.RETRY
    if isinstance(error, ClientError):  # S3 responds, but perhaps with an internal error
        status = http_status(error)
        is_of_the_store = status >= 500 or status == _TOO_MANY or is_redirect(status)
        return Failure.RETRY if is_of_the_store else Failure.UNKNOWN
    return Failure.UNKNOWN


def _is_of_bad_event(error: BaseException) -> bool:
    if isinstance(error, ConflictingDefinitionError):
        return _NOT_INSERTED not in str(error)
    return (
        isinstance(error, _OF_BAD_EVENTS) or type(error) is LookupError
    )  # its subclasses: our bugs


def _classify_database(error: DBAPIError) -> Failure:
    state = sqlstate(error)
    if error.connection_invalidated or state.startswith(_SERVER_STATES):
        return Failure.RETRY
    if state:
        # Not even class 22, data exceptions, is always the data's: a trigger, a column that was
        # changed and a sequence at its end refuse any row with it.
        return Failure.RACE if state in _RACE_STATES else Failure.UNKNOWN
    name = getattr(error.orig, "sqlite_errorname", None)
    if isinstance(error, IntegrityError):
        return Failure.RACE if name is None or name in _SQLITE_RACES else Failure.UNKNOWN
    if isinstance(error, OperationalError | InterfaceError) and name != _SQLITE_STATEMENT:
        return Failure.RETRY
    return Failure.REJECT if isinstance(error, DataError) else Failure.UNKNOWN


def is_redirect(status: int) -> bool:
    """Return whether an HTTP status says that what was asked for is elsewhere."""
    return 300 <= status < 400


def http_status(error: ClientError) -> int:
    """Return the status with which S3 has answered, or 0 if there is none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def sqlstate(error: DBAPIError) -> str:
    """Return the SQLSTATE of an error; empty if it has none, as in SQLite."""
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or ""


def exceeded_limit(error: BaseException) -> Limit | None:
    """Return the limit that a write has exceeded, if a single event can be why it did."""
    database = database_error(error)
    return _LIMIT_STATES.get(sqlstate(database)) if database is not None else None


def is_locked(error: BaseException) -> bool:
    """Tell whether a write has waited too long for a lock (PostgreSQL)."""
    database = database_error(error)
    return database is not None and sqlstate(database) == "55P03"


def cause_of(error: BaseException) -> Cause:
    """Return the cause that a dead letter names for a failure.

    Parameters
    ----------
    error : `BaseException`
        The exception.  Database errors that it was raised from count too.
    """
    for kind, cause in _CAUSES:
        if isinstance(error, kind):
            return error.cause if isinstance(error, CausedError) else cause
    if type(error) is LookupError:
        return Cause.MISSING_DIMENSION_RECORD
    database = database_error(error)
    if database is not None:
        state = sqlstate(database)
        for prefix, cause in _STATE_CAUSES.items():
            if state.startswith(prefix):
                return cause
        for database_kind, cause in _DATABASE_CAUSES:
            if isinstance(database, database_kind):
                return cause
    elif never_sent(error) is not None:
        return Cause.VALUE_REFUSED
    return Cause.REFUSED_BY_BUTLER if isinstance(error, _OF_BAD_EVENTS) else Cause.UNKNOWN


def database_error(error: BaseException) -> DBAPIError | None:
    """Return the error of the database that an exception is, or was raised from."""
    return next((link for link in exception_chain(error) if isinstance(link, DBAPIError)), None)


def never_sent(error: BaseException) -> BaseException | None:
    """Return the refusal of a value before it was sent that an exception is, or was raised from."""
    return next((link for link in exception_chain(error) if isinstance(link, _NEVER_SENT)), None)


def exception_chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception, the one that it was raised from or while handling, and so on, each once.

    A cause that is raised again, instead of the exception that wraps it, leads back to itself.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
