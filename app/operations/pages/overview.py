"""Puts together what Kafka and the workers say: the overview of the whole service."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from app.kafka.group.members import Group
from app.kafka.group.observer import GroupLook
from app.kafka.group.pending import FirstPending
from app.operations.pages.documents import (
    OverviewDocument,
    PartitionDocument,
    WaitingFigures,
    WorkerDocument,
    WorkerState,
)
from app.operations.pages.verdict import judge
from app.settings import KafkaSettings
from app.telemetry.recent.activity import Totals, percentile

__all__ = ["Standstill", "overview", "partition_documents", "unsaid"]

#: Seconds.  A worker that says that nothing is pending is believed for as long, since it commits
#: what it has finished a second later.
_COMMITTED_WITHIN = 5.0

#: What is the sum of what the workers say.
_ADDED = (
    "bytes_held",
    "max_bytes_held",
    "events_in_windows",
    "windows_in_flight",
    "postponed_events",
    "events_last_quarter",
    "dead_letters_last_quarter",
    "dead_letters_last_hour",
)


class Standstill:
    """Since when the first pending offset of each partition has been the same."""

    def __init__(self) -> None:
        self._since: dict[int, tuple[int, float]] = {}

    def seconds(self, starts: Mapping[int, int]) -> dict[int, float]:
        """Return for how many seconds each has been the same.

        Parameters
        ----------
        starts : `~collections.abc.Mapping` [`int`, `int`]
            The first pending offset of each partition, as of now.
        """
        now = time.monotonic()
        before = self._since
        self._since = {
            number: before[number] if before.get(number, (None,))[0] == start else (start, now)
            for number, start in starts.items()
        }
        return {number: now - since for number, (_, since) in self._since.items()}


def unsaid(
    look: GroupLook, topic: str, workers: Iterable[WorkerDocument], standstill: Mapping[int, float]
) -> dict[int, tuple[int, int]]:
    """Return the partitions with lag whose worker does not say which event is the oldest.

    Parameters
    ----------
    look : `GroupLook`
        The group.
    topic : `str`
        The input topic.
    workers : `~collections.abc.Iterable` [`WorkerDocument`]
        All workers.
    standstill : `~collections.abc.Mapping` [`int`, `float`]
        For how many seconds the first pending offset of each partition has been the same.

    Returns
    -------
    ranges : `dict` [`int`, `tuple` [`int`, `int`]]
        The first pending offset of each, and the end of its log.
    """
    owners = _owners(workers)
    result = {}
    for number, end in look.ends.items():
        owner = owners.get(number)
        is_silent = owner is None or owner.state is None
        if (
            look.lag(number)
            and _said(owner, topic, number) is None
            and (is_silent or standstill[number] >= _COMMITTED_WITHIN)
        ):
            result[number] = look.start(number), end
    return result


def partition_documents(
    look: GroupLook | None,
    topic: str,
    workers: Iterable[WorkerDocument],
    pending: Mapping[int, FirstPending],
) -> list[PartitionDocument]:
    """Return the partitions of the input topic.

    Parameters
    ----------
    look : `GroupLook` or `None`
        The group, if Kafka answers.
    topic : `str`
        The input topic.
    workers : `~collections.abc.Iterable` [`WorkerDocument`]
        All workers.
    pending : `~collections.abc.Mapping` [`int`, `FirstPending`]
        What Kafka says of the partitions whose worker does not.
    """
    owners = _owners(workers)
    result = []
    for number in sorted(owners if look is None else look.ends):
        owner, first = owners.get(number), pending.get(number)
        oldest = _said(owner, topic, number)
        lag = None if look is None else look.lag(number)
        if first is not None and oldest is None:
            oldest = first.sent_at
            lag = lag if first.sent_at is not None else 0  # there are only markers
        result.append(
            PartitionDocument(
                partition=number,
                owner=owner.name if owner else None,
                committed=None if look is None else look.committed.get(number),
                end=None if look is None else look.ends[number],
                lag=lag,
                oldest_pending=oldest,
            )
        )
    return result


def overview(
    kafka: KafkaSettings,
    group: Group | None,
    workers: Sequence[WorkerDocument],
    partitions: Sequence[PartitionDocument],
    no_answer: str | None,
) -> OverviewDocument:
    """Return the whole service.

    Parameters
    ----------
    kafka : `KafkaSettings`
        Names of the topic and the group.
    group : `Group` or `None`
        The group as it was seen last.
    workers, partitions : `~collections.abc.Sequence`
        All workers, and all partitions.
    no_answer : `str` or `None`
        Why Kafka could not be asked.
    """
    at = time.time()
    states = [each.state for each in workers if each.state is not None]
    minutes = [state.last_minute for state in states]
    latencies = sum((Counter(each.latencies) for each in minutes), Counter[int]())
    waiting = _waiting(states)
    sums = {name: sum(getattr(each, name) for each in states) for name in _ADDED}
    state, reasons = judge(
        at=at,
        group=group,
        no_answer=no_answer,
        workers=workers,
        partitions=partitions,
        finished=sum(minute.events for minute in minutes),
        last_quarter=(sums["events_last_quarter"], sums["dead_letters_last_quarter"]),
        next_due=None if waiting is None else waiting.next_due,
    )
    return OverviewDocument(
        at=at,
        state=state,
        reasons=reasons,
        topic=kafka.topic,
        group=kafka.group,
        group_state="unknown" if group is None or no_answer else group.state,
        no_answer=no_answer,
        events_per_second=sum(each.events / each.seconds for each in minutes),
        datasets_per_second=sum(each.datasets / each.seconds for each in minutes),
        latency_p50=percentile(latencies, 0.5),
        latency_p99=percentile(latencies, 0.99),
        lag=None if no_answer else sum(each.lag or 0 for each in partitions),
        oldest_pending=_earliest(each.oldest_pending for each in partitions),
        open_window_events=sum(s.open_window.events for s in states if s.open_window),
        totals=_added(state.totals for state in states),
        waiting=waiting,
        partitions=partitions,
        workers=workers,
        **sums,
    )


def _owners(workers: Iterable[WorkerDocument]) -> dict[int, WorkerDocument]:
    return {number: each for each in workers for number in each.partitions}


def _said(owner: WorkerDocument | None, topic: str, partition: int) -> float | None:
    """Return when the oldest pending event of a partition was sent, as its worker says."""
    if owner is None or owner.state is None:
        return None
    return owner.state.oldest_pending.get(f"{topic}-{partition}")


def _waiting(states: Iterable[WorkerState]) -> WaitingFigures | None:
    """Return what waits in all partitions; `None` if no worker knows it."""
    known = [state.waiting for state in states if state.waiting is not None]
    if not known:
        return None
    return WaitingFigures(
        datasets=sum(each.datasets for each in known),
        held=sum(each.held for each in known),
        next_due=_earliest(each.next_due for each in known),
    )


def _earliest(times: Iterable[float | None]) -> float | None:
    return min((each for each in times if each is not None), default=None)


def _added(totals: Iterable[Totals]) -> Totals:
    result = Totals()
    for each in totals:
        for name in Totals.__slots__:
            setattr(result, name, getattr(result, name) + getattr(each, name))
    return result
