"""What all workers have finished in the last half hour, in intervals of ten seconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.telemetry.recent.activity import INTERVAL, Interval, longest

__all__ = ["SHOWN_SECONDS", "ActivityDocument", "combined"]

#: How far back it goes, in seconds.
SHOWN_SECONDS = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityDocument:
    """The last half hour; the sequences have one entry for each interval, the oldest first.

    Attributes
    ----------
    interval : `int`
        The length of an interval, in seconds.
    times : `~collections.abc.Sequence` [`int`]
        When each begins, in seconds since the Unix epoch.
    events_per_second, datasets_per_second : `~collections.abc.Sequence` [`float`]
        Finished events, and datasets in the Butler.
    longest_latency : `~collections.abc.Sequence` [`float` or `None`]
        The greatest time from the send of an event until it was acked, in seconds.
    dead_letters : `~collections.abc.Sequence` [`int`]
        Events that were set aside.
    """

    interval: int
    times: Sequence[int]
    events_per_second: Sequence[float]
    datasets_per_second: Sequence[float]
    longest_latency: Sequence[float | None]
    dead_letters: Sequence[int]


def combined(now: float, workers: Iterable[Iterable[Interval]]) -> ActivityDocument:
    """Add the intervals of all workers.

    Parameters
    ----------
    now : `float`
        In seconds since the Unix epoch; the interval that has not ended yet is left out.
    workers : `~collections.abc.Iterable`
        The intervals of each worker.
    """
    end = int(now // INTERVAL) * INTERVAL
    times = range(end - SHOWN_SECONDS, end, INTERVAL)
    sums = {at: Interval(at) for at in times}
    for interval in (each for intervals in workers for each in intervals):
        if (total := sums.get(interval.at)) is not None:
            total.events += interval.events
            total.datasets += interval.datasets
            total.dead_letters += interval.dead_letters
            total.latencies.update(interval.latencies)  # only the greatest is asked for
    found = list(sums.values())
    return ActivityDocument(
        interval=INTERVAL,
        times=list(times),
        events_per_second=[each.events / INTERVAL for each in found],
        datasets_per_second=[each.datasets / INTERVAL for each in found],
        longest_latency=[longest(each.latencies) for each in found],
        dead_letters=[each.dead_letters for each in found],
    )
