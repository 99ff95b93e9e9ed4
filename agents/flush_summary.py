"""What the log and the pages say about a flush that has ended."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from app.butler.outcome import Outcome, Rejection, WriteReport, Written
from app.intake.entries import Entry
from app.intake.windows import Arrival, Window
from app.telemetry.flush_reports import FlushSummary, latency
from app.telemetry.recent.flushes import EventResult, FlushedEvent

__all__ = ["flushed_events", "summary_of"]


def summary_of(
    window: Window[Any],
    report: WriteReport[Any],
    acked: Sequence[Entry] | None,
    *,
    batch_id: UUID,
    dead_letters: int,
    postponed: int,
    started: float,
    step_seconds: Mapping[str, float],
) -> FlushSummary:
    """Summarize a flush that has just ended.

    Parameters
    ----------
    window : `Window`
        The window; not empty.
    report : `WriteReport`
        What was written.
    acked : `~collections.abc.Sequence` [`Entry`] or `None`
        The events that were acked after the flush, of this window or of others; `None` if it was
        abandoned.
    batch_id : `uuid.UUID`
        The batch's identity.
    dead_letters, postponed : `int`
        How many events were set aside, and left to a later flush.
    started : `float`
        When the flush began, in seconds of the monotonic clock.
    step_seconds : `~collections.abc.Mapping` [`str`, `float`]
        How long each step took.
    """
    entries = [arrival.entry for arrival in window.arrivals]
    now = time.time()
    # Each dataset once, though several events may bring it, so that the figures add up.
    datasets = {
        dataset_id.bytes  # a sender can choose ids for which Python's hash is the same
        for outcome in report.outcomes.values()
        if isinstance(outcome, Written)
        for dataset_id in outcome.dataset_ids
    }
    return FlushSummary(
        batch_id=str(batch_id),
        opened_at=_as_time(min(entry.received_at for entry in entries)),
        offsets=_offsets(entries),
        events=len(entries),
        datasets=len(datasets),
        inserted=report.inserted,
        already_there=len(datasets) - report.inserted,
        dead_letters=dead_letters,
        postponed=postponed,
        acked=len(acked or ()),
        bytes=window.bytes,
        seconds=round(time.monotonic() - started, 3),
        step_seconds=dict(step_seconds),
        # Not of those that were acked: they may wait for events of another window.
        max_latency=None if acked is None else round(max(latency(e, now) for e in entries), 3),
    )


def flushed_events(
    window: Window[Any], outcomes: Mapping[Arrival[Any], Outcome], *, is_abandoned: bool = False
) -> Iterator[FlushedEvent]:
    """Yield what became of each event of a window.

    Parameters
    ----------
    window : `Window`
        The window.
    outcomes : `~collections.abc.Mapping` [`Arrival`, `Outcome`]
        The outcomes of its events.
    is_abandoned : `bool`, optional
        Whether the flush was abandoned, so that no outcome is final.
    """
    for arrival in window.arrivals:
        entry = arrival.entry
        message = (*entry.partition, entry.offset)
        outcome = None if is_abandoned else outcomes.get(arrival)
        match outcome:
            case Written(runs=runs):
                yield FlushedEvent.of(message, entry.size, EventResult.WRITTEN, runs=runs)
            case Rejection(cause=cause, reason=reason):
                yield FlushedEvent.of(
                    message, entry.size, EventResult.SET_ASIDE, rejection=(str(cause), reason)
                )
            case _:
                yield FlushedEvent.of(message, entry.size, EventResult.ABANDONED)


def _as_time(monotonic: float) -> str:
    """Return a time of the monotonic clock as UTC, in the format of log lines."""
    seconds = time.time() - (time.monotonic() - monotonic)
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _offsets(entries: Iterable[Entry]) -> dict[str, tuple[int, int]]:
    """Return the first and the last offset of each partition."""
    offsets: dict[int, list[int]] = {}
    for entry in entries:
        offsets.setdefault(entry.partition[1], []).append(entry.offset)
    return {str(number): (min(each), max(each)) for number, each in sorted(offsets.items())}
