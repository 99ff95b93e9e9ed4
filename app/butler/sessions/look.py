"""Looks whether the database answers, also while there is nothing to write."""

from __future__ import annotations

from contextlib import suppress

import psycopg
import sqlalchemy

from app.errors import UnavailableError

__all__ = ["DatabaseLook"]

_READ_ONLY = sqlalchemy.text("SELECT current_setting('transaction_read_only') = 'on'")


class DatabaseLook:
    """Asks the database for an answer; one thread at a time may do so.

    With PostgreSQL it keeps a session of its own.  If that one no longer answers and a new one
    does, then so do the others that wait in old sessions (see `app.butler.sessions.answers`).

    Parameters
    ----------
    engine : `sqlalchemy.Engine`
        The engine whose database is asked.
    """

    def __init__(self, engine: sqlalchemy.Engine) -> None:
        self._engine = engine
        self._session: sqlalchemy.Connection | None = None

    def ask(self) -> None:
        """Wait for an answer.

        Raises
        ------
        UnavailableError
            If the database is read-only.
        sqlalchemy.exc.SQLAlchemyError
            If there is no answer.
        """
        if self._engine.dialect.name != "postgresql":
            with self._engine.connect() as connection:
                connection.execute(sqlalchemy.text("SELECT 1"))
            return
        # A new session may lead to another server.
        with suppress(sqlalchemy.exc.DBAPIError, psycopg.Error):
            if self._session is not None and _is_writeable(self._session):
                return
        self._close()
        self._session = self._engine.connect()
        is_writeable = False
        try:
            is_writeable = _is_writeable(self._session)
        finally:
            if not is_writeable:
                self._close()
        if not is_writeable:
            raise UnavailableError(
                "the database is read-only; check that its address leads to the primary server, "
                "and default_transaction_read_only",
                "the database",
            )

    def _close(self) -> None:
        if self._session is not None:
            self._session.invalidate()
            self._session.close()
            self._session = None


def _is_writeable(session: sqlalchemy.Connection) -> bool:
    driver = session.connection.dbapi_connection
    if driver is not None:
        session.dialect.do_ping(driver)  # has a shorter limit
    with session.begin():
        return not session.execute(_READ_ONLY).scalar()
