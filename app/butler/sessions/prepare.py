"""Set up PostgreSQL sessions: limits on time, one message for each request, no faulty session.

A worker can be frozen, or its node lost, at any time.  PostgreSQL ends a session that is idle in a
transaction, which releases its locks.
"""

from __future__ import annotations

import psycopg
import sqlalchemy

from app.butler.policy import WritePolicy
from app.butler.sessions.answers import limit_waits
from app.butler.sessions.messages import (
    begin_together,
    forget_waiting,
    send_as_messages,
    send_together_with_commit,
)

__all__ = ["prepare_sessions"]

#: Longest time that a healthy worker needs between two statements of a transaction, in seconds.
_LONGEST_PAUSE = 10.0


#: SQLSTATEs, or their first characters, that may concern the session and not the server: lost
#: connection, read-only transaction (the session leads to a standby, or began when the database was
#: read-only), idle for too long in a transaction, ended by an administrator or after a crash.
_SESSION_STATES = ("08", "25006", "25P03", "57P01", "57P02", "57P03")


def prepare_sessions(engine: sqlalchemy.Engine, policy: WritePolicy) -> None:
    """Limit every transaction of an engine, and send each request as one message.

    - The policy limits how long a statement may run, and wait for a lock.
    - A transaction that is idle for as long as another would wait for its locks is ended.
    - No table is scanned sequentially if there is an index.  PostgreSQL keeps the plan of a foreign
      key check until the statistics of the table change.  A plan that was made when the table was
      small scans the whole table for each row (our measurement: 378 events of 20 datasets took 23 s
      instead of 2 s).
    - No plan is compiled: the estimated cost of such a plan is so high that PostgreSQL would
      compile it, which takes longer than it saves.
    - After an error that may concern the session, no pooled connection is used again.  After a
      failover, for example, they may all lead to a server that has become read-only.
    - A session that does not answer is given up.

    The settings are made in each transaction, not once for the connection: behind a connection
    pooler, the next transaction may be that of another client.

    Parameters
    ----------
    engine : `sqlalchemy.Engine`
        The engine that a Butler and all its clones use.
    policy : `WritePolicy`
        The limits.
    """
    if engine.dialect.name != "postgresql":
        return
    pause = max(policy.lock_timeout, _LONGEST_PAUSE)
    settings = {
        "statement_timeout": round(policy.statement_timeout * 1000),
        "lock_timeout": round(policy.lock_timeout * 1000),
        "idle_in_transaction_session_timeout": round(pause * 1000),
        "enable_seqscan": "off",
        "jit": "off",
    }
    calls = (f"set_config('{name}', '{value}', true)" for name, value in settings.items())
    statement = f"SELECT {', '.join(calls)}"

    sqlalchemy.event.listen(engine, "checkout", send_as_messages)

    @sqlalchemy.event.listens_for(engine, "begin")
    def _begin(connection: sqlalchemy.Connection) -> None:
        begin_together(connection, statement)

    sqlalchemy.event.listen(engine, "commit", send_together_with_commit)
    sqlalchemy.event.listen(engine, "rollback", forget_waiting)

    @sqlalchemy.event.listens_for(engine, "handle_error")
    def _replace_connections(context: sqlalchemy.ExceptionContext) -> None:
        if _may_concern_the_session(context.original_exception):
            context.is_disconnect = True  # SQLAlchemy then replaces every connection of the pool

    limit_waits(engine, policy.statement_timeout)


def _may_concern_the_session(error: BaseException) -> bool:
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is None:  # raised by the client: for example, the server does not answer
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate.startswith(_SESSION_STATES)
