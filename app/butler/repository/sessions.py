"""What a session with PostgreSQL is like: bounded in time, and never waiting for half a request.

A worker can be frozen anywhere, its node lost.  PostgreSQL ends a session that is idle in its
transaction, and so frees its locks; but it does not count as idle between the messages of one
request (a COPY, a pipeline, the parts of the extended protocol), and waits there for as long as
the client's machine answers, whatever timeouts are set.  A worker that was frozen within psycopg's
``executemany``, a pipeline, stopped all others for good (our measurement on PostgreSQL 15; manual,
20.11.1 and 55.2).  So each request is one message, which is sent whole or not done at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import psycopg
import sqlalchemy
from psycopg.abc import Params, Query

from app.butler.policy import WritePolicy

__all__ = ["prepare_sessions"]

#: Longest time that a sound worker does nothing in a transaction, in seconds: it builds rows.
_LONGEST_PAUSE = 10.0


class OneMessageCursor(psycopg.ClientCursor[Any]):
    """A cursor that sends whatever it is asked for as one message of the simple protocol."""

    def executemany(
        self, query: Query, params_seq: Iterable[Params], *, returning: bool = False
    ) -> None:
        """Execute a statement once for each set of parameters; there are no results to fetch."""
        if texts := [self.mogrify(query, params) for params in params_seq]:
            self.execute(";".join(texts).encode())
            changed = self.rowcount
            while self.nextset():
                changed += self.rowcount
            self._rowcount = changed


def prepare_sessions(engine: sqlalchemy.Engine, policy: WritePolicy) -> None:
    """Make every transaction of an engine bounded, and each of its requests one message.

    - A statement runs, and waits for a lock, as long as the policy says.
    - A transaction that does nothing for as long as another would wait for its locks is ended.
    - No table is read from end to end where there is an index.  The plan for a foreign key's check
      is kept until the table's statistics change: one that was made when the table was small reads
      all of it for each row (our measurement: 378 events of 20 datasets took 23 s instead of 2).
      Such a plan also looks so dear that it would be compiled, which costs more than it saves.

    For each transaction, not for the connection: behind a connection pooler the next transaction
    may be somebody else's.

    Parameters
    ----------
    engine : `sqlalchemy.Engine`
        The engine of a Butler, and of every clone of that.
    policy : `WritePolicy`
        The bounds.
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
    statement = sqlalchemy.text(f"SELECT {', '.join(calls)}")

    @sqlalchemy.event.listens_for(engine, "begin")
    def _prepare(connection: sqlalchemy.Connection) -> None:
        driver = connection.connection.dbapi_connection
        if isinstance(driver, psycopg.Connection):
            driver.cursor_factory = OneMessageCursor
        connection.execute(statement)
