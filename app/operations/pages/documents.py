"""What the pages show, as plain data; the same content is the JSON below ``/api/v1``.

Times are seconds since the Unix epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from app.telemetry.recent.activity import Minute, Totals
from app.telemetry.recent.flushes import FlushedEvent, RecentFlush

__all__ = [
    "FlowState",
    "LastError",
    "OpenWindow",
    "OverviewDocument",
    "PartitionDocument",
    "WaitingFigures",
    "WindowDocument",
    "WindowsDocument",
    "WorkerDocument",
    "WorkerFlush",
    "WorkerState",
    "WorkersDocument",
]


class FlowState(StrEnum):
    """Whether events are written."""

    FLOWING = "flowing"
    """Events are written, and nothing is wrong."""

    IDLE = "idle"
    """There is nothing to write, and nothing is wrong."""

    IMPAIRED = "impaired"
    """Events are written, or there are none; but something is wrong."""

    STOPPED = "stopped"
    """Events wait, and none is written; or no worker is there that could write them."""


@dataclass(frozen=True, slots=True)
class LastError:
    """The step that failed last (perhaps it succeeded since), its error, and when that was."""

    step: str
    error: str
    at: float


@dataclass(frozen=True, slots=True)
class OpenWindow:
    """The window that takes the events that arrive now."""

    events: int
    bytes: int


@dataclass(frozen=True, slots=True)
class WaitingFigures:
    """How much waits to be released.

    Attributes
    ----------
    datasets, held : `int`
        How many datasets wait for their time, and how many are held.
    next_due : `float` or `None`
        When the oldest ones were due, if they are overdue; else the end of the hour in which the
        next ones are due; `None` if none wait.
    """

    datasets: int
    held: int
    next_due: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerState:
    """What is read of a worker's page ``/state``; another release may lack some of it.

    Attributes
    ----------
    held_back_seconds : `float`
        For how long a sender's open transaction has held back a partition; 0 if none does.
    oldest_pending : `dict` [`str`, `float` or `None`]
        When the oldest event that is not acked was sent, for each partition.
    waiting : `WaitingFigures` or `None`
        What waits to be released, if the worker fills a downstream repository and knows it.
    """

    version: str
    started_at: float
    not_ready: str | None
    last_error: LastError | None = None
    memory_bytes: int | None = None
    open_window: OpenWindow | None = None
    windows_in_flight: int = 0
    events_in_windows: int = 0
    postponed_events: int = 0
    bytes_held: int = 0
    max_bytes_held: int = 0
    held_back_seconds: float = 0.0
    totals: Totals = field(default_factory=Totals)
    last_minute: Minute = field(default_factory=Minute)
    events_last_quarter: int = 0
    dead_letters_last_quarter: int = 0
    dead_letters_last_hour: int = 0
    oldest_pending: dict[str, float | None] = field(default_factory=dict)
    waiting: WaitingFigures | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerDocument:
    """A worker.

    Attributes
    ----------
    pages : `str` or `None`
        The address of its pages, which is its name.
    host : `str`
        Its address as the brokers see it.
    is_member : `bool`
        Whether it is in the group; a starting worker is not.
    partitions : `~collections.abc.Sequence` [`int`]
        The partitions of the input topic that it reads; a spare worker has none.
    no_answer : `str` or `None`
        Why nothing more is known of it; `None` if it answers.
    state : `WorkerState` or `None`
        What it says of itself.
    """

    pages: str | None
    host: str
    is_member: bool
    partitions: Sequence[int]
    no_answer: str | None
    state: WorkerState | None

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return self.pages or self.host


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionDocument:
    """A partition of the input topic; numbers are `None` while Kafka does not answer.

    Attributes
    ----------
    owner : `str` or `None`
        The worker that reads it.
    committed : `int` or `None`
        The committed offset.
    end : `int` or `None`
        The offset after the last message that can be read.
    lag : `int` or `None`
        Offsets from the committed one to the end.
    oldest_pending : `float` or `None`
        When its oldest pending event was sent; `None` if there is none, or its worker does not say.
    """

    partition: int
    owner: str | None
    committed: int | None
    end: int | None
    lag: int | None
    oldest_pending: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewDocument:
    """The whole service.

    Attributes
    ----------
    at : `float`
        When this was found out; all that follows is as of then.
    state : `FlowState`
        Whether events are written.
    reasons : `~collections.abc.Sequence` [`str`]
        Why; what is wrong, each in one sentence.
    no_answer : `str` or `None`
        Why Kafka could not be asked.
    events_per_second, datasets_per_second : `float`
        Of the last minute, finished events and datasets in the Butler.
    latency_p50, latency_p99 : `float` or `None`
        Seconds from the send of an event until it was acked, of the last minute.
    lag : `int` or `None`
        Of all partitions together.
    events_last_quarter, dead_letters_last_quarter : `int`
        Events that were finished in the last quarter of an hour, and those of them that were set
        aside.
    totals : `Totals`
        Since each worker has started.
    waiting : `WaitingFigures` or `None`
        What waits to be released, if the workers fill a downstream repository and know it.
    """

    at: float
    state: FlowState
    reasons: Sequence[str]
    topic: str
    group: str
    group_state: str
    no_answer: str | None
    events_per_second: float
    datasets_per_second: float
    latency_p50: float | None
    latency_p99: float | None
    lag: int | None
    oldest_pending: float | None
    bytes_held: int
    max_bytes_held: int
    open_window_events: int
    events_in_windows: int
    windows_in_flight: int
    postponed_events: int
    events_last_quarter: int
    dead_letters_last_quarter: int
    dead_letters_last_hour: int
    totals: Totals
    waiting: WaitingFigures | None
    partitions: Sequence[PartitionDocument]
    workers: Sequence[WorkerDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersDocument:
    """All workers of the group."""

    at: float
    group: str
    group_state: str
    no_answer: str | None
    workers: Sequence[WorkerDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFlush(RecentFlush):
    """A flush, and the worker that made it."""

    worker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsDocument:
    """The last flushes of all workers, the last one first.

    Attributes
    ----------
    not_answering : `~collections.abc.Sequence` [`str`]
        The workers whose flushes are missing.
    """

    at: float
    not_answering: Sequence[str]
    flushes: Sequence[WorkerFlush]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowDocument:
    """One flush, and its events as far as its worker still has them."""

    flush: WorkerFlush
    events: Sequence[FlushedEvent]
