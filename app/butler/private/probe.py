"""Find out whether a repository takes rows, whatever the events contain."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn

import sqlalchemy
import structlog
from lsst.daf.butler import Butler

from app.butler.descriptions import describe_with_type
from app.butler.failures import Failure, RetryableError, classify
from app.butler.probe_rows import NoRowError, ProbeRows

__all__ = ["Probe"]

logger = structlog.get_logger("butler_writer")

#: Limits on the probe's own statements, in seconds (PostgreSQL).
_STATEMENT_TIMEOUT = 10.0
_LOCK_TIMEOUT = 5.0

#: Rows of a table that are inserted with one statement.
_AT_ONCE = 200

_LIMITS = ("statement_timeout", "lock_timeout")


class _RollBack(Exception):  # noqa: N818 - no error
    """Ends the transaction of a probe."""


def _roll_back() -> NoReturn:
    raise _RollBack


class Probe:
    """Decides whether the repository is at fault (rule fault-decided-by-evidence).

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The Butler whose write failed.
    """

    def __init__(self, butler: Butler) -> None:
        self._butler = butler

    @contextmanager
    def transaction(
        self,
        tables: Callable[[], Collection[sqlalchemy.Table]],
        known_good: Callable[[], None] = lambda: None,
    ) -> Iterator[None]:
        """Return a context whose transaction has taken a row for each of some tables.

        The transaction is rolled back in any case.  As long as it lasts, its locks keep others from
        changing the tables: what fails in it fails because of what it contains.

        Parameters
        ----------
        tables : `~collections.abc.Callable`
            Returns the tables.
        known_good : `~collections.abc.Callable`, optional
            Writes something else that the repository should take.

        Raises
        ------
        RetryableError
            If the repository does not take the rows, or if no rows can be made.
        """
        database: Any = self._butler._registry._db  # type: ignore[attr-defined]
        try:
            with ExitStack() as stack:
                try:
                    stack.enter_context(self._butler.transaction())
                    connection = stack.enter_context(database._session())
                    with _limited(connection):
                        ProbeRows(connection, list(tables()), self._values()).insert()
                        known_good()
                except Exception as exc:
                    raise RetryableError(
                        "the repository does not take rows that are known to be good: "
                        f"{describe_with_type(exc)}",
                        alarm=classify(exc) is not Failure.RETRY,
                    ) from exc
                yield
                _roll_back()
        except _RollBack:
            pass
        finally:
            self._refresh()

    def _refresh(self) -> None:
        """Forget what was registered: it is gone."""
        try:
            self._butler.registry.refresh()
        except sqlalchemy.exc.SQLAlchemyError as exc:
            raise RetryableError(describe_with_type(exc)) from exc

    def takes_rows(
        self, tables: Callable[[], Collection[sqlalchemy.Table]], times: int, seconds: float
    ) -> bool:
        """Tell whether the repository takes a number of rows within a time; nothing is written.

        Parameters
        ----------
        tables : `~collections.abc.Callable`
            Returns the tables.
        times : `int`
            How many rows each table gets.
        seconds : `float`
            The time.
        """
        deadline = time.monotonic() + seconds
        database: Any = self._butler._registry._db  # type: ignore[attr-defined]
        try:
            with self.transaction(tables), database._session() as connection:
                given = list(tables())
                for done in range(0, times, _AT_ONCE):
                    number = min(_AT_ONCE, times - done)
                    ProbeRows(connection, given, self._values(), number).insert()
                    if time.monotonic() > deadline:
                        return False
        except (NoRowError, RetryableError, sqlalchemy.exc.SQLAlchemyError) as exc:
            logger.warning("the probe failed", error=describe_with_type(exc))
            return False
        return time.monotonic() <= deadline

    def _values(self) -> dict[str, Any]:
        pixels = self._butler.dimensions.commonSkyPix  # Butler reads the rows, and takes no others
        return {"skypix_system": pixels.system.name, "skypix_level": pixels.level}

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Return a context that is rolled back alone if it fails; inside of `transaction`."""
        with self._butler._registry._db.transaction(savepoint=True):  # type: ignore[attr-defined]
            yield


@contextmanager
def _limited(connection: sqlalchemy.Connection) -> Iterator[None]:
    """Limit the statements in a context, then restore the limits of the transaction."""
    if connection.dialect.name != "postgresql":
        yield
        return
    current = sqlalchemy.select(*(sqlalchemy.func.current_setting(name) for name in _LIMITS))
    before = connection.execute(current).one()
    _set(connection, (f"{_STATEMENT_TIMEOUT}s", f"{_LOCK_TIMEOUT}s"))
    yield
    _set(connection, before)
    # A constraint that is checked at the commit would never be checked.
    connection.execute(sqlalchemy.text("SET CONSTRAINTS ALL IMMEDIATE"))


def _set(connection: sqlalchemy.Connection, values: Collection[str]) -> None:
    calls = (
        sqlalchemy.func.set_config(name, value, sqlalchemy.true())
        for name, value in zip(_LIMITS, values, strict=True)
    )
    connection.execute(sqlalchemy.select(*calls))
