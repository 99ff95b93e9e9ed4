"""A message of the product log that is read again, since some of its datasets are due.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.downstream.waiting import Due
from app.intake.received import Received

__all__ = ["DueMessage"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DueMessage(Received):
    """A message that was acked before, and is read again.

    Attributes
    ----------
    due : `Due`
        The entry of the table `waiting` that it was read for.
    since : `int`
        What was due before this time was released before, in nanoseconds of Unix time.
    is_removed : `bool`
        Whether the log no longer has it.
    """

    due: Due
    since: int = 0
    is_removed: bool = False
