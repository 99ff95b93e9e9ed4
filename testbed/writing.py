"""Write a window of events as a worker does, without a worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from app.butler.commit.isolation import Turn
from app.butler.failures import RetryableError
from app.butler.outcome import Outcome, WriteReport
from app.butler.writer import ButlerWriter
from models.fields import EventContent

__all__ = ["write_until_done", "write_window"]


def write_window(
    writer: ButlerWriter,
    events: Sequence[EventContent],
    *,
    is_current: Callable[[], bool] = lambda: True,
) -> WriteReport[int]:
    """Prepare and commit a window.

    Parameters
    ----------
    writer : `~app.butler.writer.ButlerWriter`
        The writer.
    events : `~collections.abc.Sequence` [`~models.fields.EventContent`]
        The events.
    is_current : `~collections.abc.Callable`, optional
        Whether the window's partitions are still assigned; by default they always are.

    Returns
    -------
    report : `~app.butler.outcome.WriteReport` [`int`]
        The outcome of each event, by its position among the events.
    """
    prepared = writer.prepare(dict(enumerate(events)), is_current=is_current)
    return writer.commit(prepared, is_current=is_current)


def write_until_done(
    writer: ButlerWriter,
    events: Mapping[int, EventContent],
    attempts: int,
) -> dict[int, Outcome]:
    """Write events as a worker does: with new attempts, and turns of their own if postponed.

    Parameters
    ----------
    writer : `~app.butler.writer.ButlerWriter`
        The writer.
    events : `~collections.abc.Mapping` [`int`, `~models.fields.EventContent`]
        The events of a window.
    attempts : `int`
        How many attempts are made in all.

    Returns
    -------
    outcomes : `dict` [`int`, `~app.butler.outcome.Outcome`]
        The outcome of each event that has one by then, in the order in which they had it.
    """
    outcomes: dict[int, Outcome] = {}
    windows = deque([(tuple(events), Turn())])
    for _ in range(attempts):
        if not windows:
            break
        keys, turn = windows.popleft()
        try:
            prepared = writer.prepare(
                {key: events[key] for key in keys}, is_current=lambda: True, turn=turn
            )
            report = writer.commit(prepared, is_current=lambda: True, turn=turn)
        except RetryableError:
            windows.appendleft((keys, Turn(True, turn.is_apart, turn.confirmed)))
            continue
        outcomes |= report.outcomes
        for part in report.postponed:  # those that have not failed come first
            add = windows.append if part.is_failing else windows.appendleft
            add((part.keys, Turn(True, True, part.confirmed)))
    return outcomes
