"""What the registry knows of the datasets of a run.  Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy
from astropy.time import Time
from lsst.daf.butler import Butler
from sqlalchemy import func

from app.butler.private.registry import RegistryTables, engine_of
from app.butler.sessions.limits import Limits

__all__ = ["RunStatistics", "run_statistics"]

#: The rows of a run may have no index; a worker's limits would be too short.
_LIMITS = Limits(statement_timeout=600.0, lock_timeout=10.0)


@dataclass(frozen=True, slots=True)
class RunStatistics:
    """How many datasets a run has, and when the first and the last were written.

    Attributes
    ----------
    datasets : `int`
        How many.
    first, last : `float`
        In seconds since the Unix epoch; 0 if there is none.
    """

    datasets: int
    first: float
    last: float


def run_statistics(butler: Butler, run: str) -> RunStatistics:
    """Count the datasets of a run.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    run : `str`
        Name of the run; one that does not exist has no dataset.
    """
    tables = RegistryTables(butler)
    key = tables.collection(run)
    date = tables.dataset.columns["ingest_date"]
    statement = sqlalchemy.select(func.count(), func.min(date), func.max(date)).where(
        tables.dataset.columns[tables.run_column] == key
    )
    with engine_of(butler).connect() as connection:
        _LIMITS.set(connection)
        count, first, last = connection.execute(statement).one()
    return RunStatistics(count, _seconds(first), _seconds(last))


def _seconds(time: Any) -> float:
    if time is None:
        return 0.0
    if isinstance(time, Time):
        return float(time.utc.unix)
    found: datetime = time
    return found.replace(tzinfo=found.tzinfo or UTC).timestamp()
