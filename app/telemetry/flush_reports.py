"""The one place that reports a flush: to the log, to the metrics, and to the status pages."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from enum import StrEnum

import structlog

from app.telemetry import metrics
from app.telemetry.status import Status
from models.dead_letter import DeadLetter

__all__ = ["FlushReports", "FlushSummary", "Step"]

logger = structlog.get_logger("butler_writer")


class Step(StrEnum):
    """The steps of a flush, by the names that metrics, log and pages give them.

    A public contract: dashboards select by these values.
    """

    READ = "read"
    """The events are parsed, and their artifacts are looked for."""

    WRITE = "write"
    """The transaction of the Butler."""

    PREPEND_TO_CHAINS = "prepend_to_chains"
    """Runs that are new are prepended to their chains."""

    SET_ASIDE = "set_aside"
    """Events that can never be written are sent to the dead letters."""

    ANNOUNCE = "announce"
    """The dataset list is written; the announcement and the chain updates are sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlushSummary:
    """What a flush has done; the fields are keys of the log line.

    Attributes
    ----------
    batch_id : `str`
        UUID of the batch.
    events, datasets : `int`
        Events of the window, and datasets of those that are in the Butler.
    inserted, already_there : `int`
        Datasets that the transaction inserted, and that were in the Butler before.
    dead_letters : `int`
        Events that were set aside.
    acked : `int`
        Events that could be acked; the others wait for those before them.
    bytes : `int`
        Size of the window's messages.
    seconds : `float`
        From the first try of the first step to the ack.
    """

    batch_id: str
    events: int
    datasets: int
    inserted: int
    already_there: int
    dead_letters: int
    acked: int
    bytes: int
    seconds: float


class FlushReports:
    """Reports flushes and what happens on their way.

    Parameters
    ----------
    status : `Status`
        What the pages show.
    """

    def __init__(self, status: Status) -> None:
        self._status = status

    def timing(self, step: Step) -> AbstractContextManager[object]:
        """Measure a try of a step."""
        return metrics.FLUSH_SECONDS.labels(step).time()

    def failed(
        self, step: Step, error: BaseException, *, attempt: int, wait: float, is_expected: bool
    ) -> None:
        """Report a try that failed, and that is followed by another.

        Parameters
        ----------
        step : `Step`
            The step.
        error : `BaseException`
            Why it failed.
        attempt : `int`
            The number of the try, from 1.
        wait : `float`
            Seconds until the next one.
        is_expected : `bool`
            Whether the error is one that waiting is the answer to; others are logged with their
            traceback.
        """
        self._status.failed(step.value, error)
        metrics.RETRIES.labels(step).inc()
        logger.warning(
            "step failed, will be tried again",
            step=step.value,
            attempt=attempt,
            wait=round(wait, 2),
            error=f"{type(error).__name__}: {error}",
            alarm=getattr(error, "alarm", False),
            exc_info=None if is_expected else error,
        )

    def ended(self, step: Step) -> None:
        """Report that a step is not tried any longer: it succeeded, or its window is void."""
        self._status.over(step.value)

    def set_aside(self, letter: DeadLetter) -> None:
        """Report an event that was sent to the dead letters."""
        metrics.DEAD_LETTERS.labels(letter.error_class).inc()
        logger.error(
            "event set aside",
            topic=letter.topic,
            partition=letter.partition,
            offset=letter.offset,
            error_class=letter.error_class,
            reason=letter.reason,
        )

    def abandoned(self, epoch: int) -> None:
        """Report a window whose partitions were revoked during its flush."""
        logger.info("window abandoned, its events will be redelivered", epoch=epoch)

    def flushed(self, summary: FlushSummary, mismatched_records: int) -> None:
        """Report a window that is written, announced and acked."""
        facts = asdict(summary)
        self._status.flushed(**facts)
        logger.info("window flushed", **facts)
        metrics.WINDOWS.inc()
        metrics.EVENTS.labels("written").inc(summary.events - summary.dead_letters)
        metrics.EVENTS.labels("dead").inc(summary.dead_letters)
        metrics.DATASETS.labels("inserted").inc(summary.inserted)
        metrics.DATASETS.labels("already_there").inc(summary.already_there)
        metrics.MISMATCHED_RECORDS.inc(mismatched_records)
