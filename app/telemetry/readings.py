"""Sets the gauges that show a worker's state at the moment at which Prometheus asks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from app.intake.fetches import Partition
from app.intake.intake import Intake
from app.telemetry import metrics
from app.telemetry.labels import Needed, Step
from app.telemetry.status import Status

__all__ = ["Readings"]


class Readings:
    """Reads the state of a worker.

    Parameters
    ----------
    status : `Status`
        The status that the pages show.
    intake : `Intake`
        Ledger and windows.
    """

    def __init__(self, status: Status, intake: Intake[Any]) -> None:
        self._status = status
        self._intake = intake
        self._gaps_counted = 0

    def take(self, ends: Mapping[Partition, int], partitions: int) -> None:
        """Set the gauges.

        Parameters
        ----------
        ends : `~collections.abc.Mapping`
            The offset at which each log ends, as far as it is known.
        partitions : `int`
            How many partitions the input topic has; 0 if that is not known.
        """
        self._take_status()
        self._take_intake()
        metrics.INPUT_PARTITIONS.set(partitions)
        self._take_partitions(ends)

    def _take_status(self) -> None:
        status = self._status
        metrics.READY.set(status.not_ready is None)
        metrics.STORE_LOST.set(status.step_failures.is_store_lost)
        for needed in Needed:
            metrics.DEPENDENCY_UP.labels(needed).set(status.is_up(needed))
        for step in Step:
            running, failing = status.step_times, status.step_failures
            metrics.STEP_RUNNING_SECONDS.labels(step).set(running.seconds(step))
            metrics.STEP_FAILING_SECONDS.labels(step).set(failing.seconds(step))

    def _take_intake(self) -> None:
        intake = self._intake
        metrics.BYTES_HELD.set(intake.ledger.bytes_held)
        metrics.MAX_BYTES_HELD.set(intake.max_bytes_held)
        metrics.POSTPONED_EVENTS.set(intake.postponed)
        metrics.BYTES_AHEAD.set(intake.ahead.bytes)
        metrics.ACCEPTED_GAPS.inc(intake.ledger.accepted_gaps - self._gaps_counted)
        self._gaps_counted = intake.ledger.accepted_gaps

    def _take_partitions(self, ends: Mapping[Partition, int]) -> None:
        """Show the assigned partitions; those that were revoked are no longer shown."""
        ledger = self._intake.ledger
        lags, oldest = ledger.lags(ends), ledger.oldest()
        now = time.monotonic()
        metrics.ASSIGNED_PARTITIONS.set(len(lags))
        metrics.CONSUMER_LAG.clear()
        metrics.OLDEST_UNACKED_SECONDS.clear()
        for partition, lag in lags.items():
            label, received = str(partition[1]), oldest[partition]
            metrics.CONSUMER_LAG.labels(label).set(lag)
            metrics.OLDEST_UNACKED_SECONDS.labels(label).set(
                0 if received is None else now - received
            )
