"""Reports flushes to the log, the metrics and the status pages; nothing else does."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import structlog

from app.butler.descriptions import describe_with_type
from app.butler.logins import refused_login
from app.butler.outcome import WriteReport
from app.intake.entries import Entry
from app.telemetry import metrics
from app.telemetry.labels import Step
from app.telemetry.recent.flushes import FlushedEvent, FlushResult, RecentFlush
from app.telemetry.status import Status
from models.dead_letter import DeadLetter

__all__ = ["FlushReports", "FlushSummary", "latency"]

logger = structlog.get_logger("butler_writer")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlushSummary:
    """The result of a flush; the fields are keys of the log line.

    Attributes
    ----------
    batch_id : `str`
        UUID of the batch.
    opened_at : `str`
        When its first event was received.
    offsets : `dict` [`str`, `tuple` [`int`, `int`]]
        The first and the last offset of each partition.
    events, datasets : `int`
        Events of the window, and distinct datasets of those that are in the Butler.
    inserted, already_there : `int`
        Datasets that were inserted, and that had been in the Butler before; together all datasets.
    dead_letters, postponed : `int`
        Events that were set aside, and events that were left to a later flush.
    acked : `int`
        Events that were acked; the others wait for events before them.
    bytes : `int`
        Total size of the window's messages.
    seconds : `float`
        From the first attempt of the first step to the ack.
    step_seconds : `dict` [`str`, `float`]
        The time of each step, with the waits between its attempts.
    max_latency : `float` or `None`
        The greatest time from the send of one of its events to the end of the flush, in seconds;
        `None` if it was abandoned.
    """

    batch_id: str
    opened_at: str
    offsets: dict[str, tuple[int, int]]
    events: int
    datasets: int
    inserted: int
    already_there: int
    dead_letters: int
    postponed: int
    acked: int
    bytes: int
    seconds: float
    step_seconds: dict[str, float]
    max_latency: float | None


class FlushReports:
    """Reports the flushes of a lane, and their steps.

    Parameters
    ----------
    status : `Status`
        The status that the pages show.
    lane : `int`
        The lane's number.
    """

    def __init__(self, status: Status, lane: int) -> None:
        self._status = status
        self._lane = lane

    @contextmanager
    def timing(self, step: Step) -> Iterator[None]:
        """Measure the time of one attempt of a step."""
        running = self._status.step_times.running(step.value, self._lane)
        with metrics.FLUSH_SECONDS.labels(step).time(), running:
            yield

    def failed(
        self, step: Step, error: BaseException, *, attempt: int, wait: float, is_expected: bool
    ) -> None:
        """Report a failed attempt that will be retried.

        Parameters
        ----------
        step : `Step`
            The step.
        error : `BaseException`
            Why it failed.
        attempt : `int`
            The number of the attempt, from 1.
        wait : `float`
            Seconds until the next attempt.
        is_expected : `bool`
            Whether the error may pass by itself; other errors are logged with their traceback.
        """
        self._status.failed(step.value, self._lane, error)
        self._status.note_login(f"{step} {self._lane}", refused_login(error))
        metrics.RETRIES.labels(step).inc()
        logger.warning(
            "step failed, will retry",
            step=step.value,
            lane=self._lane,
            attempt=attempt,
            wait=round(wait, 2),
            error=describe_with_type(error),
            alarm=getattr(error, "alarm", False),
            exc_info=None if is_expected else error,
        )

    async def pause(self, seconds: float) -> None:
        """Wait before the next attempt, or until what was away answers again."""
        await self._status.pauses.sleep(seconds)

    def ended(self, step: Step) -> None:
        """Report that a step has ended: it succeeded, or its window was abandoned."""
        self._status.ended(step.value, self._lane)
        self._status.note_login(f"{step} {self._lane}", None)

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

    def postponed(self, events: list[str], reason: str, *, is_failing: bool) -> None:
        """Report events that are written later, apart from the others.

        Parameters
        ----------
        events : `list` [`str`]
            Their message ids.
        reason : `str`
            Why they are written later.
        is_failing : `bool`
            Whether their write failed.
        """
        if is_failing:
            self._status.postponed(reason)
        logger.log(
            logging.ERROR if is_failing else logging.INFO,
            "events wait for a turn of their own, and hold up no other",
            events=events,
            reason=reason,
        )

    def abandoned(
        self, epoch: int, summary: FlushSummary | None, events: Iterable[FlushedEvent]
    ) -> None:
        """Report a window whose partitions were revoked during its flush.

        Parameters
        ----------
        epoch : `int`
            The window's epoch.
        summary : `FlushSummary` or `None`
            How far the flush came; `None` if no event was left in the window.
        events : `~collections.abc.Iterable` [`FlushedEvent`]
            The window's events.
        """
        logger.info("window abandoned, its events will be redelivered", epoch=epoch)
        if summary is not None:
            self._keep(summary, FlushResult.ABANDONED, events)

    def flushed(
        self, summary: FlushSummary, report: WriteReport[Any], events: Iterable[FlushedEvent]
    ) -> None:
        """Report a window that is written, announced and acked."""
        self._keep(summary, FlushResult.WRITTEN, events)
        self._status.activity.flushed(
            events=summary.events,
            inserted=summary.inserted,
            already_there=summary.already_there,
            dead_letters=summary.dead_letters,
        )
        facts = asdict(summary)
        self._status.flushed(**facts)
        logger.info("window flushed", **facts)
        metrics.WINDOWS.inc()
        metrics.EVENTS.labels("written").inc(summary.events - summary.dead_letters)
        metrics.EVENTS.labels("dead").inc(summary.dead_letters)
        metrics.DATASETS.labels("inserted").inc(summary.inserted)
        metrics.DATASETS.labels("already_there").inc(summary.already_there)
        metrics.MISMATCHED_RECORDS.inc(report.mismatched_records)
        metrics.REPLACED_RECORDS.inc(report.replaced_records)
        metrics.LOST_TAGS.inc(report.lost_tags)
        metrics.WINDOW_EVENTS.observe(summary.events)
        metrics.WINDOW_BYTES.observe(summary.bytes)

    def acked(self, entries: Iterable[Entry]) -> None:
        """Report events that were acked, of this window or of others that waited for it."""
        now = time.time()
        latencies = [latency(entry, now) for entry in entries]
        for seconds in latencies:
            metrics.LATENCY_SECONDS.observe(seconds)
        self._status.activity.acked(latencies)

    def _keep(
        self, summary: FlushSummary, result: FlushResult, events: Iterable[FlushedEvent]
    ) -> None:
        flush = RecentFlush(
            batch_id=summary.batch_id,
            started_at=round(time.time() - summary.seconds, 3),
            lane=self._lane,
            result=result,
            events=summary.events,
            datasets=summary.datasets,
            inserted=summary.inserted,
            already_there=summary.already_there,
            dead_letters=summary.dead_letters,
            postponed=summary.postponed,
            bytes=summary.bytes,
            seconds=summary.seconds,
            step_seconds=summary.step_seconds,
            max_latency=summary.max_latency,
        )
        self._status.recent.add(flush, events)


def latency(entry: Entry, now: float) -> float:
    """Return the time since an event's message was sent; 0 if the sender's clock is ahead."""
    return max(0.0, now - entry.sent_at)
