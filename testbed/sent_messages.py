"""What the sessions of an engine send to PostgreSQL."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy

__all__ = ["sent_messages"]


@contextmanager
def sent_messages(engine: sqlalchemy.Engine) -> Iterator[list[list[str]]]:
    """Return a list that has every message to the server after the context.

    A message is its time, F(rom the client), its length in bytes, its name and its contents.
    """
    sent: list[list[str]] = []
    with tempfile.TemporaryFile("w+") as file:

        def trace(connection: Any, *_: object) -> None:
            connection.pgconn.trace(file.fileno())

        def end_trace(connection: Any, *_: object) -> None:
            if connection is not None:
                connection.pgconn.untrace()

        listeners = {"checkout": trace, "checkin": end_trace}
        for event, listener in listeners.items():
            sqlalchemy.event.listen(engine, event, listener)
        try:
            yield sent
        finally:
            for event, listener in listeners.items():
                sqlalchemy.event.remove(engine, event, listener)
        file.seek(0)
        sent += [line.rstrip("\n").split("\t") for line in file if "\tF\t" in line]
