"""Write a window of events as a worker does, without a worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from app.butler.outcome import WriteReport
from app.butler.writer import ButlerWriter
from models.fields import EventContent

__all__ = ["write_window"]


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
