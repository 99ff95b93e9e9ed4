"""Limits on the statements of a transaction."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import sqlalchemy

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on each statement of a transaction (PostgreSQL).

    Attributes
    ----------
    statement_timeout, lock_timeout : `float`
        How long a statement may run, and wait for a lock, in seconds.
    """

    statement_timeout: float
    lock_timeout: float

    def set(self, connection: sqlalchemy.Connection) -> None:
        """Set the limits for the rest of a connection's transaction."""
        if connection.dialect.name == "postgresql":
            calls = (
                sqlalchemy.func.set_config(name, f"{round(value * 1000)}", sqlalchemy.true())
                for name, value in asdict(self).items()
            )
            connection.execute(sqlalchemy.select(*calls))
