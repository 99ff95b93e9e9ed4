"""The two log lines about a write that the deployed service's dashboard reads.

Logger and text are a contract.
"""

from __future__ import annotations

import logging
import time

from app.butler.insert.batch import Batch

__all__ = ["WriteTimes"]

_logger = logging.getLogger("timer.lsst.queued_butler_writer.butler")


class WriteTimes:
    """Measures the time of a write, from now on."""

    def __init__(self) -> None:
        self._started = self._records_inserted = time.monotonic()

    def records_inserted(self) -> None:
        """Note that the dimension records are inserted; the datasets follow."""
        self._records_inserted = time.monotonic()

    def log(self, batch: Batch) -> None:
        """Log the times of a batch that was just committed."""
        if not _logger.isEnabledFor(logging.DEBUG):
            return
        records = {key for event in batch.events for key in event.records}
        _logger.debug(
            "inserted %d dimension data records from %d events: Took %.4f seconds",
            len(records),
            len(batch.events),
            self._records_inserted - self._started,
        )
        _logger.debug(
            "ingested %d datasets from %d events: Took %.4f seconds",
            len(batch.datasets),
            len(batch.events),
            time.monotonic() - self._records_inserted,
        )
