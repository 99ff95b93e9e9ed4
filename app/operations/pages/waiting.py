"""What waits to be released to a downstream repository: counts by hour and type, and no names.

Each worker has the part of its partitions.  Times are seconds since the Unix epoch.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from app.downstream.waiting import Waiting
from app.operations.pages.asking import NoAnswer
from app.operations.pages.documents import WaitingFigures, WindowsDocument
from app.parts import PartsNotOpenError

if TYPE_CHECKING:
    from app.application import ButlerWriterApp

__all__ = [
    "NOT_DOWNSTREAM",
    "KeptWaiting",
    "ReleaseDocument",
    "WaitingDocument",
    "WaitingHour",
    "combined_waiting",
    "kept_waiting",
    "waiting_figures",
]

#: What workers of the other role say.
NOT_DOWNSTREAM = "This worker writes events of pods: it fills no downstream repository."

#: How many hours, each with a type, are listed; how many of the last releases.
LISTED = 5000
_RELEASES = 20

_SECOND = 1_000_000_000
_HOUR = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingHour:
    """What is due within an hour.

    Attributes
    ----------
    begin : `float`
        The beginning of the hour.
    datasets : `dict` [`str`, `int`]
        The number of datasets by type.
    """

    begin: float
    datasets: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptWaiting:
    """What waits in the partitions that one worker reads.

    Attributes
    ----------
    is_known : `bool`
        Whether the worker knows what waits; it reads that after each rebalance.
    messages, datasets : `int`
        How many wait.
    next_due : `float` or `None`
        When the oldest ones were due, if they are overdue; else the end of the hour in which the
        next ones are due; `None` if none wait.
    hours : `~collections.abc.Sequence` [`WaitingHour`]
        The next hours in which datasets are due.
    held : `dict` [`str`, `int`]
        Datasets that are held until a rule says otherwise, by type.
    without_rule : `dict` [`str`, `int`]
        Datasets that no rule matched since the start of the worker, by type; 0 of a type of which
        some came only before.
    """

    is_known: bool = False
    messages: int = 0
    datasets: int = 0
    next_due: float | None = None
    hours: Sequence[WaitingHour] = ()
    held: Mapping[str, int] = field(default_factory=dict)
    without_rule: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseDocument:
    """A window with datasets that were not in the downstream repository before.

    Attributes
    ----------
    at : `float`
        When it was written.
    batch_id : `str`
        The window.
    datasets : `int`
        How many there were.
    """

    at: float
    batch_id: str
    datasets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingDocument:
    """What waits, of all workers.

    Attributes
    ----------
    not_answering : `~collections.abc.Sequence` [`str`]
        The workers whose part is missing, or that do not know it yet.
    messages, datasets, held_datasets : `int`
        How many wait, and how many are held until a rule says otherwise.
    next_due : `float` or `None`
        When the oldest ones were due, if they are overdue; else the end of the hour in which the
        next ones are due; `None` if none wait.
    hours : `~collections.abc.Sequence` [`WaitingHour`]
        The next hours in which datasets are due.
    held, without_rule : `dict` [`str`, `int`]
        Datasets by type: held until a rule says otherwise, and without a rule since the start of
        the workers.
    releases : `~collections.abc.Sequence` [`ReleaseDocument`]
        The last ones, the newest first.
    """

    at: float
    not_answering: Sequence[str]
    messages: int
    datasets: int
    held_datasets: int
    next_due: float | None
    hours: Sequence[WaitingHour]
    held: Mapping[str, int]
    without_rule: Mapping[str, int]
    releases: Sequence[ReleaseDocument]


def kept_waiting(app: ButlerWriterApp) -> KeptWaiting:
    """Return what waits in the partitions that this worker reads."""
    without_rule = _without_rule(app)
    index = app.status.waiting
    if index is None:
        return KeptWaiting(without_rule=without_rule)
    figures = waiting_figures(index)
    return KeptWaiting(
        is_known=True,
        messages=len(index),
        datasets=figures.datasets,
        next_due=figures.next_due,
        hours=_listed((hour / _SECOND, numbers) for hour, numbers in index.by_hour().items()),
        held=index.held,
        without_rule=without_rule,
    )


def waiting_figures(index: Waiting) -> WaitingFigures:
    """Return how much waits, for the overview."""
    due = None if index.next_time is None else index.next_time / _SECOND
    if due is not None and due * _SECOND > time.time_ns():  # the clock of the releases
        # To the second, it would tell when the observation ended.
        due = (due // _HOUR + 1) * _HOUR
    return WaitingFigures(index.datasets, held=sum(index.held.values()), next_due=due)


def _without_rule(app: ButlerWriterApp) -> dict[str, int]:
    try:
        replica = app.parts.replica
    except PartsNotOpenError:  # it is starting
        return {}
    return {} if replica is None else dict(replica.exclusions.without_rule)


def combined_waiting(
    answers: Mapping[str, KeptWaiting | NoAnswer], windows: WindowsDocument
) -> WaitingDocument:
    """Return what waits in all partitions.

    Parameters
    ----------
    answers : `~collections.abc.Mapping` [`str`, `KeptWaiting` or `NoAnswer`]
        What each worker has answered.
    windows : `WindowsDocument`
        The last flushes.
    """
    kept = {name: each for name, each in answers.items() if not isinstance(each, NoAnswer)}
    known = [each for each in kept.values() if each.is_known]
    by_hour: defaultdict[float, Counter[str]] = defaultdict(Counter)
    for hour in (hour for each in known for hour in each.hours):
        by_hour[hour.begin].update(hour.datasets)
    held = _added(each.held for each in known)
    releases = (
        ReleaseDocument(
            at=flush.started_at + flush.seconds, batch_id=flush.batch_id, datasets=flush.inserted
        )
        for flush in windows.flushes
        if flush.inserted
    )
    return WaitingDocument(
        at=time.time(),
        not_answering=sorted(
            name for name in answers if name not in kept or not kept[name].is_known
        ),
        messages=sum(each.messages for each in known),
        datasets=sum(each.datasets for each in known),
        held_datasets=sum(held.values()),
        next_due=min((e.next_due for e in known if e.next_due is not None), default=None),
        hours=_listed(sorted(by_hour.items())),
        held=held,
        without_rule=_added(each.without_rule for each in kept.values()),
        releases=list(islice(releases, _RELEASES)),
    )


def _listed(hours: Iterable[tuple[float, Mapping[str, int]]]) -> list[WaitingHour]:
    """Return the first hours, up to a number of counts."""
    listed, counts = [], 0
    for begin, numbers in hours:
        counts += len(numbers)
        if counts > LISTED:
            break
        listed.append(WaitingHour(begin=begin, datasets=numbers))
    return listed


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(sorted(total.items()))
