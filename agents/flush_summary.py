"""What the log says about a flush that has ended."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from app.butler.outcome import WriteReport, Written
from app.intake.entries import Entry
from app.intake.windows import Window
from app.telemetry.flush_reports import FlushSummary, latency

__all__ = ["summary_of"]


def summary_of(
    window: Window[Any],
    report: WriteReport[Any],
    acked: Sequence[Entry],
    *,
    batch_id: UUID,
    dead_letters: int,
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
    acked : `~collections.abc.Sequence` [`Entry`]
        The events that were acked after the flush.
    batch_id : `uuid.UUID`
        The batch's identity.
    dead_letters : `int`
        How many events were set aside.
    started : `float`
        When the flush began, in seconds of the monotonic clock.
    step_seconds : `~collections.abc.Mapping` [`str`, `float`]
        How long each step took.
    """
    entries = [arrival.entry for arrival in window.arrivals]
    now = time.time()
    # Each dataset once, though several events may bring it, so that the figures add up.
    datasets = {
        dataset_id
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
        acked=len(acked),
        bytes=window.bytes,
        seconds=round(time.monotonic() - started, 3),
        step_seconds=dict(step_seconds),
        max_latency=round(max(latency(entry, now) for entry in acked), 3) if acked else None,
    )


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
