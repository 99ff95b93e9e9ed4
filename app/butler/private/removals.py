"""How often something was removed from a downstream repository: a number in its database.

A worker prepares a window, and writes it later: if it hangs in between, perhaps for longer than its
session, datasets or files may be removed by then that it has prepared.  So each of its transactions
compares the number with the one that was known when the window was prepared.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lsst.daf.butler import Butler
from sqlalchemy import func, select

from app.butler.failures import RetryableError
from app.butler.private.registry import RegistryTables
from app.butler.sessions.limits import Limits

__all__ = ["Removals"]

#: Longer than PostgreSQL lets a transaction wait for a worker that hangs.
_LIMITS = Limits(statement_timeout=3600.0, lock_timeout=60.0)

#: How long the transaction stays open while files are removed, in milliseconds.
_LONGEST_PAUSE = "3600000"

#: The name of the number among the attributes of the repository, and of its lock.
_NAME = "butler-writer/removals"


class Removals:
    """Reads, compares and raises the number, an attribute of the repository.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.

    Attributes
    ----------
    expected : `int`
        The number that was known when the window was prepared.
    is_exceeded : `bool`
        Whether `check` has found another one.
    """

    def __init__(self, butler: Butler) -> None:
        registry: Any = butler._registry  # type: ignore[attr-defined]
        self._butler = butler
        self._attributes = registry._managers.attributes
        self._tables = RegistryTables(butler)
        self.expected = 0
        self.is_exceeded = False

    def number(self) -> int:
        """Return the number."""
        return int(self._attributes.get(_NAME, "0"))

    def check(self) -> None:
        """Check that the number is the expected one, until the end of the caller's transaction.

        Raises
        ------
        RetryableError
            If it is another one: what was prepared may have been removed.
        """
        self._lock(func.pg_advisory_xact_lock_shared)
        self.is_exceeded = self.number() != self.expected
        if self.is_exceeded:
            raise RetryableError("datasets or files were removed meanwhile: all is prepared again")

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Return a context in which no transaction of a worker is open, and which is counted.

        Entering it waits for those that have checked the number before.  Later ones wait for its
        end, and then find another number.
        """
        with self._butler.transaction():
            with self._tables.connection() as connection:
                _LIMITS.set(connection)
                if connection.dialect.name == "postgresql":
                    name = "idle_in_transaction_session_timeout"
                    connection.execute(select(func.set_config(name, _LONGEST_PAUSE, True)))
            self._lock(func.pg_advisory_xact_lock)
            self._attributes.set(_NAME, str(self.number() + 1), force=True)
            yield

    def _lock(self, lock: Any) -> None:
        """Lock the number; not its row, since that would need the right UPDATE on it.

        In SQLite, a transaction that writes locks everything.
        """
        with self._tables.connection() as connection:
            if connection.dialect.name == "postgresql":
                # In a statement of its own: the next one sees what was committed before.
                connection.execute(select(lock(func.hashtext(_NAME)))).all()
