"""Send each request to PostgreSQL as one message, and several statements together.

Between the messages of one request (a COPY, a pipeline, the parts of the extended protocol) the
server waits for the rest, whatever the timeouts, for as long as the client's machine responds.  A
worker that was frozen in psycopg's ``executemany``, which is a pipeline, blocked all other workers
forever (our measurement on PostgreSQL 15; manual, 20.11.1 and 55.2).  So each request is a single
message, which either arrives completely or has no effect.

Each message costs a round trip.  Statements whose results nobody reads wait for the next statement
that has some, or for the commit, and are sent with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Self

import psycopg
import sqlalchemy
from psycopg.abc import Params, Query
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from app.butler.sessions.answers import sending

__all__ = [
    "begin_together",
    "deferring",
    "executing_together",
    "forget_waiting",
    "send_as_messages",
    "send_together_with_commit",
    "send_waiting",
    "sends_messages",
]

#: Key of the outbox in the information about a connection of SQLAlchemy.
_OUTBOX = "butler_writer_outbox"

_IDLE = psycopg.pq.TransactionStatus.IDLE

#: About how many characters wait at most: beyond that, a round trip costs less than the memory.
_MOST_WAITING = 1_000_000


class _Outbox:
    """The statements of a connection's transaction that wait.

    Attributes
    ----------
    is_deferring : `bool`
        Whether inserts wait too.
    waiting : `int`
        Number of statements that wait and change something.
    together : `int`
        Number of statements in the text that is executed next.
    """

    def __init__(self) -> None:
        self.is_deferring = False
        self.waiting = 0
        self.together = 1
        self._opening: list[str] = []
        self._waiting: list[str] = []

    def begin(self, *opening: str) -> None:
        """Forget the last transaction, and let the statements that begin the next one wait."""
        self.is_deferring = False
        self.clear()
        self._opening.extend(opening)

    def takes(self, text: str, statements: int) -> bool:
        """Keep one or more statements if they can wait, and tell whether they can."""
        if text.startswith("SET "):
            self._opening.append(text)
            return True
        # What somebody reads is the row count at most, and nobody does while `is_deferring`.
        size = sum(map(len, self._waiting)) + len(text)
        can_wait = self.is_deferring and text.startswith("INSERT ") and size < _MOST_WAITING
        if can_wait:
            self._waiting.append(text)
            self.waiting += statements
        return can_wait

    def released(self, text: str | None = None) -> str:
        """Return all statements that wait, with another one behind them."""
        if text is not None and text.startswith("ROLLBACK TO "):
            self._forget_changes()  # they were made after that savepoint
        texts = [*self._opening, *self._waiting, *([] if text is None else [text])]
        self.clear()
        return ";".join(texts)

    def clear(self) -> None:
        """Forget the statements that wait."""
        self._opening.clear()
        self._forget_changes()

    def _forget_changes(self) -> None:
        self._waiting.clear()
        self.waiting = 0

    @property
    def is_empty(self) -> bool:
        """Whether no statement waits, not even one that begins the transaction."""
        return not (self._opening or self._waiting)


class _Cursor(psycopg.ClientCursor[Any]):
    """A cursor that sends each request as one message of the simple query protocol."""

    def __init__(
        self, connection: psycopg.Connection[Any], *, outbox: _Outbox, **more: Any
    ) -> None:
        super().__init__(connection, **more)
        self._outbox = outbox

    def execute(
        self,
        query: Query,
        params: Params | None = None,
        **_: Any,
    ) -> Self:
        """Execute a statement, and those that wait; the results are those of the last one."""
        self._send([self.mogrify(query, params)])
        return self

    def executemany(
        self, query: Query, params_seq: Iterable[Params], *, returning: bool = False
    ) -> None:
        """Execute a statement for each set of parameters; there are no results to fetch."""
        self._send([self.mogrify(query, params) for params in params_seq])

    def _send(self, texts: list[str]) -> None:
        if not texts or self._outbox.takes(text := ";".join(texts), len(texts)):
            return
        statements = max(len(texts), self._outbox.together) + self._outbox.waiting
        is_ping = self._outbox.is_empty and self.connection.info.transaction_status == _IDLE
        with sending(self.connection, 0 if is_ping else statements):
            super().execute(self._outbox.released(text).encode())
        counts = [self.rowcount]
        while self.nextset():
            counts.append(self.rowcount)
        self._rowcount = sum(counts[-len(texts) :])


class _ServerCursor(psycopg.ServerCursor[Any]):
    """A cursor of a query with many rows; its declaration takes a few small messages."""

    def __init__(
        self, connection: psycopg.Connection[Any], name: str, *, outbox: _Outbox, **more: Any
    ) -> None:
        super().__init__(connection, name, **more)
        self._outbox = outbox

    def execute(self, query: Query, params: Params | None = None, **more: Any) -> Self:
        """Send the statements that wait, and declare the cursor."""
        if text := self._outbox.released():
            psycopg.ClientCursor(self.connection).execute(text.encode())
        return super().execute(query, params, **more)


def send_as_messages(driver: DBAPIConnection, record: ConnectionPoolEntry, _: object) -> None:
    """Let the cursors of a connection send each request as one message.

    For SQLAlchemy's event ``checkout``: it makes the cursor of a transaction's first statement
    before the event ``begin``.

    Parameters
    ----------
    driver : `sqlalchemy.engine.interfaces.DBAPIConnection`
        The driver's connection.
    record : `sqlalchemy.pool.ConnectionPoolEntry`
        The connection in the pool.
    """
    if isinstance(driver, psycopg.Connection) and _OUTBOX not in record.info:
        outbox = record.info[_OUTBOX] = _Outbox()
        driver.autocommit = True  # BEGIN is ours; the driver still sends COMMIT and ROLLBACK
        driver.cursor_factory = partial(_Cursor, outbox=outbox)
        driver.server_cursor_factory = partial(_ServerCursor, outbox=outbox)


def begin_together(connection: sqlalchemy.Connection, setting: str) -> None:
    """Let a transaction begin with its first statement.

    Parameters
    ----------
    connection : `sqlalchemy.Connection`
        A connection whose transaction is about to begin.
    setting : `str`
        A statement that is executed first.
    """
    outbox: _Outbox | None = connection.info.get(_OUTBOX)
    if outbox is not None:
        outbox.begin("BEGIN", setting)


def send_together_with_commit(connection: sqlalchemy.Connection) -> None:
    """Send the statements that wait, together with the commit.

    Parameters
    ----------
    connection : `sqlalchemy.Connection`
        A connection whose transaction is about to be committed.
    """
    outbox: _Outbox | None = connection.info.get(_OUTBOX)
    if outbox is not None and outbox.waiting:
        connection.exec_driver_sql("COMMIT")
    forget_waiting(connection)


def send_waiting(connection: sqlalchemy.Connection) -> None:
    """Send the statements that wait now, so that their errors are raised here.

    Parameters
    ----------
    connection : `sqlalchemy.Connection`
        A connection in a transaction.
    """
    outbox: _Outbox | None = connection.info.get(_OUTBOX)
    if outbox is not None and outbox.waiting:
        connection.exec_driver_sql("SELECT 1")


def forget_waiting(connection: sqlalchemy.Connection) -> None:
    """Forget the statements that wait: their transaction is rolled back.

    Parameters
    ----------
    connection : `sqlalchemy.Connection`
        The connection.
    """
    if connection.invalidated:  # what waits went with its session
        return
    if (outbox := connection.info.get(_OUTBOX)) is not None:
        outbox.clear()


@contextmanager
def deferring(connection: sqlalchemy.Connection) -> Iterator[None]:
    """Let inserts wait for the next statement that has results, or for the commit.

    An error of such an insert is raised there.

    Parameters
    ----------
    connection : `sqlalchemy.Connection`
        A connection in a transaction.
    """
    outbox = connection.info.get(_OUTBOX) or _Outbox()
    before, outbox.is_deferring = outbox.is_deferring, True
    try:
        yield
    finally:
        outbox.is_deferring = before


@contextmanager
def executing_together(connection: sqlalchemy.Connection, statements: int) -> Iterator[None]:
    """Execute several statements as one text; the server gives each of them its time."""
    outbox = connection.info.get(_OUTBOX) or _Outbox()
    outbox.together = statements
    try:
        yield
    finally:
        outbox.together = 1


def sends_messages(connection: sqlalchemy.Connection) -> bool:
    """Tell whether a connection sends statements as messages: see `send_as_messages`."""
    return _OUTBOX in connection.info
