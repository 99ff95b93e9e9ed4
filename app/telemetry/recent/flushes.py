"""The last flushes of a worker, and what became of their events.

The memory is bounded: `FLUSHES` flushes, `EVENTS` events of all of them together, and
`EVENTS_OF_A_FLUSH` of one.  That is about 3 MB for usual events, and at most 12 MB if each has the
longest texts that are kept (a test measures it).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = [
    "EVENTS",
    "EVENTS_OF_A_FLUSH",
    "FLUSHES",
    "EventResult",
    "FlushDetail",
    "FlushResult",
    "FlushedEvent",
    "RecentFlush",
    "RecentFlushes",
]

#: How many flushes are kept.
FLUSHES = 500

#: How many events are kept: of all flushes together, and of one flush.
EVENTS = 10_000
EVENTS_OF_A_FLUSH = 1_000

#: How many runs of an event, and how many characters of a text, are kept.
_RUNS = 3
_CHARACTERS = 200


class FlushResult(StrEnum):
    """How a flush ended."""

    WRITTEN = "written"
    """Its events are written and announced, or set aside."""

    ABANDONED = "abandoned"
    """Its partitions were revoked, so its events are redelivered."""


class EventResult(StrEnum):
    """What became of an event in a flush."""

    WRITTEN = "written"
    SET_ASIDE = "set aside"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class FlushedEvent:
    """An event of a flush.

    Attributes
    ----------
    topic, partition, offset
        Its message id.
    bytes : `int`
        The size of its message.
    result : `EventResult`
        What became of it.
    datasets : `int`
        Number of its datasets that are in the Butler.
    runs : `tuple` [`str`, ...]
        Their runs; the first few.
    cause, reason : `str` or `None`
        Why it was set aside; the dead letter has the whole reason.
    """

    topic: str
    partition: int
    offset: int
    bytes: int
    result: EventResult
    datasets: int = 0
    runs: tuple[str, ...] = ()
    cause: str | None = None
    reason: str | None = None

    @classmethod
    def of(
        cls,
        message: tuple[str, int, int],
        size: int,
        result: EventResult,
        *,
        runs: Mapping[str, int] | None = None,
        rejection: tuple[str, str] | None = None,
    ) -> FlushedEvent:
        """Return what is kept of an event.

        Parameters
        ----------
        message : `tuple` [`str`, `int`, `int`]
            Topic, partition and offset.
        size : `int`
            The size of its message, in bytes.
        result : `EventResult`
            What became of it.
        runs : `~collections.abc.Mapping` [`str`, `int`], optional
            The number of its datasets in each run.
        rejection : `tuple` [`str`, `str`], optional
            The cause and the reason.
        """
        runs = runs or {}
        cause, reason = rejection or (None, None)
        return cls(
            *message,
            size,
            result,
            sum(runs.values()),
            tuple(_cut(run) for run in sorted(runs)[:_RUNS]),
            cause,
            None if reason is None else _cut(reason),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentFlush:
    """A flush that has ended; `app.telemetry.flush_reports.FlushSummary` explains most fields.

    Attributes
    ----------
    started_at : `float`
        When it began, in seconds since the Unix epoch.
    lane : `int`
        The number of its lane.
    result : `FlushResult`
        How it ended.
    postponed : `int`
        Events that were left to a later flush; they do not count as events of this one.
    """

    batch_id: str
    started_at: float
    lane: int
    result: FlushResult
    events: int
    datasets: int
    inserted: int
    already_there: int
    dead_letters: int
    postponed: int
    bytes: int
    seconds: float
    step_seconds: dict[str, float]
    max_latency: float | None


@dataclass(frozen=True, slots=True)
class FlushDetail:
    """A flush and its events.

    Attributes
    ----------
    flush : `RecentFlush`
        The flush.
    events : `~collections.abc.Sequence` [`FlushedEvent`]
        Its events, as far as they are kept; those that were set aside first.
    """

    flush: RecentFlush
    events: Sequence[FlushedEvent]


@dataclass(slots=True)
class RecentFlushes:
    """The last flushes of a worker."""

    _details: deque[FlushDetail] = field(default_factory=deque)
    _with_events: deque[FlushDetail] = field(default_factory=deque)
    _events: int = 0

    def add(self, flush: RecentFlush, events: Iterable[FlushedEvent]) -> None:
        """Keep a flush; forget the oldest one, and the events of others, at the bounds."""
        # Those that were set aside are looked for, and come first if not all can be kept.
        ordered = sorted(events, key=lambda event: event.result is not EventResult.SET_ASIDE)
        detail = FlushDetail(flush, ordered[:EVENTS_OF_A_FLUSH])
        self._details.append(detail)
        self._with_events.append(detail)
        self._events += len(detail.events)
        while self._events > EVENTS or len(self._with_events) > FLUSHES:
            self._forget_events(self._with_events.popleft())
        if len(self._details) > FLUSHES:
            self._details.popleft()

    def _forget_events(self, oldest: FlushDetail) -> None:
        self._events -= len(oldest.events)
        # Both deques are in the same order, so this is among the first of those with events.
        for index, detail in enumerate(self._details):
            if detail is oldest:
                self._details[index] = FlushDetail(oldest.flush, ())
                return

    def newest_first(self) -> list[RecentFlush]:
        """Return the flushes, the last one first."""
        return [detail.flush for detail in reversed(self._details)]

    def detail(self, batch_id: str) -> FlushDetail | None:
        """Return the last flush of a batch; it has several if its events were delivered again."""
        for detail in reversed(self._details):
            if detail.flush.batch_id == batch_id:
                return detail
        return None


def _cut(text: str) -> str:
    return text if len(text) <= _CHARACTERS else f"{text[: _CHARACTERS - 3]}..."
