"""Entries of the ledger, and what it decides about an event that arrives.  Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from app.intake.fetches import Partition

__all__ = ["Entry", "Receipt"]


class Receipt(Enum):
    """What the ledger decides about an event that has just arrived."""

    EXPECTED = "expected"
    """It has the next offset: the event now has an entry."""

    REPEATED = "repeated"
    """It was received before in this epoch: the event gets no second entry."""

    NOT_STARTED = "unplaced"
    """The partition's starting offset is not known yet: the event will be redelivered."""

    JUMPED = "jumped"
    """Fetched events before it are missing: all must be read again from the committed offsets."""


@dataclass(slots=True, eq=False)
class Entry:
    """An event that was received; it is acked only after its window is settled.

    Attributes
    ----------
    partition : `tuple` [`str`, `int`]
        Topic and partition.
    offset : `int`
        The event's offset.
    size : `int`
        Its size in bytes.
    epoch : `int`
        The epoch in which it was received.
    ack : `~collections.abc.Callable`
        Acks the event, so that its offset may be committed.
    sent_at : `float`
        The message's timestamp, in seconds since the Unix epoch.
    received_at : `float`
        When it was received, in seconds of the monotonic clock.
    is_read_again : `bool`
        Whether its offset was acked before: no other event waits for it.
    """

    partition: Partition
    offset: int
    size: int
    epoch: int
    ack: Callable[[], object]
    sent_at: float = 0.0
    received_at: float = 0.0
    is_read_again: bool = False
    settled: bool = False
