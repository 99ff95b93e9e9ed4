"""Notices that sessions of the database were opened, perhaps after a failover."""

from __future__ import annotations

import sqlalchemy

__all__ = ["NewSessions"]


class NewSessions:
    """Tells whether sessions of PostgreSQL were opened since it was asked before.

    A new session may lead to a server that lacks the last commits.  Whoever uses an engine next
    does not see an error: a pooled session that has ended is replaced when it is taken.

    Parameters
    ----------
    engine : `sqlalchemy.Engine`
        The engine whose sessions are watched.
    """

    def __init__(self, engine: sqlalchemy.Engine) -> None:
        self._are_new = False
        if engine.dialect.name == "postgresql":
            sqlalchemy.event.listen(engine, "connect", self._note)

    def _note(self, *_: object) -> None:
        self._are_new = True

    def take(self) -> bool:
        """Return whether there are new sessions; the next call tells about later ones."""
        are_new, self._are_new = self._are_new, False
        return are_new
