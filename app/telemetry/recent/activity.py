"""How much a worker has written lately, and how fast: in total, and in intervals of ten seconds.

The figures of several workers can be added, so each page shows those of all workers.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

__all__ = ["INTERVAL", "Activity", "Interval", "Minute", "Totals", "longest", "percentile"]

#: Length of an interval, in seconds, and how many are kept: those of an hour.
INTERVAL = 10
_KEPT = 3600 // INTERVAL + 1

#: Latencies are counted in classes, each reaching 5 % farther than the one before: from 10 ms on.
_SHORTEST = 0.01
_RATIO = 1.05


@dataclass(slots=True)
class Totals:
    """Counts since the worker has started; `datasets` are `inserted` and `already_there`."""

    flushes: int = 0
    events: int = 0
    datasets: int = 0
    inserted: int = 0
    already_there: int = 0
    dead_letters: int = 0


@dataclass(slots=True)
class Interval:
    """What was finished within one interval.

    Attributes
    ----------
    at : `int`
        When it begins, in seconds since the Unix epoch.
    latencies : `dict` [`int`, `int`]
        The number of acked events of each class of latencies.
    """

    at: int
    events: int = 0
    datasets: int = 0
    dead_letters: int = 0
    latencies: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Minute:
    """What was finished within the last minute.

    Attributes
    ----------
    seconds : `float`
        Its length: less than a minute if the worker has just started.
    latencies : `dict` [`int`, `int`]
        The number of acked events of each class of latencies.
    """

    seconds: float = 60.0
    events: int = 0
    datasets: int = 0
    latencies: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Activity:
    """Counts what a worker finishes.

    Attributes
    ----------
    totals : `Totals`
        Since the worker has started.
    clock : `~collections.abc.Callable`
        Returns the time in seconds since the Unix epoch, so that workers have the same intervals.
    """

    totals: Totals = field(default_factory=Totals)
    clock: Callable[[], float] = time.time
    _intervals: deque[Interval] = field(default_factory=lambda: deque(maxlen=_KEPT))
    _started: float | None = None

    def __post_init__(self) -> None:
        self._started = self.clock()

    def flushed(self, *, events: int, inserted: int, already_there: int, dead_letters: int) -> None:
        """Count a window that is written and announced."""
        now, totals = self._now(), self.totals
        datasets = inserted + already_there
        totals.flushes += 1
        totals.events += events
        totals.datasets += datasets
        totals.inserted += inserted
        totals.already_there += already_there
        totals.dead_letters += dead_letters
        now.events += events
        now.datasets += datasets
        now.dead_letters += dead_letters

    def acked(self, latencies: Iterable[float]) -> None:
        """Count events that were acked."""
        counts = self._now().latencies
        for latency in latencies:
            number = _class_of(latency)
            counts[number] = counts.get(number, 0) + 1

    def minute(self) -> Minute:
        """Return what was finished within the last minute."""
        now = self.clock()
        # The current interval has just begun; six whole ones come before it.
        first = (now // INTERVAL - 60 // INTERVAL) * INTERVAL
        latencies: Counter[int] = Counter()
        last = self.since(first)
        for interval in last:
            latencies.update(interval.latencies)
        return Minute(
            max(1.0, min(now - first, now - (self._started or now))),
            sum(interval.events for interval in last),
            sum(interval.datasets for interval in last),
            dict(latencies),
        )

    def since(self, at: float) -> list[Interval]:
        """Return the intervals that begin at a time or later, the oldest first."""
        return [interval for interval in self._intervals if interval.at >= at]

    def events_since(self, at: float) -> int:
        """Return how many events were finished since a time of the last hour."""
        return sum(interval.events for interval in self.since(at))

    def dead_letters_since(self, at: float) -> int:
        """Return how many events were set aside since a time of the last hour."""
        return sum(interval.dead_letters for interval in self.since(at))

    def _now(self) -> Interval:
        at = int(self.clock() // INTERVAL) * INTERVAL
        # A clock that is set back does not begin an interval.
        if not self._intervals or self._intervals[-1].at < at:
            self._intervals.append(Interval(at))
        return self._intervals[-1]


def longest(latencies: Mapping[int, int]) -> float | None:
    """Return the greatest of counted latencies, in seconds, to 5 %; `None` if there are none."""
    return float(_SHORTEST * _RATIO ** max(latencies)) if latencies else None


def percentile(latencies: Mapping[int, int], fraction: float) -> float | None:
    """Return a percentile of counted latencies, in seconds, to 5 %; `None` if there are none.

    Parameters
    ----------
    latencies : `~collections.abc.Mapping` [`int`, `int`]
        The number of events of each class.
    fraction : `float`
        Such as 0.5.
    """
    rest = fraction * sum(latencies.values())
    for number, count in sorted(latencies.items()):
        rest -= count
        if rest <= 0:
            return float(_SHORTEST * _RATIO**number)
    return None


def _class_of(latency: float) -> int:
    return max(0, math.ceil(math.log(max(latency, _SHORTEST) / _SHORTEST, _RATIO)))
