"""What went wrong, and what follows from it: retry, look again, or set the event aside.

The one place where retryable and permanent failures are told apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto

from botocore.exceptions import BotoCoreError, ClientError
from lsst.daf.butler import ButlerUserError, DatasetTypeNotSupportedError
from lsst.daf.butler.registry import RegistryError
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from models.errors import InvalidEventError

__all__ = ["AbandonedError", "Failure", "RetryableError", "causes", "classify", "describe"]


class Failure(Enum):
    """What follows from a failure."""

    RETRY = auto()
    """A dependency is away or busy, whatever the event says: try again for as long as it takes."""

    LOOK_AGAIN = auto()
    """Another writer was faster: the next try sees what it wrote.  Poison when it repeats."""

    POISON = auto()
    """The event can never be written."""

    UNKNOWN = auto()
    """Nobody has met it.  As poison, unless it befalls every event: then the fault is ours."""


class RetryableError(Exception):
    """The window cannot be written now; nothing of it may be acked or set aside.

    Attributes
    ----------
    alarm : `bool`
        Whether waiting is unlikely to help, and a person should look.
    """

    def __init__(self, reason: str, *, alarm: bool = False) -> None:
        super().__init__(reason)
        self.alarm = alarm


class AbandonedError(Exception):
    """The window's partitions were revoked: its events are delivered again."""


#: SQLSTATEs, or classes of them, that speak of the server and never of the data (PostgreSQL
#: manual, appendix A): connection, authorization, serialization and deadlock, resources, lock not
#: available, operator intervention (which holds statement timeouts), system, read-only server,
#: idle for too long in a transaction (a frozen worker), insufficient privilege.
_SERVER_STATES = ("08", "28", "40", "53", "55P03", "57", "58", "25006", "25P03", "42501")

#: What another writer may have inserted, or removed, since it was looked for: a unique key, or what
#: a foreign key names (and that is remembered here as being there).
_LOOK_AGAIN = (None, "23503", "23505")

#: What Butler raises over data that it cannot take.  `LookupError` itself is a missing dimension
#: record.
_POISON = (
    InvalidEventError,
    ButlerUserError,
    RegistryError,
    DatasetTypeNotSupportedError,
    FileNotFoundError,
    OverflowError,  # SQLite's word for a number that no column takes
)


def classify(error: BaseException) -> Failure:
    """Tell what follows from a failure of the Butler write.

    Parameters
    ----------
    error : `BaseException`
        What was raised; its causes are looked at too, since Butler wraps database errors.
    """
    for cause in causes(error):
        if isinstance(cause, DBAPIError):
            return _classify_database(cause)
    if isinstance(error, _POISON) or type(error) is LookupError:  # its subclasses may be our fault
        return Failure.POISON
    if isinstance(error, RetryableError | OSError | PoolTimeoutError | BotoCoreError):
        return Failure.RETRY
    if isinstance(error, ClientError):  # S3 answers, but may not be well
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return Failure.RETRY if status >= 500 else Failure.UNKNOWN
    return Failure.UNKNOWN


def _classify_database(error: DBAPIError) -> Failure:
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    if error.connection_invalidated or (state and state.startswith(_SERVER_STATES)):
        return Failure.RETRY
    if isinstance(error, IntegrityError):
        return Failure.LOOK_AGAIN if state in _LOOK_AGAIN else Failure.POISON
    if isinstance(error, OperationalError | InterfaceError) and state is None:
        return Failure.RETRY
    if isinstance(error, DataError):
        return Failure.POISON
    return Failure.UNKNOWN


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, what it was raised from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def describe(error: BaseException) -> str:
    """Put an error into one line of bounded length, without SQL parameters."""
    database = next((cause for cause in causes(error) if isinstance(cause, DBAPIError)), None)
    text = str(error)
    if database is not None:
        text = text.replace(str(database), answer := str(database.orig))
        if answer not in text:
            text = f"{answer} ({text})"  # it names the row: not to be cut off
    line = " ".join(text.split())
    return line if len(line) <= _LINE else line[: _LINE - 3] + "..."


#: Longest description of an error, in characters.
_LINE = 500
