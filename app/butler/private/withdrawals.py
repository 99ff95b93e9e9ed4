"""How often something was withdrawn from a downstream repository: a number in its database.

A worker that hangs for longer than its session has left its group without knowing: it may write
what was withdrawn meanwhile.  So each of its transactions compares the number with the one that it
read before it read what was withdrawn.
"""

from __future__ import annotations

from typing import Any

from lsst.daf.butler import Butler
from sqlalchemy import func, select

from app.butler.failures import RetryableError
from app.butler.private.registry import RegistryTables
from app.butler.statements import Limits

__all__ = ["Withdrawals"]

#: Longer than PostgreSQL lets a transaction wait for a worker that hangs.
_LIMITS = Limits(statement_timeout=120.0, lock_timeout=60.0)


class Withdrawals:
    """Reads, compares and raises the number of withdrawals, an attribute of the repository.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    group : `str`
        The consumer group that fills it.

    Attributes
    ----------
    expected : `int`
        The number of withdrawals that are known to who prepares what is written.
    is_exceeded : `bool`
        Whether `check` has found more.
    """

    def __init__(self, butler: Butler, group: str) -> None:
        registry: Any = butler._registry  # type: ignore[attr-defined]
        self._butler = butler
        self._attributes = registry._managers.attributes
        self._tables = RegistryTables(butler)
        self._name = f"butler-writer/withdrawals/{group}"
        self.expected = 0
        self.is_exceeded = False

    def number(self) -> int:
        """Return the number."""
        return int(self._attributes.get(self._name, "0"))

    def check(self) -> None:
        """Check that the number is the expected one, until the end of the caller's transaction.

        Raises
        ------
        RetryableError
            If it is another one: what was prepared before may have been withdrawn.
        """
        self._lock(func.pg_advisory_xact_lock_shared)
        self.is_exceeded = self.number() != self.expected
        if self.is_exceeded:
            raise RetryableError("something was withdrawn meanwhile: what it is is read again")

    def add(self) -> None:
        """Raise the number, once all transactions have ended that have checked it."""
        with self._butler.transaction():
            with self._tables.connection() as connection:
                _LIMITS.set(connection)
            self._lock(func.pg_advisory_xact_lock)
            self._attributes.set(self._name, str(self.number() + 1), force=True)

    def _lock(self, lock: Any) -> None:
        """Lock the number; not its row, since that would need the right UPDATE on it.

        In SQLite, a transaction that writes locks everything.
        """
        with self._tables.connection() as connection:
            if connection.dialect.name == "postgresql":
                # In a statement of its own: the next one sees what was committed before.
                connection.execute(select(lock(func.hashtext(self._name)))).all()
