"""When datasets came into a repository: the column ``ingest_date``, whose type depends on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy
from astropy.time import Time
from lsst.daf.butler import Butler

from app.butler.private.registry import RegistryTables, engine_of
from app.butler.sessions.limits import Limits

__all__ = ["IngestDates", "Period"]


@dataclass(frozen=True, slots=True)
class Period:
    """When datasets came into a repository.

    Attributes
    ----------
    since, until : `datetime.datetime` or `None`
        At or after the first, and before the second (UTC); `None`: at any time.
    """

    since: datetime | None = None
    until: datetime | None = None


class IngestDates:
    """Finds what came into a repository in a period.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    """

    def __init__(self, butler: Butler) -> None:
        registry: Any = butler._registry  # type: ignore[attr-defined]
        self._engine = engine_of(butler)
        self._is_astropy: bool = registry._managers.datasets._use_astropy_ingest_date
        self._collections = registry._managers.collections
        self._tables = RegistryTables(butler)

    def within(self, period: Period) -> Iterator[sqlalchemy.ColumnElement[bool]]:
        """Yield what is true of the rows of datasets that came in a period."""
        date = self._tables.dataset.columns["ingest_date"]
        if period.since is not None:
            yield date >= self._time(period.since)
        if period.until is not None:
            yield date < self._time(period.until)

    def runs(self, period: Period, limits: Limits) -> set[str]:
        """Return the runs that datasets came into in a period; all datasets are looked at."""
        collection = self._collections._tables.collection
        run = self._tables.dataset.columns[self._tables.run_column]
        recent = sqlalchemy.select(run).where(*self.within(period)).distinct()
        key = collection.columns[self._tables.collection_column]
        statement = sqlalchemy.select(collection.columns.name).where(key.in_(recent))
        with self._engine.connect() as connection:
            limits.set(connection)
            return set(connection.execute(statement).scalars())

    def _time(self, at: datetime) -> Time | datetime:
        return Time(at) if self._is_astropy else at.replace(tzinfo=None)
