"""Gives up sessions of PostgreSQL that do not answer any more (rule bounded-database-calls).

A server that is frozen or has moved, or a link that swallows what is sent, ends no connection.  The
limits of the server's do not apply then, and those of TCP only if nothing is acknowledged.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
import sqlalchemy
from psycopg.pq import TransactionStatus

__all__ = ["NoAnswerError", "SessionAnswers", "limit_waits", "sending"]

_R = TypeVar("_R")

#: Seconds in which a server answers outside of a transaction, to a ping.
PING_SECONDS = 5.0

#: Seconds after a statement's own limit in which the server says that it was exceeded.
MARGIN_SECONDS = 10.0


class NoAnswerError(psycopg.OperationalError):
    """The server does not answer in a session, which is closed."""


@dataclass
class SessionAnswers:
    """Which sessions of a database answer.

    Attributes
    ----------
    statement_seconds : `float`
        How long the server gives each statement.
    """

    statement_seconds: float
    _silent_since: float = math.inf
    _lost_before: float = -math.inf

    def is_lost(self, answered_at: float, asked_at: float, now: float) -> bool:
        """Return whether a session leads nowhere, as others did: it last answered before that."""
        return answered_at < self._lost_before and now - asked_at > PING_SECONDS

    def silent(self, asked_at: float) -> None:
        """Note that a session has not answered outside of a transaction."""
        self._silent_since = min(self._silent_since, asked_at)

    def opened(self) -> None:
        """Note a new session: the server is there, so sessions from before may lead elsewhere."""
        if self._silent_since < math.inf:
            self._lost_before, self._silent_since = self._silent_since, math.inf


class _Session(psycopg.Connection[Any]):
    """A session that is closed if the server does not answer."""

    answers: SessionAnswers
    answered_at: float

    #: Statements in the message that is sent; the server's limit is for each of them.  0: a ping.
    statements = 0

    def wait(
        self,
        gen: Generator[Any, Any, _R],
        interval: float = 0.1,
        timeout: float | None = None,
    ) -> _R:
        """Wait for an answer, within the limits."""
        return super().wait(self._limited(gen), interval, timeout)

    def _limited(self, gen: Generator[Any, Any, _R]) -> Generator[Any, Any, _R]:
        asked_at = time.monotonic()
        is_in_transaction = self.pgconn.transaction_status != TransactionStatus.IDLE
        limit = PING_SECONDS
        if is_in_transaction or self.statements:
            limit = max(1, self.statements) * self.answers.statement_seconds + MARGIN_SECONDS
        try:
            expected = next(gen)
            while True:
                ready = yield expected
                if not ready:  # not even after a pause of this process, which is no silence
                    self._check(asked_at, limit, is_in_transaction=is_in_transaction)
                expected = gen.send(ready)
        except StopIteration as end:
            self.answered_at = time.monotonic()
            result: _R = end.value
            return result

    def _check(self, asked_at: float, limit: float, *, is_in_transaction: bool) -> None:
        now = time.monotonic()
        is_lost = self.answers.is_lost(self.answered_at, asked_at, now)
        if now - asked_at <= limit and not is_lost:
            return
        if not is_in_transaction:
            self.answers.silent(asked_at)
        self.pgconn.finish()
        raise NoAnswerError(f"the server has not answered for {now - asked_at:.0f} s")


@contextmanager
def sending(session: psycopg.Connection[Any], statements: int) -> Iterator[None]:
    """Send several statements in one message; the server gives each of them its time."""
    if not isinstance(session, _Session):
        yield
        return
    session.statements = statements
    try:
        yield
    finally:
        session.statements = 0


def limit_waits(engine: sqlalchemy.Engine, statement_seconds: float) -> None:
    """Limit how long the sessions of an engine wait for an answer.

    - 5 s outside of a transaction: a ping, which comes before each use of a session.
    - In a transaction, 10 s more than the server gives the statements of a message.
    - 5 s in a session that has not answered since another one was silent, once a new one
      answers: after a failover, the former address may hang.

    Parameters
    ----------
    engine : `sqlalchemy.Engine`
        The engine; its connections are opened again.
    statement_seconds : `float`
        How long the server gives each statement.
    """
    answers = SessionAnswers(statement_seconds)

    @sqlalchemy.event.listens_for(engine, "do_connect")
    def _connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> _Session:
        answered_at = time.monotonic()
        session = _Session.connect(*arguments, **options)
        session.answers, session.answered_at = answers, answered_at
        answers.opened()
        return session

    engine.dispose()
