"""Whether events are written, and why not: the heading of the overview."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.kafka.group.members import Group
from app.operations.pages.documents import (
    FlowState,
    PartitionDocument,
    WorkerDocument,
    WorkerState,
)

__all__ = ["are_many_dead_letters", "is_held_back", "judge"]

#: Seconds for which an event may be pending while none is finished.
_PATIENCE = 60.0

#: Seconds for which an event may be pending while others are finished, as for the alert
#: ButlerWriterStuck.
_LONG = 300.0

#: Dead letters of a quarter of an hour that are many: so many at least, and a greater part of the
#: events than this; the alert ButlerWriterManyDeadLetters has the same bounds.
_MANY = 5
_MANY_OF_ALL = 0.05


def are_many_dead_letters(events: int, dead_letters: int) -> bool:
    """Return whether so many events were set aside that somebody has changed something.

    Parameters
    ----------
    events, dead_letters : `int`
        Events that were finished in the last quarter of an hour, and those that were set aside.
    """
    return dead_letters >= _MANY and dead_letters > _MANY_OF_ALL * events


def is_held_back(worker: WorkerState) -> bool:
    """Return whether a sender holds back a worker's events, as the alert ButlerWriterStuck does."""
    return worker.held_back_seconds > _PATIENCE


def judge(
    *,
    at: float,
    group: Group | None,
    no_answer: str | None,
    workers: Sequence[WorkerDocument],
    partitions: Sequence[PartitionDocument],
    finished: int,
    last_quarter: tuple[int, int] = (0, 0),
    next_due: float | None = None,
) -> tuple[FlowState, list[str]]:
    """Return whether events are written, and the reasons.

    Parameters
    ----------
    at : `float`
        Now, in seconds since the Unix epoch.
    group : `Group` or `None`
        The group, if it is known.
    no_answer : `str` or `None`
        Why Kafka could not be asked.
    workers, partitions : `~collections.abc.Sequence`
        All workers, and all partitions.
    finished : `int`
        Number of events that were finished in the last minute.
    last_quarter : `tuple` [`int`, `int`]
        Number of events finished, and of those set aside, in the last quarter of an hour.
    next_due : `float` or `None`
        When datasets were due, or will be, that wait for a downstream repository.
    """
    reasons = list(_problems(group, no_answer, workers, partitions))
    lag = sum(each.lag or 0 for each in partitions)
    pending = [each.oldest_pending for each in partitions if each.oldest_pending is not None]
    waits = at - min(pending) if pending else 0.0
    if lag and not finished and waits > _PATIENCE:
        reasons.append(
            f"No event was finished in the last minute, and the oldest waits for {waits:.0f} s."
        )
    elif waits > _LONG:
        reasons.append(f"The oldest pending event was sent {waits:.0f} s ago.")
    overdue = 0.0 if next_due is None else at - next_due
    is_held_up = overdue > _PATIENCE and not finished
    if is_held_up:
        reasons.append(_not_released(overdue))
    are_many = are_many_dead_letters(*last_quarter)
    can_write = any(each.state and not each.state.not_ready for each in workers)
    is_held_up = is_held_up or bool(lag) or no_answer is not None
    # What was finished in the last minute may have been finished before the worker stopped.
    if reasons and (not can_write or (is_held_up and not finished)):
        state = FlowState.STOPPED
    elif reasons or are_many:
        state = FlowState.IMPAIRED
    elif finished or lag:
        state = FlowState.FLOWING
    else:
        state = FlowState.IDLE
    # Even if all are set aside: the next ones are taken, so this stops nothing.
    return state, [*reasons, _set_aside(*last_quarter)] if are_many else reasons


def _not_released(overdue: float) -> str:
    return (
        "Nothing was released in the last minute, and the oldest datasets have been due for "
        f"{overdue:.0f} s."
    )


def _set_aside(events: int, dead_letters: int) -> str:
    return (
        f"Of the {events:,} events that were finished in the last 15 minutes, "
        f"{dead_letters:,} were set aside."
    )


def _problems(
    group: Group | None,
    no_answer: str | None,
    workers: Sequence[WorkerDocument],
    partitions: Sequence[PartitionDocument],
) -> Iterator[str]:
    if no_answer is not None:
        yield no_answer
    if group is not None and not group.members:
        yield f"No worker is in the group {group.name}."
    if group is not None and group.is_foreign:
        yield f"{group.foreign_members[:1].upper()}{group.foreign_members[1:]}."
    for worker in workers:
        if worker.no_answer is not None:
            yield f"The worker {worker.name} does not answer. {worker.no_answer}"
        elif worker.state is not None and worker.state.not_ready is not None:
            yield f"The worker {worker.name} is not ready: {worker.state.not_ready}."
        if worker.state is not None and is_held_back(worker.state):
            yield (
                f"A sender has left a transaction open for {worker.state.held_back_seconds:.0f} s. "
                f"Events behind it cannot be read by the worker {worker.name}, and are not counted."
            )
    unread = [str(each.partition) for each in partitions if each.owner is None]
    if unread and group is not None and group.members and not group.is_foreign:
        noun = "partition" if len(unread) == 1 else "partitions"
        yield f"No worker reads {noun} {', '.join(unread)} (the group's state: {group.state})."
